//! Least privilege: with the configuration that we ship, each process can do all of its work and nothing else.

use std::collections::BTreeSet;

use anyhow::ensure;
use async_nats::{ConnectOptions, Event, ServerError};
use bson::{Document, doc};
use harness::paths::scratch;
use harness::providers::Providers;
use harness::providers::board::Board;
use harness::providers::hub::Repo;
use harness::sender::{Delivery, github, taiga};
use harness::servers::mongo::{self, DATABASE, WORKER};
use harness::servers::{MongoServer, NatsServer, nats};
use harness::stack::build::path;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::time::now_ms;
use tokio::sync::mpsc::unbounded_channel;

use crate::observe::{flows, push, send};
use crate::pipeline::enrich;
use crate::{LONG, SOON};

/// A subject that only the operator may publish or subscribe to: when it is refused, everything before it
/// has been judged.
const SENTINEL: &str = "sentinel";

/// Which of these subjects this user is refused to publish or subscribe to.
async fn refused(url: &str, publish: &[&str], subscribe: &[&str]) -> BTreeSet<String> {
    let (errors, mut received) = unbounded_channel();
    let options = ConnectOptions::new().event_callback(move |event| {
        let errors = errors.clone();
        async move {
            if let Event::ServerError(error) = event {
                errors.send(error).unwrap();
            }
        }
    });
    let (login, host) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let client = options.user_and_password(user.into(), password.into()).connect(host).await.unwrap();
    for subject in publish {
        client.publish(subject.to_string(), "x".into()).await.unwrap();
    }
    let mut open = Vec::new();
    for subject in subscribe.iter().chain([&SENTINEL]) {
        open.push(client.subscribe(subject.to_string()).await.unwrap());
    }
    client.flush().await.unwrap();
    let mut refused = BTreeSet::new();
    loop {
        let error = tokio::time::timeout(SOON, received.recv()).await.expect("the sentinel is refused").unwrap();
        let ServerError::Other(text) = error else { panic!("{error:?}") };
        // `Permissions Violation for Publish to "subject"`, in whatever case the server writes it.
        let subject = text.split('"').nth(1).unwrap_or_else(|| panic!("{text}")).to_owned();
        if subject == SENTINEL {
            return refused;
        }
        refused.insert(subject);
    }
}

fn set(subjects: &[&str]) -> BTreeSet<String> {
    subjects.iter().map(|subject| (*subject).to_owned()).collect()
}

