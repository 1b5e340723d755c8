//! The operators' commands, run as they run them.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::ensure;
use async_nats::HeaderMap;
use bson::{Bson, Document};
use harness::paths::scratch;
use harness::process::{Process, Recipe};
use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::build::path;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::{LONG, SOON};

/// Runs `worker <args>` against a stack, to its end.
pub(crate) async fn command(stack: &Stack, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(path("worker").unwrap());
    command.args(args).env_clear().envs(&stack.env).kill_on_drop(true);
    tokio::time::timeout(LONG, command.output()).await.expect("the command ends").unwrap()
}

/// The same, which must succeed: its standard output.
pub(crate) async fn done(stack: &Stack, args: &[&str]) -> String {
    let output = command(stack, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A replay that does not notify, of a stream with events that cannot be processed.
pub(crate) async fn replay_with_poison(stack: &Stack) {
    let output = command(stack, &["replay", "--no-notify"]).await;
    let notices = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && notices.contains("left out"), "{notices}");
}

/// Starts `worker <args>` beside a stack: for what is interrupted. Its output is in its log.
pub(crate) fn process(stack: &Stack, args: &[&str]) -> Process {
    let recipe = Recipe {
        name: "worker-command".to_owned(),
        program: path("worker").unwrap(),
        args: args.iter().map(Into::into).collect(),
        env: stack.env.clone().into_iter().collect(),
        dir: scratch(&format!("{}-command", stack.prefix)).unwrap(),
    };
    Process::start(recipe).unwrap()
}

/// The dead letters, as a script sees them.
pub(crate) async fn dead_letters(stack: &Stack) -> Vec<Value> {
    let listed = done(stack, &["dead-letters", "list", "--output", "json"]).await;
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) async fn settled(stack: &Stack) {
    stack.eventually("everything is settled", SOON, async || stack.nothing_pending().await).await.unwrap();
}

const COLLECTIONS: [&str; 8] = [
    "github_Team.commits",
    "github_Team.issues",
    "github_Team.pull_requests",
    "taiga_Team.userstories",
    "taiga_Team.tasks",
    "taiga_Team.issues",
    "taiga_Team.epics",
    "excel_Team.sheets",
];

/// All documents, without `_id` and `_ld`, and whatever order their fields are in.
pub(crate) async fn everything(stack: &Stack) -> Vec<String> {
    let mut all = Vec::new();
    for collection in COLLECTIONS {
        let documents = stack.documents(collection).await.unwrap().into_iter();
        let by_name = |found: Document| found.into_iter().collect::<BTreeMap<String, Bson>>();
        let mut documents: Vec<_> = documents.map(|found| format!("{collection} {:?}", by_name(found))).collect();
        documents.sort();
        all.extend(documents);
        // A collection that is not there has none.
        let collected = stack.db().await.unwrap().collection::<Document>(collection).list_index_names().await;
        let mut indexes = collected.unwrap_or_default();
        indexes.sort();
        all.push(format!("{collection} {indexes:?}"));
    }
    all
}

/// Something of each kind, changed, linked, deleted and out of order.
pub(crate) fn history() -> Vec<Delivery> {
    let at = |second: u32| format!("2026-11-23T17:00:{second:02}Z");
    let story = |id, subject: &str| taiga::userstory(id, subject);
    let event =
        |kind: &str, action: &str, second, data| Delivery::taiga(&taiga::event(kind, action, &at(second), data));
    let milestone = |name: &str| taiga::milestone(5, name);
    let in_milestone = |mut item: Value| {
        item["milestone"] = milestone("Sprint 1");
        item["custom_attributes_values"] = json!({ "Priority": "Alta", "a.b": 1.50, "$c": 9_007_199_254_740_993_i64 });
        item
    };
    vec![
        event("userstory", "create", 1, in_milestone(story(1, "kept"))),
        event("userstory", "create", 2, story(2, "gone")),
        event("task", "create", 3, in_milestone(taiga::task(1, "stays", story(1, "kept")))),
        event("task", "create", 4, taiga::task(2, "goes", story(2, "gone"))),
        event("userstory", "change", 6, in_milestone(story(1, "renamed"))),
        event("userstory", "change", 5, story(1, "late and stale")),
        event("userstory", "delete", 7, story(2, "gone")),
        // A link before its story, and one to an epic that goes.
        event("relateduserstory", "create", 8, taiga::related(story(3, "linked"), taiga::epic(7, "Epic"))),
        event("userstory", "create", 9, in_milestone(story(3, "linked"))),
        event("epic", "create", 8, taiga::epic(7, "Epic")),
        event("epic", "create", 8, taiga::epic(8, "Short-lived")),
        event("relateduserstory", "create", 9, taiga::related(story(1, "renamed"), taiga::epic(8, "Short-lived"))),
        event("epic", "delete", 10, taiga::epic(8, "Short-lived")),
        event("milestone", "change", 11, milestone("Sprint 1, extended")),
        event("issue", "create", 12, taiga::issue(1, "It breaks")),
        Delivery::github("issues", &github::issue(1, "opened", &at(1))),
        Delivery::github("issues", &github::issue(1, "closed", &at(2))),
        Delivery::github("pull_request", &github::pull_request(1, "closed", &at(3))),
        Delivery::github("pull_request", &github::pull_request(2, "closed", &at(4))),
        Delivery::github("pull_request", &github::pull_request(2, "reopened", &at(5))),
        Delivery::github("push", &github::push(1_795_455_723, (1..5).map(|n| github::commit(&github::sha(n), "x")))),
        Delivery::github("push", &github::push(1_795_455_700, (3..6).map(|n| github::commit(&github::sha(n), "x")))),
        Delivery::sheets(&sheets::row(1)),
    ]
}

#[tokio::test]
async fn a_replay_rebuilds_a_dropped_database_and_changes_nothing_in_a_whole_one() {
    let stack = Stack::start().await.unwrap();
    for delivery in history() {
        assert_eq!(stack.sender.send(&delivery).await.unwrap().status, 200);
    }
    settled(&stack).await;
    let before = everything(&stack).await;
    // Five commits, an issue and a pull request; two stories, a task, an issue and an epic; a row.
    let documents = before.iter().filter(|line| line.contains(" {")).count();
    assert_eq!(documents, 13, "{before:#?}");

    let would = done(&stack, &["replay", "--dry-run"]).await;
    assert!(would.starts_with(&format!("{} events", history().len())), "{would}");
    done(&stack, &["replay"]).await;
    assert_eq!(everything(&stack).await, before, "a whole database is left as it is");

    stack.db().await.unwrap().drop().await.unwrap();
    let notified = stack.eval.accepted("Team").len();
    done(&stack, &["replay", "--no-notify"]).await;
    assert_eq!(everything(&stack).await, before, "a dropped one is rebuilt");
    settled(&stack).await;
    assert_eq!(stack.eval.accepted("Team").len(), notified, "LD Eval was not notified");

    stack.db().await.unwrap().drop().await.unwrap();
    done(&stack, &["replay", "--source", "taiga", "--event", "task"]).await;
    assert_eq!(
        stack.documents("taiga_Team.tasks").await.unwrap().len(),
        2,
        "only tasks, and their story was not deleted"
    );
    assert!(stack.documents("github_Team.commits").await.unwrap().is_empty());
    let consumers = stack.stream("LD_EVENTS").await.unwrap().cached_info().state.consumer_count;
    assert_eq!(consumers, 1, "the replays' consumers are gone");
}

#[tokio::test]
async fn a_wrong_argument_names_itself_and_shows_what_would_be_right() {
    let stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    for (args, argument, right) in [
        (&["replay", "--since", "yesterday"][..], "--since", "2026-11-23"),
        (&["replay", "--seq", "9..5"][..], "--seq", "100..200"),
        (&["replay", "--prj", "a.b"][..], "--prj", "A-Z"),
        (&["replay", "--source", "gitlab"][..], "--source", "github, taiga or excel"),
        (&["dead-letters", "redrive"][..], "--all", "Usage"),
        (&["dead-letters", "list", "--reason", "poison"][..], "--reason", "unstorable"),
        (&["dead-letters", "purge", "--older-than", "old"][..], "--older-than", "Usage"),
        (&["dead-letters", "purge", "--older-than", "1d", "--yes", "--dry-run"][..], "--dry-run", "Usage"),
        (&["completions", "tcsh"][..], "SHELL", "bash"),
    ] {
        let output = command(&stack, args).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(argument), "{args:?}: {text}");
        assert!(text.contains(right) || right == "Usage", "{args:?}: {text}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_redriven_and_removed() {
    let stack = Stack::start().await.unwrap();
    let body = json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "without an id" }] });
    assert_eq!(stack.sender.send(&Delivery::github("push", &body)).await.unwrap().status, 200);
    let mut headers = HeaderMap::new();
    headers.insert("LD-Version", "1");
    let odd = format!("{}.ld.events.github.Team.push", stack.prefix);
    stack.jetstream().await.unwrap().publish_with_headers(odd, headers, "?".into()).await.unwrap().await.unwrap();
    let dead = async || {
        let count = stack.messages("LD_DEAD").await?;
        ensure!(count == 2, "{count} dead letters");
        stack.nothing_pending().await
    };
    stack.eventually("both are dead", SOON, dead).await.unwrap();

    let listed = dead_letters(&stack).await;
    let by = |reason: &str| {
        listed.iter().find(|dead_letter| dead_letter["reason"] == reason).unwrap_or_else(|| panic!("{listed:?}"))
    };
    assert_eq!(by("no_identity")["prj"], "Team");
    let delivery = by("no_identity")["delivery"].as_str().unwrap();
    let table = done(&stack, &["dead-letters", "list"]).await;
    assert!(table.lines().count() == 3, "{table}");
    let row: Vec<_> = table.lines().find(|line| line.contains("no_identity")).unwrap().split_whitespace().collect();
    assert_eq!(row[3..8], ["github", "push", "Team", delivery, "1"], "{table}");
    let id = by("no_identity")["id"].as_u64().unwrap();
    let shown = done(&stack, &["dead-letters", "show", &id.to_string()]).await;
    assert!(shown.contains("LD-Dead-Reason: no_identity") && shown.contains("without an id"), "{shown}");

    let shown = done(&stack, &["dead-letters", "show", &id.to_string(), "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["headers"]["LD-Dead-Reason"], "no_identity");
    assert_eq!(shown["payload"].as_str(), Some(body.to_string().as_str()));

    let would = done(&stack, &["dead-letters", "redrive", "--all", "--dry-run"]).await;
    assert_eq!(would.lines().count(), 2, "{would}");
    let would = done(&stack, &["dead-letters", "redrive", "--prj", "Team", "--dry-run", "--output", "json"]).await;
    assert!(would.lines().count() == 1 && would.contains("\"sent\":false"), "{would}");
    assert_eq!(dead_letters(&stack).await.len(), 2, "a dry run publishes nothing");

    // Redriven it fails again, as the same dead letter: its id stays, its attempts are counted.
    for (redrive, attempts) in [(&["--reason", "no_identity"], 2), (&["--id", &id.to_string()], 3)] {
        done(&stack, &[&["dead-letters", "redrive"][..], redrive].concat()).await;
        let again = async || {
            let now = dead_letters(&stack).await;
            let same = now.iter().find(|letter| letter["id"] == id);
            ensure!(now.len() == 2 && same.is_some_and(|same| same["attempts"] == attempts), "{now:?}");
            Ok(())
        };
        stack.eventually("the same dead letter is there again", SOON, again).await.unwrap();
    }
    let now = dead_letters(&stack).await;
    let same = now.iter().find(|letter| letter["id"] == id).unwrap();
    assert_eq!((&same["reason"], &same["delivery"]), (&json!("no_identity"), &json!(delivery)), "{same}");
    let shown = done(&stack, &["dead-letters", "show", &id.to_string()]).await;
    assert!(shown.contains("LD-Dead-Attempts: 3\n"), "{shown}");
    let unknown = command(&stack, &["dead-letters", "redrive", "--id", "999999"]).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("no dead letter 999999."), "{said}");

    let would = done(&stack, &["dead-letters", "purge", "--older-than", "0s", "--dry-run", "--output", "json"]).await;
    assert!(would.contains("\"dead_letters\":2") && would.contains("\"removed\":false"), "{would}");
    done(&stack, &["dead-letters", "purge", "--older-than", "0s"]).await;
    assert_eq!(dead_letters(&stack).await.len(), 2, "without --yes nothing is removed");
    done(&stack, &["dead-letters", "purge", "--older-than", "1h", "--yes"]).await;
    assert_eq!(dead_letters(&stack).await.len(), 2, "they are younger");
    done(&stack, &["dead-letters", "purge", "--older-than", "0s", "--yes"]).await;
    assert_eq!(dead_letters(&stack).await.len(), 0);
}

