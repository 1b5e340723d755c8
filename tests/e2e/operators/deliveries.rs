//! `worker events list`, `show` and `tail`, and `worker send-test`: what came, and what became of each.

use anyhow::ensure;
use harness::eval::Reply;
use harness::paths::scratch;
use harness::process::{Process, Recipe};
use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::build::path;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::observe::{push, send};
use crate::operators::commands::{command, done, process, settled};
use crate::{LONG, SOON, only_ingress};

/// The lines of a command for scripts.
async fn lines(stack: &Stack, args: &[&str]) -> Vec<Value> {
    let said = done(stack, &[args, &["--output", "json"]].concat()).await;
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line of a delivery comes to say this state; gives it.
async fn becomes(stack: &Stack, delivery: &str, state: &str) -> Value {
    let fact = async || {
        let listed = lines(stack, &["events", "list"]).await;
        let line = listed.iter().find(|line| line["delivery"] == delivery);
        ensure!(line.is_some_and(|line| line["state"] == state), "{listed:#?}");
        Ok(line.cloned().unwrap_or_default())
    };
    stack.eventually(&format!("{delivery} is {state}"), SOON, fact).await.unwrap()
}

/// A push that no document can come of.
fn poison() -> Delivery {
    Delivery::github("push", &json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "no id" }] }))
}

