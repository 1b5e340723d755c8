//! The Learning Dashboard's own deployment: its environment as it is, its documents, and LD Eval as their reader.

use anyhow::ensure;
use bson::{Bson, Document, doc};
use harness::ld_eval::LdEval;
use harness::providers::Providers;
use harness::providers::world::stats;
use harness::sender::{Delivery, Secrets, github, sheets, taiga};
use harness::servers::mongo;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::observe::{push, send, stored};
use crate::operators::commands::{command, done, settled};
use crate::{LONG, SOON};

/// With everything that has a meaning in an address, a shell or a `.env` file.
const ROOT: (&str, &str) = ("root", "p@ss:w/rd?#[]%41&=+ $é'\"\\");

/// The deployment's `.env`, where many variables are set to nothing.
fn options(providers: &Providers) -> Options {
    let (secrets, api) = (Secrets::default(), providers.taiga_url());
    let empty = ["GITHUB_SECRET", "TAIGA_SECRET", "TAIGA_TOKEN", "TAIGA_USERNAME", "TAIGA_PASSWORD", "GITHUB_TOKEN"];
    let options = Options { mongo_root: Some(ROOT), ..Options::default() }
        .env("MONGO_DB", "mongo")
        .env("GITHUB_SIGNATURE_KEY", &secrets.github)
        .env("TAIGA_SIGNATURE_KEY", &secrets.taiga)
        .env("TAIGA_API_URL", api.strip_suffix("/api/v1").unwrap())
        .env("TAIGA_AUTH_URL", "http://127.0.0.1:1")
        .env("WEBHOOK_URL_GITHUB", "https://ld.example.edu/webhook/github")
        .env("WEBHOOK_URL_TAIGA", "https://ld.example.edu/webhook/taiga")
        .env("EXCEL_UNSIGNED", "any");
    empty.iter().fold(options, |options, name| options.env(name, ""))
}

fn story(date: &str) -> Delivery {
    let mut story = taiga::userstory(1, "x");
    story["milestone"] = taiga::milestone(5, "Sprint");
    Delivery::taiga(&taiga::event("userstory", "change", date, story)).project("Team")
}

async fn shows_figures(stack: &Stack, points: f64) {
    let shown = async || {
        let story = stack.document("taiga_Team.userstories").await?;
        ensure!(story.get("milestone_total_points") == Some(&Bson::Double(points)), "{story}");
        Ok(())
    };
    stack.eventually("the story shows its milestone's figures", SOON, shown).await.unwrap();
}

#[tokio::test]
async fn its_environment_is_enough_and_config_check_says_where_each_value_comes_from() {
    let providers = Providers::start().unwrap();
    providers.world().public = true;
    providers.world().milestones.insert(5, stats(&[3.0, 2.5], &[3.0], (4, 1), (9, 5)));
    let stack = Stack::start_with(options(&providers)).await.unwrap();
    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    // There is no account: Taiga is asked without a token.
    send(&stack, &story("2026-11-23T17:00:00Z")).await;
    shows_figures(&stack, 5.5).await;
    assert!(providers.calls().iter().all(|call| call.who.is_empty()), "{:?}", providers.calls());
    let notified = async || stack.eval.has_accepted("Team", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified", SOON, notified).await.unwrap();

    let said = done(&stack, &["config", "check"]).await;
    for line in [
        "MONGO_URI=unset\n",
        "MONGO_HOST=127.0.0.1  # environment\n",
        "MONGO_PASSWORD=set  # environment, as MONGO_PASS\n",
        "MONGO_DB=mongo  # environment\n",
        "TAIGA_TOKEN=unset\n",
        "TAIGA_AUTH_URL=http://127.0.0.1:1  # environment\n",
        "note: MongoDB's address is made of MONGO_HOST and its like: mongodb://…@127.0.0.1:",
        "is asked without a token",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains(ROOT.1) && !said.contains("w%2Frd"), "{said}");
    // Half of what belongs together is set.
    let mut half = stack.env.clone();
    half.remove("MONGO_PASS");
    let mut worker = tokio::process::Command::new(harness::stack::build::path("worker").unwrap());
    let output = worker.args(["doctor"]).env_clear().envs(&half).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("MONGO_USER is set but MONGO_PASSWORD is missing"), "{text}");
}

#[tokio::test]
async fn a_token_for_taiga_is_used_as_it_is_and_https_goes_through_the_proxy() {
    let providers = Providers::start().unwrap();
    let token = providers.world().log_in("teacher");
    providers.world().milestones.insert(5, stats(&[1.0], &[], (2, 0), (3, 0)));
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = options(&providers)
        .env("TAIGA_TOKEN", &token)
        .env("GITHUB_API_URL", "https://github.test")
        .env("GITHUB_TOKEN", "a-token-for-github")
        .env("HTTPS_PROXY", &format!("http://{}", proxy.local_addr().unwrap()));
    let stack = Stack::start_with(options).await.unwrap();
    send(&stack, &story("2026-11-23T17:00:00Z")).await;
    shows_figures(&stack, 1.0).await;
    assert!(
        providers.calls().iter().all(|call| call.who == "teacher" && call.path != "/auth"),
        "{:?}",
        providers.calls()
    );
    send(&stack, &push("Team", 1)).await;
    let (stream, _) = tokio::time::timeout(SOON, proxy.accept()).await.expect("the proxy is asked").unwrap();
    let mut line = String::new();
    tokio::time::timeout(SOON, BufReader::new(stream).read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.starts_with("CONNECT github.test:443 "), "{line}");
}