/// Makes dead letters of all events, as a bad release would leave them. For a stack without a worker.
pub(crate) async fn dead_letter_everything(stack: &Stack) {
    let jetstream = stack.jetstream().await.unwrap();
    // Ingress takes webhooks before the other streams are there.
    stack.eventually("the dead letters' stream is there", SOON, async || stack.stream("LD_DEAD").await).await.unwrap();
    let events = stack.stream("LD_EVENTS").await.unwrap();
    let state = events.cached_info().state.clone();
    for sequence in state.first_sequence..=state.last_sequence {
        let event = events.get_raw_message(sequence).await.unwrap();
        let mut headers = HeaderMap::new();
        for (name, values) in event.headers.iter().filter(|(name, _)| !name.to_string().starts_with("Nats-")) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
        for (name, value) in [
            ("LD-Dead-Reason", "unstorable"),
            ("LD-Dead-Error", "the document cannot be stored"),
            ("LD-Dead-Subject", event.subject.as_str()),
            ("LD-Dead-Sequence", &sequence.to_string()),
            ("LD-Dead-Attempts", "1"),
            ("LD-Dead-First-At", "2026-11-23T17:42:03.511Z"),
            ("LD-Dead-At", "2026-11-23T17:42:03.611Z"),
        ] {
            headers.insert(name, value);
        }
        let of = |name: &str| event.headers.get(name).unwrap().to_string();
        let subject = format!("{}.ld.dead.unstorable.{}.{}", stack.prefix, of("LD-Source"), of("LD-Project"));
        jetstream.publish_with_headers(subject, headers, event.payload).await.unwrap().await.unwrap();
    }
    events.purge().await.unwrap();
}

