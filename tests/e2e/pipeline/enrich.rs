//! Look-ups at GitHub and Taiga end in the documents, keep to the rate limits, and delay nothing.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use harness::paths::scratch;
use harness::providers::world::Graphql;
use harness::providers::{Behaviour, Commit, Providers};
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};
use serde_json::{Map, Value, json};

use crate::{LONG, SOON};

/// A stack whose projects have these settings in the credentials file.
pub(crate) async fn stack(providers: &Providers, name: &str, courses: &[(&str, Value)], options: Options) -> Stack {
    let file = scratch(&format!("enrich-{name}")).unwrap().join("credentials.json");
    write_courses(&file, courses);
    let options = options
        .env("GITHUB_API_URL", &providers.github_url())
        .env("TAIGA_API_URL", &providers.taiga_url())
        .env("CREDENTIALS_FILE", file.to_str().unwrap());
    Stack::start_with(options).await.unwrap()
}

fn write_courses(file: &std::path::Path, courses: &[(&str, Value)]) {
    let courses: Map<String, Value> = courses
        .iter()
        .map(|(team, settings)| {
            let mut course = settings.clone();
            course["teams"] = json!([team]);
            (format!("course-of-{team}"), course)
        })
        .collect();
    std::fs::write(file, Value::Object(courses).to_string()).unwrap();
}

fn token(token: &str) -> Value {
    json!({ "github_token": token })
}