/// A stack whose credentials file lists `Team`.
async fn listing(name: &str) -> Stack {
    let file = harness::paths::scratch(name).unwrap().join("credentials.json");
    std::fs::write(&file, r#"{ "amep": { "teams": ["Team"] } }"#).unwrap();
    Stack::start_with(Options::default().env("CREDENTIALS_FILE", file.to_str().unwrap())).await.unwrap()
}

#[tokio::test]
async fn the_list_says_what_became_of_each_delivery() {
    let stack = listing("deliveries-list").await;
    let (stored, dead) = (push("Team", 1), poison());
    send(&stack, &stored).await;
    send(&stack, &dead).await;
    let mut refused = push("Team", 2).request(&stack.sender.secrets().clone()).with("x-hub-signature", "sha1=00");
    refused = refused.with("x-github-delivery", "refused-one");
    assert_eq!(stack.sender.request(&refused).await.unwrap().status, 403);
    let one = becomes(&stack, &stored.id, "notified").await;
    assert_eq!((&one["source"], &one["event"], &one["prj"]), (&json!("github"), &json!("push"), &json!("Team")));
    assert!(one["sequence"].is_u64(), "{one}");
    let one = becomes(&stack, &dead.id, "dead").await;
    assert_eq!(one["reason"], "no_identity");
    let letter = one["dead_letter"].as_u64().unwrap();
    assert_eq!(becomes(&stack, "refused-one", "refused").await["reason"], "signature");

    for (filter, wanted) in [
        (&["--state", "dead"][..], &dead.id[..]),
        (&["--state", "notified"], &stored.id),
        (&["--state", "refused"], "refused-one"),
        (&["--limit", "1"], "refused-one"),
    ] {
        let listed = lines(&stack, &[&["events", "list", "--prj", "Team"][..], filter].concat()).await;
        let ids: Vec<_> = listed.iter().map(|line| line["delivery"].as_str().unwrap()).collect();
        assert_eq!(ids, [wanted], "{filter:?}");
    }
    assert!(lines(&stack, &["events", "list", "--prj", "Another"]).await.is_empty());
    let table = done(&stack, &["events", "list"]).await;
    assert!(table.lines().count() == 4 && table.contains(&stored.id) && table.contains("no_identity"), "{table}");

    // Sent again it fails again, as the same dead letter.
    done(&stack, &["dead-letters", "redrive", "--id", &letter.to_string()]).await;
    let again = async || {
        let listed = lines(&stack, &["events", "list", "--state", "replayed"]).await;
        let same = |line: &Value| line["dead_letter"] == letter && line["again_of"].is_u64();
        ensure!(listed.len() == 1 && same(&listed[0]), "{listed:#?}");
        Ok(())
    };
    stack.eventually("it is listed as sent again", SOON, again).await.unwrap();

    let notified_at = async || {
        let listed = lines(&stack, &["events", "list", "--state", "notified"]).await;
        ensure!(
            listed.iter().any(|line| line["delivery"] == stored.id.as_str() && line["notified_at"].is_string()),
            "{listed:#?}"
        );
        Ok(())
    };
    stack.eventually("it says when LD Eval was notified", SOON, notified_at).await.unwrap();

    // While LD Eval accepts nothing, what is stored is not notified.
    stack.eval.reply(Reply::Status(503));
    let later = push("Team", 3);
    send(&stack, &later).await;
    becomes(&stack, &later.id, "stored").await;
    becomes(&stack, &stored.id, "notified").await;
}

#[tokio::test]
async fn what_no_worker_has_taken_is_listed_as_received() {
    let stack = only_ingress().await;
    let waiting = push("Team", 1);
    send(&stack, &waiting).await;
    becomes(&stack, &waiting.id, "received").await;
}

#[tokio::test]
async fn a_delivery_id_finds_its_story_in_one_command() {
    let stack = Stack::start().await.unwrap();
    let mut body = github::issue(7, "opened", "2026-11-23T17:00:00Z");
    body["issue"]["title"] = json!("A person wrote this\u{1b}[2J");
    let delivery = Delivery::github("issues", &body);
    send(&stack, &delivery).await;
    settled(&stack).await;
    let sequence = becomes(&stack, &delivery.id, "notified").await["sequence"].to_string();
    for id in [&delivery.id, &sequence, &format!("github:Team:{}", delivery.id)] {
        let story = done(&stack, &["events", "show", id]).await;
        for part in [
            &delivery.id,
            &sequence,
            "notified",
            "github_Team.issues  repo_name upc-pes/marmota, issue_id 7: shows this delivery",
            "issues: accepted",
            "LD-Received-At: ",
        ] {
            assert!(story.contains(part), "{part}: {story}");
        }
        assert!(!story.contains("A person wrote this") && !story.contains(github::LOGIN), "{story}");
    }
    let story = done(&stack, &["events", "show", &delivery.id, "--payload"]).await;
    assert!(story.contains("A person wrote this") && story.contains(github::LOGIN), "{story}");
    assert!(!story.contains('\u{1b}'), "{story:?}");
    let story = lines(&stack, &["events", "show", &delivery.id, "--payload"]).await;
    assert_eq!(story[0]["documents"][0]["now"], "ours");
    assert_eq!(story[0]["payload"].as_str(), Some(body.to_string().as_str()), "a script gets what was signed");
    assert_eq!(story[0]["headers"]["LD-Delivery"], delivery.id.as_str());

    // Once a newer delivery says something else, the document names that one.
    let newer = Delivery::github("issues", &github::issue(7, "closed", "2026-11-23T18:00:00Z"));
    send(&stack, &newer).await;
    becomes(&stack, &newer.id, "notified").await;
    let story = lines(&stack, &["events", "show", &delivery.id]).await;
    assert_eq!(story[0]["documents"][0]["now"]["other"], newer.id.as_str(), "{story:#?}");

    let unknown = command(&stack, &["events", "show", "no-such-delivery"]).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(1) && said.contains("no-such-delivery") && said.contains("redeliver"),
        "{said}"
    );
}

#[tokio::test]
async fn each_delivery_is_one_line_of_those_who_follow() {
    let stack = Stack::start().await.unwrap();
    let tail = process(&stack, &["events", "tail", "--prj", "Team"]);
    // What comes before it follows is not its business.
    let mut number = 0;
    let follows = async || {
        number += 1;
        send(&stack, &push("Team", number)).await;
        ensure!(!tail.log().events().is_empty(), "{}", tail.log().tail());
        Ok(())
    };
    harness::eventually::eventually("it follows", LONG, &stack, follows).await.unwrap();
    let sent = [
        push("Team", 1_000),
        poison(),
        Delivery::taiga(&taiga::event("issue", "create", "2026-11-23T17:00:00Z", taiga::issue(1, "x"))),
        Delivery::sheets(&sheets::row(1)),
    ];
    for delivery in &sent {
        send(&stack, delivery).await;
    }
    send(&stack, &push("Another", 1)).await;
    let line =
        |of: &dyn Fn(&Value) -> bool| tail.log().events().into_iter().filter(|line| of(line)).collect::<Vec<_>>();
    let all = async || {
        for (source, event, state) in [
            ("github", "push", "notified"),
            ("github", "push", "dead"),
            ("taiga", "issue", "notified"),
            ("excel", "sheets_activity", "notified"),
        ] {
            let found = line(&|line| line["source"] == source && line["event"] == event && line["state"] == state);
            ensure!(!found.is_empty(), "no {source} {event} {state}: {}", tail.log().tail());
        }
        Ok(())
    };
    stack.eventually("each has its line", LONG, all).await.unwrap();
    let of_first = line(&|line| line["delivery"] == sent[0].id.as_str());
    assert_eq!(of_first.len(), 1, "{of_first:#?}");
    assert!(line(&|line| line["prj"] != "Team").is_empty());
}