#[tokio::test]
async fn a_redriven_event_is_stored_once_its_cause_is_fixed() {
    let mut stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    assert_eq!(stack.sender.send(&Delivery::sheets(&sheets::row(1))).await.unwrap().status, 200);
    dead_letter_everything(&stack).await;
    stack.add_worker().await.unwrap();
    assert_eq!(dead_letters(&stack).await[0]["reason"], "unstorable");
    assert!(stack.eval.accepted("Team").is_empty(), "nothing was written, so there is no notification");

    done(&stack, &["dead-letters", "redrive", "--prj", "Team"]).await;
    let stored = async || stack.document("excel_Team.sheets").await;
    stack.eventually("it is stored", SOON, stored).await.unwrap();
    stack
        .eventually("LD Eval is told", SOON, async || stack.eval.has_accepted("Team", ("sheets_activity", "", None)))
        .await
        .unwrap();
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test]
async fn a_replay_says_how_many_events_it_left_out_and_why() {
    let stack = Stack::start().await.unwrap();
    let anonymous = json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "without an id" }] });
    let good = github::push(1_795_455_723, [github::commit(&github::sha(1), "task #1")]);
    for body in [&good, &anonymous, &anonymous] {
        assert_eq!(stack.sender.send(&Delivery::github("push", body)).await.unwrap().status, 200);
    }
    settled(&stack).await;
    let output = command(&stack, &["replay", "--output", "json"]).await;
    let notices = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{notices}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["processed"], &said["of"], &said["left_out"]),
        (&json!(1), &json!(3), &json!({ "no_identity": 2 })),
        "{said}"
    );
    assert!(notices.contains("left out: 2 no_identity") && notices.contains("2 of 3 events failed"), "{notices}");
    let stream = stack.stream("LD_EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.consumer_count, 1, "it ended, and its consumer is gone");
}

