//! `worker events remove`: a chosen event is gone, what it wrote is rebuilt from the others, and no replay brings it back.

use anyhow::ensure;
use bson::doc;
use harness::sender::{Delivery, github, taiga};
use harness::stack::Stack;
use serde_json::{Value, json};

use crate::SOON;
use crate::observe::send;
use crate::operators::commands::{command, dead_letters, done, everything, settled};

/// All documents, and what is remembered beside them.
async fn shown(stack: &Stack) -> Vec<String> {
    everything(stack).await.into_iter().filter(|line| line.contains("Document(")).collect()
}

fn issue(number: u64, action: &str, at: &str, title: &str) -> Delivery {
    let mut body = github::issue(number, action, at);
    body["issue"]["title"] = json!(title);
    Delivery::github("issues", &body)
}

#[tokio::test]
async fn a_removed_event_does_not_come_back_with_a_replay_and_its_documents_are_rebuilt() {
    let stack = Stack::start().await.unwrap();
    let story = taiga::event("userstory", "create", "2026-11-23T17:00:00.000Z", taiga::userstory(8, "real"));
    for real in [
        issue(1, "opened", "2026-11-23T17:00:00Z", "real"),
        issue(2, "opened", "2026-11-23T17:00:00Z", "real"),
        Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "task #1")])),
        Delivery::taiga(&story),
    ] {
        send(&stack, &real).await;
    }
    settled(&stack).await;
    let before = shown(&stack).await;

    // Newer than what is real, a deletion, one of its own, and one that cannot be processed.
    let forged = [
        issue(1, "edited", "2026-11-24T17:00:00Z", "forged"),
        issue(2, "deleted", "2026-11-24T17:00:00Z", "forged"),
        issue(3, "opened", "2026-11-24T17:00:00Z", "forged"),
        Delivery::github("push", &json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "no id" }] })),
    ];
    for forged in &forged {
        send(&stack, forged).await;
    }
    settled(&stack).await;
    let after = shown(&stack).await;
    assert!(after != before && dead_letters(&stack).await.len() == 1, "{after:#?}");

    let mut remove = vec!["events", "remove", "--output", "json"];
    forged.iter().for_each(|forged| remove.extend(["--id", forged.id.as_str()]));
    let would = done(&stack, &remove).await;
    let would: Vec<Value> = would.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(would.iter().filter(|line| line["removed"] == false).count(), 4, "{would:?}");
    assert_eq!(shown(&stack).await, after, "without --yes nothing is changed");
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 8);

    remove.push("--yes");
    done(&stack, &remove).await;
    assert_eq!((stack.messages("LD_EVENTS").await.unwrap(), dead_letters(&stack).await.len()), (4, 0));
    assert!(!stack.consumer().await.unwrap().cached_info().paused, "workers are given events again");
    done(&stack, &["replay", "--prj", "Team"]).await;
    assert_eq!(shown(&stack).await, before, "as if it had never come");

    stack.db().await.unwrap().drop().await.unwrap();
    done(&stack, &["replay"]).await;
    assert_eq!(shown(&stack).await, before, "nor does a replay into an empty database bring it back");
    send(&stack, &issue(1, "edited", "2026-11-23T18:00:00Z", "later")).await;
    let shown = async || {
        let db = stack.db().await?;
        let found = db.collection::<bson::Document>("github_Team.issues").find_one(doc! { "issue_id": 1 }).await?;
        ensure!(found.is_some_and(|issue| issue.to_string().contains("later")), "the next event is not stored");
        Ok(())
    };
    stack.eventually("a real event that is older than the forged one is shown", SOON, shown).await.unwrap();
}

#[tokio::test]
async fn a_removed_milestone_event_leaves_its_name_on_no_story() {
    let stack = Stack::start().await.unwrap();
    let mut story = taiga::userstory(8, "real");
    story["milestone"] = taiga::milestone(5, "real");
    send(&stack, &Delivery::taiga(&taiga::event("userstory", "create", "2026-11-23T17:00:00.000Z", story))).await;
    settled(&stack).await;
    let before = shown(&stack).await;
    let forged = taiga::event("milestone", "change", "2026-11-24T17:00:00.000Z", taiga::milestone(5, "forged"));
    send(&stack, &Delivery::taiga(&forged)).await;
    settled(&stack).await;
    assert!(shown(&stack).await.iter().any(|line| line.contains("forged")));
    let args = ["events", "remove", "--prj", "Team", "--source", "taiga", "--event", "milestone", "--yes"];
    done(&stack, &args).await;
    done(&stack, &["replay"]).await;
    assert_eq!(shown(&stack).await, before);
}

#[tokio::test]
async fn events_remove_wants_to_know_which() {
    let stack = crate::only_ingress().await;
    for (args, argument) in [
        (&["events", "remove", "--yes"][..], "--id"),
        (&["events", "remove", "--event", "push"], "--id"),
        (&["events", "remove", "--prj", "Team", "--yes", "--dry-run"], "--dry-run"),
        (&["events", "remove", "--seq", "9..5"], "--seq"),
    ] {
        let output = command(&stack, args).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(argument), "{args:?}: {text}");
    }
}