pub(crate) async fn send(stack: &Stack, project: &str, delivery: Delivery) {
    let answer = stack.sender.send(&delivery.project(project)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn push(shas: impl IntoIterator<Item = u64>) -> Delivery {
    let commits = shas.into_iter().map(|n| github::commit(&github::sha(n), &format!("task #{n}")));
    Delivery::github("push", &github::push(1_795_455_723, commits))
}

/// How many commits of a project were looked up.
async fn looked_up(stack: &Stack, project: &str, wanted: u64) -> anyhow::Result<()> {
    let commits = stack.db().await?.collection::<Document>(&format!("github_{project}.commits"));
    let known = commits.count_documents(doc! { "_ld.enriched": { "$exists": true } }).await?;
    ensure!(known == wanted, "{known} of {wanted} commits were looked up");
    Ok(())
}

/// LD Eval was notified at least so often that a project's `event_type` changed.
pub(crate) fn notified(stack: &Stack, project: &str, event_type: &str, times: usize) -> anyhow::Result<()> {
    let notified =
        stack.eval.accepted(project).iter().filter(|notified| notified.text("event_type") == event_type).count();
    ensure!(notified >= times, "LD Eval was notified of {event_type} {notified} times, not {times}");
    Ok(())
}

async fn nothing_to_look_up(stack: &Stack) -> anyhow::Result<()> {
    let waiting = stack.messages("LD_ENRICH").await?;
    ensure!(waiting == 0, "{waiting} look-ups wait");
    stack.nothing_pending().await
}

#[tokio::test]
async fn a_token_at_its_limit_waits_for_its_reset_and_delays_no_other() {
    let providers = Providers::start().unwrap();
    let courses = [("A", token("token-a")), ("B", token("token-b"))];
    let stack = stack(&providers, "limit", &courses, Options::default()).await;
    let reset = {
        let mut world = providers.world();
        world.tokens = vec!["token-a".into(), "token-b".into()];
        (0..5).for_each(|n| world.knows(github::REPO, &github::sha(n), Commit::plain(10, 5)));
        world.limit("token-a", 0, Duration::from_secs(10))
    };
    let reset_at = Instant::now() + reset.duration_since(SystemTime::now()).unwrap();
    for n in 0..5 {
        send(&stack, "A", push([n])).await;
        send(&stack, "B", push([n])).await;
    }
    let at_once = async || {
        for project in ["A", "B"] {
            let stored = stack.documents(&format!("github_{project}.commits")).await?.len();
            ensure!(stored == 5, "{stored} commits of {project} are stored");
            notified(&stack, project, "push", 1)?;
        }
        looked_up(&stack, "B", 5).await?;
        notified(&stack, "B", "push", 2)
    };
    stack.eventually("all is stored and notified, and B is looked up", SOON, at_once).await.unwrap();
    let early = reset_at.checked_duration_since(Instant::now());
    assert!(
        early.is_some(),
        "it was only done after the reset: A's limit delayed others (or this machine is too busy)"
    );
    let zeros = doc! { "total": 0, "additions": 0, "deletions": 0 };
    for commit in stack.documents("github_A.commits").await.unwrap() {
        assert_eq!(commit.get_document("stats").unwrap(), &zeros, "A's commits are not looked up yet");
        assert_eq!(commit.get("is_merge"), Some(&Bson::Null));
    }
    stack.eventually("A is looked up too", SOON, async || looked_up(&stack, "A", 5).await).await.unwrap();
    let calls = providers.calls_of("token-a");
    assert_eq!(calls[0].status, 403);
    let during: Vec<_> = calls[1..].iter().filter(|call| call.at < reset_at).collect();
    assert!(during.is_empty(), "asked before the reset: {during:?}");
    assert!(calls[1..].iter().all(|call| call.status == 200) && calls.len() <= 6, "{calls:?}");
    stack.eventually("nothing is left", SOON, async || nothing_to_look_up(&stack).await).await.unwrap();
    let metrics = stack.sender.get(&format!("{}/metrics", stack.worker().admin())).await.unwrap().1;
    assert!(
        metrics.contains(r#"ldconnect_enrich_token_remaining{provider="github",token="course-of-A"} 499"#),
        "{metrics}"
    );
    let logs = format!("{:?}", stack.worker().process.log().events());
    assert!(!metrics.contains("token-a") && !logs.contains("token-a"), "a token is shown");
}

#[tokio::test]
async fn a_worker_killed_between_a_look_up_and_its_write_loses_nothing() {
    let providers = Providers::start().unwrap();
    let options = Options { own_mongo: true, ..Options::default() };
    let stack = stack(&providers, "killed", &[("A", token("t"))], options).await;
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.knows(github::REPO, &github::sha(1), Commit { additions: 7, deletions: 3, parents: 2, reason: "valid" });
        world.behaves("t", Behaviour::Slow(Duration::from_secs(3)));
    }
    send(&stack, "A", push([1])).await;
    let asked = async |answered: bool| {
        let calls = providers.calls();
        ensure!(calls.len() == 1 && (calls[0].status == 200) == answered, "{calls:?}");
        Ok(())
    };
    stack.eventually("GitHub is asked", SOON, async || asked(false).await).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    mongo.process.kill().unwrap();
    harness::eventually::eventually("GitHub has answered", SOON, &(), async || asked(true).await).await.unwrap();
    stack.worker().process.kill().unwrap();
    mongo.start_again().await.unwrap();
    looked_up(&stack, "A", 1).await.expect_err("it was written before the worker was killed: this run proves nothing");
    stack.worker().start_again().await.unwrap();
    stack.eventually("the commit is looked up", LONG, async || looked_up(&stack, "A", 1).await).await.unwrap();
    let commit = stack.document("github_A.commits").await.unwrap();
    assert_eq!(commit.get_document("stats").unwrap(), &doc! { "total": 10, "additions": 7, "deletions": 3 });
    assert!(commit.get_bool("is_merge").unwrap() && commit.get_bool("verified").unwrap());
    assert_eq!(providers.calls().len(), 2);
    stack.eventually("LD Eval is notified again", LONG, async || notified(&stack, "A", "push", 2)).await.unwrap();
    stack.eventually("nothing is left", LONG, async || nothing_to_look_up(&stack).await).await.unwrap();
}

#[tokio::test]
async fn a_push_of_250_commits_costs_three_calls_and_the_modified_lines_come_out_right() {
    let providers = Providers::start().unwrap();
    let stack = stack(&providers, "250", &[("A", token("t"))], Options::default()).await;
    let author = |n: u64| if n.is_multiple_of(4) { "rtorrents" } else { github::LOGIN };
    let known = |n: u64| {
        let lines = i64::try_from(n).unwrap();
        match n {
            // A merge, which counts for no author, and a commit of a whole node_modules.
            10 => Commit { parents: 2, ..Commit::plain(4_000, 2) },
            20 => Commit::plain(5_001, 0),
            30 => Commit::plain(2_500, 2_500),
            _ => Commit::plain(lines, 2),
        }
    };
    let mut wanted = std::collections::BTreeMap::<&str, i64>::new();
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        for n in 0..251 {
            let commit = known(n);
            let lines = commit.additions + commit.deletions;
            if n < 250 && commit.parents < 2 && lines <= 5_000 {
                *wanted.entry(author(n)).or_default() += lines;
            }
            world.knows(github::REPO, &github::sha(n), commit);
        }
    }
    let by = |n: u64| {
        let mut commit = github::commit(&github::sha(n), "x");
        commit["author"]["username"] = json!(author(n));
        commit
    };
    let push = |range: std::ops::Range<u64>| Delivery::github("push", &github::push(1_795_455_723, range.map(by)));
    send(&stack, "A", push(0..250)).await;
    stack.eventually("all are looked up", SOON, async || looked_up(&stack, "A", 250).await).await.unwrap();
    let calls = providers.calls();
    assert!(calls.len() <= 3 && calls.iter().all(|call| call.path == "/graphql"), "{calls:?}");

    let commits = stack.db().await.unwrap().collection::<Document>("github_A.commits");
    let pipeline = [
        doc! { "$match": { "is_merge": { "$ne": true }, "stats.total": { "$lte": 5_000 } } },
        doc! { "$group": { "_id": "$user.login", "lines": { "$sum": { "$toLong": "$stats.total" } } } },
    ];
    let sums: Vec<Document> = commits.aggregate(pipeline).await.unwrap().try_collect().await.unwrap();
    let lines = sums.iter().map(|sum| (sum.get_str("_id").unwrap(), sum.get_i64("lines").unwrap())).collect();
    assert_eq!(wanted, lines);

    // The same commits in another push, and one more: only that one is asked for.
    send(&stack, "A", push(200..251)).await;
    stack.eventually("the new one is looked up", SOON, async || looked_up(&stack, "A", 251).await).await.unwrap();
    stack.eventually("nothing is left", SOON, async || nothing_to_look_up(&stack).await).await.unwrap();
    let calls = providers.calls();
    let new: Vec<_> = calls.iter().filter(|call| call.path != "/graphql").map(|call| call.path.as_str()).collect();
    assert_eq!(new, [format!("/repos/{}/commits/{}", github::REPO, github::sha(250))]);
    assert!(calls.len() <= 4, "{calls:?}");
}

#[tokio::test]
async fn rest_and_graphql_give_the_same_documents() {
    let providers = Providers::start().unwrap();
    let projects = ["Graphql", "Refused", "Older", "Single"];
    let courses = projects.map(|project| (project, token(&format!("t-{project}"))));
    let stack = stack(&providers, "same", &courses, Options::default()).await;
    let reasons = [
        "valid",
        "unsigned",
        "unknown_key",
        "malformed_signature",
        "unknown_signature_type",
        "no_user",
        "bad_email",
        "expired_key",
        "gpgverify_error",
    ];
    {
        let mut world = providers.world();
        world.tokens = projects.map(|project| format!("t-{project}")).into();
        for (n, reason) in (0..).zip(reasons) {
            let parents = usize::try_from(n).unwrap() % 3;
            world.knows(github::REPO, &github::sha(n), Commit { additions: 3, deletions: 1, parents, reason });
        }
    }
    let mut all = Vec::new();
    for project in projects {
        providers.world().graphql = match project {
            "Graphql" => Graphql::Answers,
            "Refused" => Graphql::Refuses(403),
            _ => Graphql::LacksAField,
        };
        // The last one is unknown to GitHub: it is left as it is.
        let numbers = 0..=u64::try_from(reasons.len()).unwrap();
        if project == "Single" {
            for n in numbers {
                send(&stack, project, push([n])).await;
            }
        } else {
            send(&stack, project, push(numbers)).await;
        }
        let known = u64::try_from(reasons.len()).unwrap();
        stack.eventually("all are looked up", SOON, async || looked_up(&stack, project, known).await).await.unwrap();
        let mut documents = stack.documents(&format!("github_{project}.commits")).await.unwrap();
        documents.iter_mut().for_each(|document| drop(document.remove("prj")));
        documents.sort_by_key(|document| document.get_str("sha").unwrap().to_owned());
        all.push(documents);
    }
    assert!(all.iter().all(|documents| documents == &all[0]), "{all:#?}");
    assert_eq!(all[0].len(), reasons.len() + 1);
    let of = |who: &str, path: &str| providers.calls_of(who).iter().filter(|call| call.path.contains(path)).count();
    assert_eq!((of("t-Graphql", "graphql"), of("t-Graphql", "/commits/")), (1, 0));
    assert_eq!((of("t-Refused", "graphql"), of("t-Refused", "/commits/")), (1, reasons.len() + 1));
    // Pushes that follow one another closely may be looked up together.
    assert_eq!(of("t-Single", "/commits/"), reasons.len() + 1);
    let sha = Bson::from(github::sha(u64::try_from(reasons.len()).unwrap()));
    let unknown = all[0].iter().find(|commit| commit.get("sha") == Some(&sha)).unwrap();
    assert_eq!(unknown.get("is_merge"), Some(&Bson::Null));
    stack.eventually("nothing is left", SOON, async || nothing_to_look_up(&stack).await).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn without_a_token_nothing_is_asked_or_queued_and_a_token_added_to_the_file_counts_within_seconds() {
    let providers = Providers::start().unwrap();
    let stack = stack(&providers, "none", &[("A", json!({}))], Options::default()).await;
    providers.world().tokens = vec!["t".into()];
    for n in 1..=3 {
        providers.world().knows(github::REPO, &github::sha(n), Commit::plain(1, 1));
    }
    send(&stack, "A", push([1])).await;
    stack.eventually("it is stored", SOON, async || stack.document("github_A.commits").await).await.unwrap();
    assert_eq!(stack.messages("LD_ENRICH").await.unwrap(), 0);

    let file = std::path::PathBuf::from(&stack.env["CREDENTIALS_FILE"]);
    let beside = file.with_extension("tmp");
    write_courses(&beside, &[("A", token("t"))]);
    std::fs::rename(&beside, &file).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    send(&stack, "A", push([2, 3])).await;
    stack.eventually("the new ones are looked up", SOON, async || looked_up(&stack, "A", 2).await).await.unwrap();
    assert_eq!(providers.calls().len(), 1);

    std::fs::write(&file, "{ \"A\": ").unwrap();
    let broken = async || {
        let (status, body) = stack.sender.get(&format!("{}/readyz", stack.worker().admin())).await?;
        ensure!(status == 200 && body.contains("credentials.json, line 1"), "{status} {body}");
        Ok(())
    };
    stack.eventually("/readyz reports the broken edit", SOON, broken).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_delays_no_event_and_is_asked_again_when_it_is_back() {
    let providers = Providers::start().unwrap();
    let stack = stack(&providers, "down", &[("A", token("t"))], Options::default()).await;
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        (0..5).for_each(|n| world.knows(github::REPO, &github::sha(n), Commit::plain(10, 5)));
    }
    providers.down();
    send(&stack, "A", push([0, 1])).await;
    stack.eventually("LD Eval is notified", SOON, async || notified(&stack, "A", "push", 1)).await.unwrap();
    looked_up(&stack, "A", 0).await.unwrap();
    providers.world().behaves("t", Behaviour::Status(502));
    providers.up().unwrap();
    let refused = async || {
        ensure!(!providers.calls().is_empty(), "it was not asked again");
        Ok(())
    };
    stack.eventually("it is asked again", LONG, refused).await.unwrap();
    providers.world().behaves("t", Behaviour::SecondaryLimit(Duration::from_secs(2)));
    send(&stack, "A", push([2])).await;
    let limited = async || {
        ensure!(providers.calls().iter().any(|call| call.status == 403), "{:?}", providers.calls());
        Ok(())
    };
    stack.eventually("it has a secondary limit", LONG, limited).await.unwrap();
    providers.world().behaves("t", Behaviour::Normal);
    stack.eventually("all are looked up", LONG, async || looked_up(&stack, "A", 3).await).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn a_look_up_that_is_none_goes_to_the_dead_letters() {
    let providers = Providers::start().unwrap();
    let stack = stack(&providers, "nonsense", &[], Options::default()).await;
    stack.eventually("there is a stream for look-ups", SOON, async || stack.messages("LD_ENRICH").await).await.unwrap();
    let subject = format!("{}.ld.enrich.github.A.x", stack.prefix);
    stack.jetstream().await.unwrap().publish(subject, "{}".into()).await.unwrap().await.unwrap();
    let dead = async || {
        let dead_letters = stack.messages("LD_DEAD").await?;
        ensure!(dead_letters == 1, "{dead_letters} dead letters");
        nothing_to_look_up(&stack).await
    };
    stack.eventually("it is a dead letter", SOON, dead).await.unwrap();
    let dead_letter = stack.stream("LD_DEAD").await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(dead_letter.headers.get("LD-Dead-Reason").map(|reason| reason.as_str()), Some("enrich_unreadable"));
}
