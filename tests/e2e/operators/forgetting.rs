//! `worker forget`: what is forgotten stays forgotten, and no other data is removed.

use std::time::Duration;

use anyhow::ensure;
use bson::{Document, doc};
use harness::eval::Reply;
use harness::process::Signal;
use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::observe::{push, send, stored};
use crate::operators::commands::{command, done, history, process, replay_with_poison, settled};
use crate::operators::replaying::fill;
use crate::{LONG, SOON};

/// Everything that MongoDB holds of a project, as text.
async fn all_of(stack: &Stack, project: &str) -> Vec<String> {
    let db = stack.db().await.unwrap();
    let mut all = Vec::new();
    for name in db.list_collection_names().await.unwrap() {
        let of_project =
            ["github", "taiga", "excel"].iter().any(|source| name.starts_with(&format!("{source}_{project}.")));
        if of_project {
            all.extend(stack.documents(&name).await.unwrap().iter().map(|found| format!("{name} {found}")));
        } else if name.starts_with("ld_") {
            let filter = doc! { "prj": project };
            let found = db.collection::<Document>(&name).count_documents(filter).await.unwrap();
            all.extend((0..found).map(|_| name.clone()));
        }
    }
    all.sort();
    all
}

/// Every message of `LD_STATUS`, as text.
async fn facts(stack: &Stack) -> Vec<String> {
    let stream = stack.stream("LD_STATUS").await.unwrap();
    let mut facts = Vec::new();
    let mut from = 1;
    while let Ok(message) = stream.get_first_raw_message_by_subject(">", from).await {
        from = message.sequence + 1;
        facts.push(format!("{} {}", message.subject, String::from_utf8_lossy(&message.payload)));
    }
    facts
}

/// What `worker forget … --output json` said, by what it was said of.
fn counts(said: &str) -> Vec<(String, u64)> {
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (line["in"].as_str().unwrap().to_owned(), line["count"].as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[tokio::test]
async fn a_forgotten_project_leaves_nothing_and_takes_nothing_of_another() {
    let stack = Stack::start().await.unwrap();
    for project in ["Team", "Other"] {
        for delivery in history() {
            send(&stack, &delivery.project(project)).await;
        }
        let unreadable = json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "without an id" }] });
        send(&stack, &Delivery::github("push", &unreadable).project(project)).await;
    }
    settled(&stack).await;
    // A notification that was refused, and one that waits: neither says whose it is before it is opened.
    stack.eval.reply(Reply::Status(400));
    for project in ["Team", "Other"] {
        send(&stack, &push(project, 100)).await;
    }
    let refused = async || {
        let dead_letters = stack.messages("LD_DEAD").await?;
        ensure!(dead_letters == 4, "{dead_letters} dead letters");
        stack.nothing_pending().await
    };
    stack.eventually("four are dead", SOON, refused).await.unwrap();
    stack.eval.down();
    for project in ["Team", "Other"] {
        send(&stack, &push(project, 101)).await;
        stored(&stack, project, 7, SOON).await;
    }
    let waits = async || {
        ensure!(stack.messages("LD_NOTIFY").await? == 2, "two notifications wait");
        Ok(())
    };
    stack.eventually("notifications wait", SOON, waits).await.unwrap();
    let (team, other) = (all_of(&stack, "Team").await, all_of(&stack, "Other").await);
    let events = stack.messages("LD_EVENTS").await.unwrap();
    assert!(team.len() > 12 && team.len() == other.len(), "{team:#?}");

    for args in [&["forget", "--prj", "Team"][..], &["forget", "--prj", "Team", "--dry-run"]] {
        let would = done(&stack, args).await;
        assert!(would.contains("7 documents of github_Team.commits would be removed"), "{would}");
        assert!(would.contains("of") && would.lines().all(|line| line.ends_with("would be removed")), "{would}");
    }
    assert_eq!(all_of(&stack, "Team").await, team, "nothing was changed");
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), events);

    let said = counts(&done(&stack, &["forget", "--prj", "Team", "--yes", "--output", "json"]).await);
    let count = |name: &str| said.iter().find(|(of, _)| of.ends_with(name)).map_or(0, |(_, count)| *count);
    assert_eq!((count("LD_EVENTS"), count("LD_DEAD"), count("LD_NOTIFY")), (events / 2, 2, 1), "{said:?}");
    assert_eq!(all_of(&stack, "Team").await, [""; 0]);
    assert_eq!(all_of(&stack, "Other").await, other);
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), events / 2);
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 2);
    assert_eq!(stack.messages("LD_NOTIFY").await.unwrap(), 1);
    let facts = facts(&stack).await;
    assert!(facts.iter().all(|fact| !fact.contains("Team")), "{facts:?}");

    // Neither a replay nor the repaired LD Eval restores anything. A new event of its hooks starts from nothing.
    replay_with_poison(&stack).await;
    stack.eval.reply(Reply::Accepted);
    stack.eval.up().unwrap();
    settled(&stack).await;
    assert_eq!(all_of(&stack, "Team").await, [""; 0]);
    send(&stack, &push("Team", 200)).await;
    stored(&stack, "Team", 1, SOON).await;
    let said = done(&stack, &["forget", "--prj", "Nobody", "--yes"]).await;
    assert!(said.lines().all(|line| line.starts_with("removed 0 ")), "{said}");
}