/// What a repository could be called: it sets the window's title, clears the screen, reorders text and forges a line.
const HOSTILE: &str = "o\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}r\nok: all is well";

#[tokio::test]
async fn text_from_outside_reaches_a_terminal_escaped() {
    let stack = Stack::start().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("LD-Version", "1");
    headers.insert("LD-Delivery", HOSTILE.replace('\n', " ").as_str());
    let subject = format!("{}.ld.events.github.Team.push", stack.prefix);
    let jetstream = stack.jetstream().await.unwrap();
    jetstream.publish_with_headers(subject, headers, HOSTILE.into()).await.unwrap().await.unwrap();
    let dead = async || {
        ensure!(stack.messages("LD_DEAD").await? == 1, "no dead letter yet");
        Ok(())
    };
    stack.eventually("it is dead", SOON, dead).await.unwrap();
    let id = dead_letters(&stack).await[0]["id"].to_string();
    for args in [
        &["dead-letters", "list"][..],
        &["dead-letters", "list", "--output", "json"],
        &["dead-letters", "show", &id],
        &["dead-letters", "show", &id, "--output", "json"],
        &["dead-letters", "redrive", "--all", "--dry-run", "--output", "json"],
        &["events", "remove", "--prj", "Team"],
        &["events", "remove", "--prj", "Team", "--output", "json"],
        &["replay"],
    ] {
        let output = command(&stack, args).await;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(raw), "{args:?}: {text:?}");
        assert!(args[0] == "replay" || text.contains("owned"), "{args:?}: {text}");
    }
    let shown = done(&stack, &["dead-letters", "show", &id, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["payload"].as_str(), Some(HOSTILE), "a script reads what was sent");
}

#[tokio::test]
async fn every_command_lists_the_exit_codes() {
    harness::stack::build::build(harness::stack::build::Voice::Quiet).unwrap();
    for command in
        ["", "replay", "dead-letters redrive", "forget", "events remove", "doctor", "config check", "completions"]
    {
        let args = command.split_whitespace().chain(["--help"]);
        let output = tokio::process::Command::new(path("worker").unwrap()).args(args).output().await.unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("130  interrupted") && help.contains("3    done in part"), "{command}: {help}");
    }
}

#[tokio::test]
async fn shells_complete_both_command_lines() {
    harness::stack::build::build(harness::stack::build::Voice::Quiet).unwrap();
    for (program, word) in [("worker", "dead-letters"), ("ingress", "healthcheck")] {
        for shell in ["bash", "zsh", "fish"] {
            let output = tokio::process::Command::new(path(program).unwrap()).args(["completions", shell]).output();
            let output = output.await.unwrap();
            assert!(output.status.success());
            let script = String::from_utf8(output.stdout).unwrap();
            assert!(script.contains(word) && script.contains(program), "{program} {shell}");
        }
    }
}