#[tokio::test]
async fn nats_refuses_each_user_what_it_must_not_do() {
    // Without streams, so that nothing that is allowed does anything.
    let nats = NatsServer::start_secured(&scratch("privileges").unwrap()).await.unwrap();
    // What both may do, what only the worker may, what neither may.
    let both = [
        "ld.events.github.Team.push",
        "ld.probe.ingress",
        "$JS.API.STREAM.INFO.LD_EVENTS",
        "$JS.API.STREAM.CREATE.LD_PROBE",
        "$JS.API.STREAM.UPDATE.LD_DEAD",
    ];
    let only_worker = [
        "ld.notify.x",
        "ld.enrich.github.Team.x",
        "ld.dead.panic.github.Team",
        "ld.probe.worker",
        "$JS.API.STREAM.PURGE.LD_EVENTS",
        "$JS.API.STREAM.MSG.GET.LD_DEAD",
        "$JS.API.DIRECT.GET.LD_EVENTS",
        "$JS.API.STREAM.MSG.DELETE.LD_DEAD",
        "$JS.API.CONSUMER.CREATE.LD_EVENTS.ld-worker",
        "$JS.API.CONSUMER.INFO.LD_EVENTS.ld-worker",
        "$JS.API.CONSUMER.DELETE.LD_EVENTS.ld-replay",
        "$JS.API.CONSUMER.PAUSE.LD_EVENTS.ld-worker",
        "$JS.API.CONSUMER.MSG.NEXT.LD_NOTIFY.ld-notifier",
        "$JS.ACK.LD_EVENTS.ld-worker.1.1.1.1.1",
    ];
    let neither = [
        "ld.events",
        "ld.other.x",
        "staging.ld.events.github.Team.push",
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.DELETE.LD_EVENTS",
        "$JS.API.STREAM.DELETE.LD_PROBE",
        "$JS.API.STREAM.PURGE.LD_PROBE",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.STREAM.INFO.OTHER",
        "$JS.API.STREAM.SNAPSHOT.LD_EVENTS",
        "$JS.API.STREAM.RESTORE.LD_EVENTS",
        "$JS.API.STREAM.LEADER.STEPDOWN.LD_EVENTS",
        "$JS.API.CONSUMER.CREATE.OTHER.x",
        "$JS.API.CONSUMER.MSG.NEXT.LD_PROBE.x",
        "$JS.ACK.OTHER.x.1.1.1.1.1",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.operator.x",
    ];
    let subjects = [&both[..], &only_worker, &neither].concat();
    let others = ["ld.events.>", ">", "$JS.>", "$JS.EVENT.ADVISORY.>", "$SYS.>", "_INBOX.>", "_INBOX.*.x"];
    let of_ingress = ["_INBOX.ingress.x", "_INBOX.ingress.>"];
    let of_worker = ["_INBOX.worker.x", "_INBOX.worker.>"];
    let heard = [&others[..], &of_ingress, &of_worker].concat();

    let found = refused(&nats.url_of("ingress"), &subjects, &heard).await;
    assert_eq!(found, set(&[&only_worker[..], &neither, &others, &of_worker].concat()), "ingress");
    let found = refused(&nats.url_of("worker"), &subjects, &heard).await;
    assert_eq!(found, set(&[&neither[..], &others, &of_ingress].concat()), "worker");

    let port = nats.port;
    let mut command = tokio::process::Command::new(path("worker").unwrap());
    command.args(["dead-letters", "list"]).env_clear().kill_on_drop(true);
    command.env("NATS_URL", format!("nats://worker:guessed@127.0.0.1:{port}"));
    let output = tokio::time::timeout(LONG, command.output()).await.expect("the command ends").unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("NATS refuses the login") && text.contains("NATS_URL"), "{text}");
    assert!(!text.contains("guessed"), "{text}");

    for url in [
        format!("nats://127.0.0.1:{port}"),
        format!("nats://ingress@127.0.0.1:{port}"),
        format!("nats://ingress:worker-nats-password@127.0.0.1:{port}"),
        format!("nats://nobody:ingress-nats-password@127.0.0.1:{port}"),
    ] {
        let error = nats::connect(&url).await.expect_err(&url);
        assert!(format!("{error:#}").contains("authorization"), "{url}: {error:#}");
    }
}