#[tokio::test]
async fn at_a_terminal_those_who_follow_see_the_state_in_colour() {
    let stack = Stack::start().await.unwrap();
    // `script` gives it a terminal.
    let worker = path("worker").unwrap();
    let follow = format!("'{}' events tail --prj Team", worker.display());
    let env = [("TERM".into(), "xterm".into()), ("SHELL".into(), "/bin/sh".into())];
    let recipe = Recipe {
        name: "tail-at-a-terminal".to_owned(),
        program: "script".into(),
        args: ["--quiet", "--return", "--command", &follow, "/dev/null"].map(Into::into).into(),
        env: stack.env.clone().into_iter().chain(env).collect(),
        dir: scratch(&format!("{}-terminal", stack.prefix)).unwrap(),
    };
    let tail = Process::start(recipe).unwrap();
    let mut number = 0;
    let coloured = async || {
        number += 1;
        send(&stack, &push("Team", number)).await;
        send(&stack, &poison()).await;
        let said = tail.log().lines().join("\n");
        ensure!(said.contains("\u{1b}[32mnotified") && said.contains("\u{1b}[31mdead"), "{said}");
        Ok(())
    };
    harness::eventually::eventually("notified is green and dead is red", LONG, &stack, coloured).await.unwrap();
}

#[tokio::test]
async fn a_test_delivery_is_followed_to_ld_eval_and_leaves_nothing() {
    let stack = Stack::start().await.unwrap();
    let url = stack.ingress.webhooks();
    for (source, collection, event_type) in [
        ("github", "github_Team.issues", "issues"),
        ("taiga", "taiga_Team.issues", "issue"),
        ("excel", "excel_Team.sheets", "sheets_activity"),
    ] {
        let args = ["send-test", "--prj", "Team", "--source", source, "--url", &url];
        let stations = lines(&stack, &args).await;
        let names: Vec<_> = stations.iter().map(|station| station["station"].as_str().unwrap()).collect();
        assert_eq!(names, ["accepted", "in the stream", "stored", "LD Eval notified", "removed"], "{source}");
        assert!(stack.documents(collection).await.unwrap().is_empty(), "{collection} is empty again");
        assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 0, "no replay brings it back");
        let told = async || {
            let accepted = stack.eval.accepted("Team");
            ensure!(accepted.iter().filter(|told| told.text("event_type") == event_type).count() > 1, "{accepted:?}");
            Ok(())
        };
        stack.eventually("LD Eval is notified that it is gone", SOON, told).await.unwrap();
    }
    assert!(stack.documents("ld_deletions").await.unwrap().is_empty(), "nothing is remembered of it");
}

#[tokio::test]
async fn a_test_delivery_that_is_stuck_says_where_and_goes_all_the_same() {
    let mut stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    let url = stack.ingress.webhooks();
    let args = ["send-test", "--prj", "Team", "--source", "github", "--timeout", "1s", "--url"];
    let fails = async |stack: &Stack, more: &[&str], at: &str| {
        let output = command(stack, &[&args[..], more].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(at), "{at}: {said}");
    };
    fails(&stack, &[&url, "--github-secret", "another"], "403 Forbidden: Invalid Signature").await;
    let elsewhere = stack.eval.port();
    fails(&stack, &[&format!("http://127.0.0.1:{elsewhere}")], "Stuck").await;

    stack.add_worker().await.unwrap();
    stack.eval.reply(Reply::Status(503));
    fails(&stack, &[&url], "LD Eval has not accepted its notification").await;
    assert!(stack.documents("github_Team.issues").await.unwrap().is_empty());
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 0);
}