#[tokio::test]
async fn what_a_worker_has_in_hand_does_not_bring_a_forgotten_project_back() {
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    let (mongo, worker) = (stack.mongo.as_ref().unwrap(), stack.worker());
    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    settled(&stack).await;
    mongo.process.freeze().unwrap();
    send(&stack, &push("Team", 2)).await;
    let in_hand = async || {
        ensure!(stack.consumer().await?.cached_info().num_ack_pending == 1, "no worker has it in hand");
        Ok(())
    };
    stack.eventually("a worker has the event", SOON, in_hand).await.unwrap();
    worker.process.freeze().unwrap();
    mongo.process.thaw().unwrap();

    let args = ["forget", "--prj", "Team", "--yes"];
    let forget = process(&stack, &args);
    // There is nothing else that it waits for, so it would have ended long ago. This kills it.
    forget.ended(Duration::from_secs(2)).await.unwrap_err();
    worker.process.thaw().unwrap();
    done(&stack, &args).await;
    settled(&stack).await;
    assert_eq!(all_of(&stack, "Team").await, [""; 0]);
    assert!(!stack.consumer().await.unwrap().cached_info().paused, "workers are given events again");
}

/// Every kind of document in which a person is: by login, user name, author's name and sheet's name.
fn of_people(project: &str) -> Vec<Delivery> {
    let at = "2026-11-23T17:00:01Z";
    let mut commit = github::commit(&github::sha(1), "task #1");
    commit["author"] = json!({ "username": "mduran", "name": "Mireia Duran", "email": "mireia@upc.example" });
    let sender =
        json!({ "id": 7, "login": "mduran", "url": "https://api.github.example/users/mduran", "type": "User" });
    let with_sender = |mut body: Value| {
        body["sender"] = sender.clone();
        body
    };
    let mut issue = github::issue(1, "opened", at);
    issue["issue"]["user"] = sender.clone();
    let mut pull = github::pull_request(1, "closed", at);
    pull["pull_request"]["merged_by"] = sender.clone();
    pull["pull_request"]["assignee"] = sender.clone();
    pull["pull_request"]["requested_reviewers"] = json!([{ "login": "roger" }, sender]);
    let mut task = taiga::task(1, "a task", taiga::userstory(1, "a story"));
    task["assigned_to"] = json!({ "id": 2, "username": "mireia.d", "full_name": "Mireia Duran" });
    let mut row = sheets::row(1);
    row["members"] = json!(["Mireia Duran", "Roger"]);
    let all = [
        Delivery::github("push", &with_sender(github::push(1_795_455_723, [commit]))),
        Delivery::github("issues", &with_sender(issue)),
        Delivery::github("pull_request", &with_sender(pull)),
        Delivery::taiga(&taiga::event("task", "create", at, task)),
        Delivery::sheets(&row),
    ];
    all.map(|delivery| delivery.project(project)).into()
}

const NAMES: [&str; 4] = ["mduran", "mireia@upc", "Mireia Duran", "mireia.d"];

/// How many documents of a project name the person.
async fn naming(stack: &Stack, project: &str) -> usize {
    all_of(stack, project).await.iter().filter(|found| NAMES.iter().any(|name| found.contains(name))).count()
}