#[tokio::test]
async fn mongodb_refuses_the_worker_what_it_must_not_do() {
    let mongo = MongoServer::start_secured(&scratch("role").unwrap(), &[], "").await.unwrap();
    let admin = mongo::connect(&mongo.uri()).await.unwrap();
    for db in [DATABASE, "other"] {
        admin.database(db).collection("things").insert_one(doc! { "kept": true }).await.unwrap();
    }
    let client = mongo::connect(&mongo.uri_of(Some(WORKER))).await.unwrap();
    let update = |n| doc! { "q": { "_id": n }, "u": { "$set": { "x": 1 } }, "upsert": true };
    let index = doc! { "key": { "x": 1 }, "name": "x", "unique": true };
    for command in [
        doc! { "find": "things" },
        doc! { "insert": "things", "documents": [{ "_id": 1 }] },
        doc! { "update": "things", "updates": [update(2)] },
        doc! { "delete": "things", "deletes": [{ "q": { "_id": 1 }, "limit": 1 }] },
        doc! { "createIndexes": "fresh", "indexes": [index.clone()] },
        doc! { "listCollections": 1, "nameOnly": true },
    ] {
        client
            .database(DATABASE)
            .run_command(command.clone())
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let theft = doc! { "aggregate": "things", "pipeline": [{ "$out": { "db": "other", "coll": "x" } }], "cursor": {} };
    for (db, command) in [
        (DATABASE, doc! { "dropDatabase": 1 }),
        (DATABASE, doc! { "dropIndexes": "fresh", "index": "x" }),
        (DATABASE, doc! { "collMod": "things", "validator": {} }),
        (DATABASE, doc! { "createUser": "x", "pwd": "x", "roles": [] }),
        (DATABASE, theft),
        ("admin", doc! { "renameCollection": format!("{DATABASE}.things"), "to": "other.x" }),
        ("admin", doc! { "find": "system.users" }),
        ("admin", doc! { "createUser": "x", "pwd": "x", "roles": ["root"] }),
        ("admin", doc! { "grantRolesToUser": WORKER.0, "roles": ["root"] }),
        ("admin", doc! { "shutdown": 1 }),
        ("admin", doc! { "getParameter": "*" }),
        ("other", doc! { "find": "things" }),
        ("other", doc! { "insert": "things", "documents": [{ "_id": 1 }] }),
        ("local", doc! { "find": "startup_log" }),
        ("config", doc! { "find": "system.sessions" }),
    ] {
        let error = client.database(db).run_command(command.clone()).await.expect_err(&command.to_string());
        let code = match *error.kind {
            mongodb::error::ErrorKind::Command(ref refusal) => refusal.code,
            ref other => panic!("{command}: {other}"),
        };
        assert_eq!(code, 13, "{command}: {error}");
    }
    for login in [None, Some((WORKER.0, "guessed"))] {
        let unauthenticated = mongo::connect(&mongo.uri_of(login)).await.unwrap();
        unauthenticated.database(DATABASE).run_command(doc! { "find": "things" }).await.unwrap_err();
    }
    let left = admin.database(DATABASE).collection::<Document>("things").count_documents(doc! { "kept": true }).await;
    assert_eq!(left.unwrap(), 1);
}

/// Runs `worker <args>` as the workers' users, to its end.
async fn run(stack: &Stack, args: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(path("worker").unwrap());
    command.args(args).env_clear().envs(&stack.env).kill_on_drop(true);
    tokio::time::timeout(LONG, command.output()).await.expect("the command ends").unwrap()
}

/// The same, which must do its work; its standard output.
async fn command(stack: &Stack, args: &[&str]) -> String {
    let output = run(stack, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn everything_works_with_these_rights_alone() {
    let options = Options { least_privilege: true, ..Options::default() };
    let stack = Stack::start_with(options.env("TEAM_PAGES_ADDR", "127.0.0.1:0")).await.unwrap();
    assert!(stack.env["NATS_URL"].contains("//worker:") && stack.env["MONGO_URI"].contains(WORKER.0));
    flows(&stack, 1).await;

    // A dead letter is written, listed, shown, sent again (and dies again), and removed.
    let nameless = taiga::event("epic", "create", "2026-11-23T17:00:01Z", Value::Null);
    send(&stack, &Delivery::taiga(&nameless).project("Dead")).await;
    let dead_letters = async |wanted: u64| {
        let dead_letters = async || {
            let found = stack.messages("LD_DEAD").await?;
            ensure!(found == wanted, "{found} dead letters");
            Ok(())
        };
        stack.eventually("there are so many dead letters", LONG, dead_letters).await.unwrap();
    };
    dead_letters(1).await;
    assert!(command(&stack, &["dead-letters", "list"]).await.contains("no_identity"));
    assert!(command(&stack, &["dead-letters", "show", "1"]).await.contains("LD-Dead-Reason"));
    command(&stack, &["dead-letters", "redrive", "--all"]).await;
    let again = async || {
        let state = stack.stream("LD_DEAD").await?.cached_info().state.clone();
        ensure!(state.messages == 1 && state.last_sequence == 2, "{state:?}");
        Ok(())
    };
    stack.eventually("it died again", LONG, again).await.unwrap();
    command(&stack, &["dead-letters", "purge", "--older-than", "0s", "--yes"]).await;
    dead_letters(0).await;

    // A replay rebuilds what was lost.
    stack.db().await.unwrap().drop().await.unwrap();
    let replayed = run(&stack, &["replay"]).await;
    assert_eq!(replayed.status.code(), Some(3), "the two events without an id are left out: {replayed:?}");
    assert_eq!(stack.documents("github_Flows1.commits").await.unwrap().len(), 1);

    // Deleted consumers and streams are created again by the first process that misses them.
    let jetstream = stack.jetstream().await.unwrap();
    for (stream, consumer) in [("LD_EVENTS", "ld-worker"), ("LD_NOTIFY", "ld-notifier")] {
        jetstream.get_stream(stream).await.unwrap().delete_consumer(consumer).await.unwrap();
    }
    flows(&stack, 2).await;
    for stream in ["LD_EVENTS", "LD_NOTIFY", "LD_ENRICH", "LD_DEAD", "LD_PROBE", "LD_STATUS"] {
        jetstream.delete_stream(stream).await.unwrap();
    }
    flows(&stack, 3).await;

    // The commands that only read, and `forget`.
    let (code, status) = stack.sender.get(&format!("{}/status.json", stack.worker().admin())).await.unwrap();
    assert!(code == 200 && status.contains("Flows3"), "{code} {status}");
    let base = stack.worker().team_pages();
    let link = command(&stack, &["team-links", "--prj", "Flows3", "--public-url", &base, "--output", "json"]).await;
    let link: Value = serde_json::from_str(&link).unwrap();
    let (code, page) = stack.sender.get(&format!("{}.json", link["link"].as_str().unwrap())).await.unwrap();
    assert!(code == 200 && page.contains(r#""is_known":true"#) && page.contains("commits"), "{code} {page}");
    let said = command(&stack, &["forget", "--prj", "Flows3", "--yes"]).await;
    assert!(said.contains("github_Flows3.commits"), "{said}");
    command(&stack, &["forget", "--prj", "Flows2", "--login", "nobody", "--erase-messages", "--yes"]).await;
    assert!(stack.documents("github_Flows3.commits").await.unwrap().is_empty());
    // Ingress listens on another port than the default, so a check fails; but no right was missing.
    let said = run(&stack, &["doctor", "--prj", "Flows1"]).await;
    assert!(!String::from_utf8_lossy(&said.stdout).to_lowercase().contains("not authorized"), "{said:?}");

    // Ten at once travel in atomic batches.
    let many: Vec<_> = (10..20).map(|n| push("Batch", n)).collect();
    futures::future::join_all(many.iter().map(|delivery| send(&stack, delivery))).await;
    crate::observe::stored(&stack, "Batch", 10, LONG).await;

    nothing_was_refused(&stack);
}

fn nothing_was_refused(stack: &Stack) {
    let log = stack.nats.as_ref().unwrap().process.log().lines();
    let violations: Vec<_> = log.iter().filter(|line| line.contains("Violation")).collect();
    assert!(violations.is_empty(), "NATS refused something that is needed: {violations:#?}");
}

#[tokio::test]
async fn commands_that_ask_the_providers_work_with_these_rights_alone() {
    let providers = Providers::start().unwrap();
    let commits = (1..4).map(|n| github::commit(&github::sha(n), "task #1")).collect();
    let repo = Repo { branches: [("main".to_owned(), commits)].into(), ..Repo::default() };
    let mut board = Board::new(31, "Marmota");
    board.tell(&taiga::event("epic", "create", "2026-11-23T17:00:01Z", taiga::epic(7, "Epic")));
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.accounts.insert("teacher".into(), "hush-hush".into());
        world.knows_everything = true;
        world.repos.insert("upc-pes/marmota".to_owned(), repo);
        world.boards.insert("marmota".to_owned(), board);
    }
    let course = json!({ "github_token": "t", "taiga_user": "teacher", "taiga_password": "hush-hush" });
    let options = Options { least_privilege: true, ..Options::default() };
    let stack = enrich::stack(&providers, "privileges", &[("Team", course)], options).await;
    let public = stack.ingress.webhooks();
    let github = ["--org", "upc-pes", "--repo", "marmota", "--prj", "Team"];
    let taiga = ["--slug", "marmota", "--prj", "Team"];
    let url = ["--public-url", &public];

    command(&stack, &[&["backfill", "github"][..], &github].concat()).await;
    command(&stack, &[&["backfill", "taiga"][..], &taiga].concat()).await;
    assert_eq!(stack.documents("github_Team.commits").await.unwrap().len(), 3);
    assert_eq!(stack.documents("taiga_Team.epics").await.unwrap().len(), 1);

    command(&stack, &[&["hooks", "create", "github"][..], &github, &url].concat()).await;
    command(&stack, &[&["hooks", "create", "taiga"][..], &taiga, &url].concat()).await;
    {
        let mut world = providers.world();
        for hook in world.hooks.iter().map(|hook| (hook.id, hook.owner.clone())).collect::<Vec<_>>() {
            let missed = match hook.1.as_str() {
                "31" => {
                    Delivery::taiga(&taiga::event("epic", "create", "2026-11-23T17:00:02Z", taiga::epic(8, "Missed")))
                }
                _ => push("Team", 10),
            };
            world.sent(hook.0, missed, 502, now_ms(), false);
        }
    }
    command(&stack, &[&["redeliver", "github"][..], &github, &url].concat()).await;
    command(&stack, &[&["redeliver", "taiga"][..], &taiga, &url].concat()).await;
    crate::observe::stored(&stack, "Team", 4, LONG).await;
    command(&stack, &[&["hooks", "delete", "github", "--all", "--yes"][..], &url].concat()).await;
    command(&stack, &[&["hooks", "delete", "taiga", "--all", "--yes"][..], &url].concat()).await;
    assert!(providers.world().hooks.is_empty());

    let said = run(&stack, &["doctor", "--ingress-url", &public]).await;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    nothing_was_refused(&stack);
}