#[tokio::test]
async fn ld_eval_computes_from_what_it_is_notified_of_and_after_migrate_everything() {
    let providers = Providers::start().unwrap();
    providers.world().public = true;
    let stack = Stack::start_with(options(&providers)).await.unwrap();
    let db = stack.db().await.unwrap();
    let admin = mongo::connect(&stack.mongo_uri).await.unwrap().database("admin");
    for (name, role) in [("ld_eval", "readWrite"), ("reader", "read")] {
        let roles = doc! { "role": role, "db": "mongo" };
        admin.run_command(doc! { "createUser": name, "pwd": "eval-password", "roles": [roles] }).await.unwrap();
    }
    let of = async |user: &str| {
        let uri = stack.mongo.as_ref().unwrap().uri_of(Some((user, "eval-password")));
        LdEval::new(mongo::connect(&uri).await.unwrap().database("mongo"))
    };

    // LD Eval's user may not write: every notification is answered 200, and nothing is stored.
    let mut reader = of("reader").await;
    send(&stack, &push("Team", 1)).await;
    settled(&stack).await;
    reader.work(&stack.eval).await;
    assert!(!reader.given_up.is_empty() && LdEval::stored(&db, "Team").await.unwrap().is_empty());

    // Users type efforts; a text would make LD Eval stop computing the event.
    let mut task = taiga::task(7, "x", taiga::userstory(1, "As a user I want x so that y"));
    task["custom_attributes_values"] = json!({ "Estimated Effort": "2,5", "Actual Effort": "4.0", "Notes": "2,5" });
    send(&stack, &Delivery::taiga(&taiga::event("task", "create", "2026-11-23T17:00:00Z", task)).project("Team")).await;
    send(&stack, &Delivery::sheets(&sheets::row(1)).project("Team")).await;
    settled(&stack).await;
    let mut eval = of("ld_eval").await;
    eval.work(&stack.eval).await;
    assert_eq!(eval.given_up, [""; 0]);
    let all = LdEval::stored(&db, "Team").await.unwrap();
    for (metric, value) in [
        ("commits_with_a_task", Bson::Double(1.0)),
        ("deviation_of_effort", Bson::Double(1.5)),
        // A task's event contains its story, so LD Eval is notified of both types.
        ("stories_with_a_pattern", Bson::Double(0.0)),
        ("hours", Bson::Double(6.75)),
    ] {
        assert_eq!(LdEval::value(&db, "Team", metric).await.unwrap(), value, "{metric} of {all:?}");
    }
    // What is computed at midnight is what was computed by and by.
    eval.midnight("Team").await;
    assert_eq!((LdEval::stored(&db, "Team").await.unwrap(), eval.given_up.len()), (all, 0));

    // A team of the Python service, with its records of itself beside it.
    let insert = async |name: &str, document: Document| {
        db.collection::<Document>(name).insert_many([document.clone(), document]).await.unwrap();
    };
    let commit = doc! { "event": "commit", "sha": github::sha(9), "repo_name": "o/r", "message": "task #1", "task_is_written": true,
    "message_word_count": 2, "stats": { "total": 3, "additions": 3, "deletions": 0 } };
    insert("github_Old.commits", commit).await;
    insert(
        "taiga_Old.task",
        doc! { "task_id": 1, "subject": "x", "is_closed": true, "modified_date": "2026-02-01T11:30:00Z" },
    )
    .await;
    insert("inactivity_intervals", doc! { "from": "2026-02-01T11:30:00Z" }).await;
    insert("system_heartbeats", doc! { "at": "2026-02-01T11:30:00Z" }).await;
    let report = |said: &str| -> Vec<Value> { said.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let would = report(&done(&stack, &["migrate", "--dry-run", "--output", "json"]).await);
    let froms: Vec<_> = would.iter().filter_map(|line| line["from"].as_str()).collect();
    assert_eq!(froms, ["inactivity_intervals", "system_heartbeats", "github_Old.commits", "taiga_Old.task"]);
    done(&stack, &["migrate"]).await;
    let notified = async || {
        stack.nothing_pending().await?;
        let types: Vec<_> = stack.eval.accepted("Old").iter().map(|one| one.text("event_type").to_owned()).collect();
        ensure!(
            types.len() == 2 && types.contains(&"push".to_owned()) && types.contains(&"task".to_owned()),
            "{types:?}"
        );
        stack.eval.has_accepted("Old", ("push", "backfill", None)).map(drop)
    };
    stack.eventually("LD Eval is notified of every type of the team, once", LONG, notified).await.unwrap();
    eval.work(&stack.eval).await;
    assert_eq!(LdEval::value(&db, "Old", "closed_tasks").await.unwrap(), Bson::Double(1.0));
    assert_eq!(LdEval::value(&db, "Old", "lines_changed").await.unwrap(), Bson::Int32(3));
    for own in ["inactivity_intervals", "system_heartbeats"] {
        assert_eq!(db.collection::<Document>(own).count_documents(doc! {}).await.unwrap(), 2, "{own}");
    }
    // Then there is nothing to change, and nobody to notify.
    let again = command(&stack, &["migrate", "--dry-run"]).await;
    let (said, notices) = (String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
    assert!(said.is_empty() && notices.contains("nothing to change"), "{said}{notices}");
    let before = stack.eval.accepted("Old").len();
    done(&stack, &["migrate"]).await;
    settled(&stack).await;
    assert_eq!(stack.eval.accepted("Old").len(), before);
}