#[tokio::test]
async fn a_forgotten_person_stays_forgotten_through_live_events_and_replays() {
    let stack = Stack::start().await.unwrap();
    for project in ["Team", "Other"] {
        for delivery in of_people(project) {
            send(&stack, &delivery).await;
        }
    }
    settled(&stack).await;
    assert_eq!(naming(&stack, "Team").await, 5);
    let mut forget =
        vec!["forget", "--prj", "Team", "--login", "MDuran", "--login", "Mireia Duran", "--login", "mireia.d"];
    let would = done(&stack, &forget).await;
    assert!(would.contains("1 documents of excel_Team.sheets would be changed"), "{would}");
    assert_eq!(naming(&stack, "Team").await, 5, "without --yes nothing is changed");

    forget.push("--yes");
    done(&stack, &forget).await;
    assert_eq!(naming(&stack, "Team").await, 0);
    assert_eq!(naming(&stack, "Other").await, 5, "of another project everything is as it was");
    let row = stack.document("excel_Team.sheets").await.unwrap();
    assert_eq!(row.get("hours_anonymous"), Some(&1.into()), "{row}");
    assert_eq!(row.get_array("members").unwrap(), &vec!["anonymous".into(), "Roger".into()]);
    let commit = stack.document("github_Team.commits").await.unwrap();
    let user = doc! { "login": "anonymous", "name": null, "email": null };
    assert_eq!(commit.get_document("user").unwrap(), &user);
    let pull = stack.document("github_Team.pull_requests").await.unwrap();
    assert_eq!(pull.get_array("reviewers").unwrap(), &vec!["roger".into(), "anonymous".into()]);

    // Live events and a replay, also into collections that are empty.
    for delivery in of_people("Team") {
        send(&stack, &delivery).await;
    }
    settled(&stack).await;
    done(&stack, &["replay"]).await;
    let before = all_of(&stack, "Team").await;
    let db = stack.db().await.unwrap();
    for name in db.list_collection_names().await.unwrap().iter().filter(|name| name.contains("_Team.")) {
        db.collection::<Document>(name).drop().await.unwrap();
    }
    done(&stack, &["replay"]).await;
    settled(&stack).await;
    assert_eq!(all_of(&stack, "Team").await, before);
    assert_eq!(naming(&stack, "Team").await, 0);
    stack.eval.has_accepted("Team", ("push", "anonymous", None)).unwrap();

    // With the whole database the rule is lost, and a replay brings the names back: until it is run again.
    db.drop().await.unwrap();
    done(&stack, &["replay", "--no-notify"]).await;
    assert_eq!(naming(&stack, "Team").await, 5);
    forget.push("--erase-messages");
    let said = done(&stack, &forget).await;
    // Five, and of the second five the push, the issue and the pull request: the others were resends.
    assert!(said.contains("erased 8 messages"), "{said}");
    assert_eq!(naming(&stack, "Team").await, 0);
    db.drop().await.unwrap();
    done(&stack, &["replay", "--no-notify"]).await;
    assert_eq!((naming(&stack, "Team").await, naming(&stack, "Other").await), (0, 5));
}

#[tokio::test]
async fn an_interrupted_erasure_says_how_much_is_left_and_is_no_success() {
    let stack = Stack::start().await.unwrap();
    fill(&stack, 0..1_200).await;
    settled(&stack).await;
    let args = ["forget", "--prj", "Team", "--login", "mduran", "--erase-messages", "--yes"];
    let forget = process(&stack, &args);
    let begun = async || {
        let messages = stack.messages("LD_EVENTS").await?;
        ensure!(messages < 1_200, "nothing is erased yet");
        Ok(())
    };
    stack.eventually("messages are being erased", LONG, begun).await.unwrap();
    forget.signal(Signal::Interrupt).unwrap();
    assert_eq!(forget.ended(SOON).await.unwrap().code(), Some(130), "{}", forget.log().tail());
    let left = stack.messages("LD_EVENTS").await.unwrap();
    assert!(left > 0, "it was too fast to be interrupted");
    let said = forget.log().lines().join("\n");
    assert!(said.contains(&format!("{left} still to be looked at; run the same command again")), "{said}");
    done(&stack, &args).await;
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 0);
}

#[tokio::test]
async fn forget_wants_a_project_and_a_name_that_is_one() {
    let stack = crate::only_ingress().await;
    for (args, argument) in [
        (&["forget", "--yes"][..], "--prj"),
        (&["forget", "--prj", "a.b", "--yes"], "--prj"),
        (&["forget", "--prj", "Team", "--login", " ", "--yes"], "--login"),
        (&["forget", "--prj", "Team", "--erase-messages"], "--login"),
        (&["forget", "--prj", "Team", "--yes", "--dry-run"], "--dry-run"),
    ] {
        let output = command(&stack, args).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(argument), "{args:?}: {text}");
    }
}
