//! A delivery becomes its document and its notification. Every field of
//! every shape is the inner ring's matter (the worker's golden files).

use anyhow::ensure;
use bson::{Bson, Document, doc};
use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::Stack;
use serde_json::{Value, json};

use crate::{LONG, SOON};

const DATE: &str = "2026-11-23T17:42:03.511Z";

/// The document has these fields, whatever else it has.
fn has(document: &Document, fields: &Document) -> anyhow::Result<()> {
    for (name, wanted) in fields {
        let got = document.get(name);
        ensure!(got.is_some_and(|got| same(got, wanted)), "{name} is {got:?}, not {wanted:?}, in {document}");
    }
    Ok(())
}

/// Integers of either width are the same number; nothing else is bent.
fn same(a: &Bson, b: &Bson) -> bool {
    let integer = |value: &Bson| match value {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        _ => None,
    };
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Sends, and waits until the one document of a collection has these fields and LD Eval was notified.
async fn becomes(stack: &Stack, delivery: &Delivery, suffix: &str, fields: Document, notified: &[(&str, &str)]) {
    let answer = stack.sender.send(delivery).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let collection = format!("{}_{}.{suffix}", delivery.source, delivery.project);
    let document = async || has(&stack.document(&collection).await?, &fields);
    stack.eventually(&format!("{collection} shows the event"), SOON, document).await.unwrap();
    for &(kind, author) in notified {
        let model = delivery.quality_model.as_deref();
        let notified = async || stack.eval.has_accepted(&delivery.project, (kind, author, model));
        stack.eventually("LD Eval is notified", SOON, notified).await.unwrap();
    }
}

#[tokio::test]
async fn every_kind_of_event_becomes_its_document_and_its_notification() {
    let stack = Stack::start().await.unwrap();
    let at = "2026-11-23T17:00:00Z";

    let push = github::push(1_795_455_723, [github::commit(&github::sha(1), "Tasca #12: cerca ràpida")]);
    let fields = doc! {
        "sha": github::sha(1), "event": "commit", "repo_name": github::REPO, "repository": github::REPO, "prj": "Team",
        "date": "2026-11-23T18:42:03.000", "message": "Tasca #12: cerca ràpida", "message_char_count": 23,
        "message_word_count": 4, "task_is_written": true, "task_reference": 12, "verified": false,
        "verified_reason": "unsigned", "is_merge": Bson::Null, "stats": { "total": 0, "additions": 0, "deletions": 0 },
        "user": { "login": github::LOGIN, "name": "Mireia Duran", "email": "mireia@upc.example" }, "team_name": "upc-pes"
    };
    let delivery = Delivery::github("push", &push).quality_model("AMEP");
    becomes(&stack, &delivery, "commits", fields, &[("push", github::LOGIN)]).await;

    let delivery = Delivery::github("issues", &github::issue(7, "opened", at));
    let fields = doc! { "event": "issue", "action": "opened", "issue_id": 7, "repo_name": github::REPO };
    becomes(&stack, &delivery, "issues", fields, &[("issues", github::LOGIN)]).await;

    let delivery = Delivery::github("pull_request", &github::pull_request(3, "closed", at));
    let fields = doc! {
        "pr_number": 3, "action": "closed", "merged": true, "merged_at": "2026-11-23T18:00:00.000",
        "merged_by": github::LOGIN, "assignee": Bson::Null, "reviewers": ["rtorrents"]
    };
    becomes(&stack, &delivery, "pull_requests", fields, &[("pull_request", github::LOGIN)]).await;

    let mut story = taiga::userstory(10, "As a user I log in");
    story["milestone"] = taiga::milestone(5, "Sprint 1");
    let delivery = Delivery::taiga(&taiga::event("userstory", "create", DATE, story.clone())).quality_model("AMEP");
    let fields = doc! {
        "userstory_id": 10, "event_type": "userstory", "action_type": "create", "status": "New", "is_closed": false,
        "total_points": 0.5, "milestone_id": 5, "milestone_name": "Sprint 1", "estimated_start": "2026-11-02T00:00:00.000",
        "created_date": "2026-11-02T10:15:00.120", "assigned_by": taiga::USERNAME, "assigned_to": Bson::Null, "custom_attributes": {}
    };
    becomes(&stack, &delivery, "userstories", fields, &[("userstory", taiga::USERNAME)]).await;

    let task = taiga::task(20, "Write the form", story.clone());
    let delivery = Delivery::taiga(&taiga::event("task", "create", DATE, task));
    let fields = doc! { "task_id": 20, "userstory_id": 10, "userstory_is_closed": false, "assigned_to": "roger", "milestone_id": Bson::Null };
    becomes(&stack, &delivery, "tasks", fields, &[("task", taiga::USERNAME)]).await;

    let delivery = Delivery::taiga(&taiga::event("issue", "create", DATE, taiga::issue(30, "It breaks")));
    let fields = doc! { "issue_id": 30, "is_closed": true, "type": "Bug", "severity": "Minor", "priority": "High", "due_date": "2026-11-30T00:00:00.000" };
    becomes(&stack, &delivery, "issues", fields, &[("issue", taiga::USERNAME)]).await;

    let delivery = Delivery::taiga(&taiga::event("epic", "create", DATE, taiga::epic(40, "Access")));
    let fields = doc! { "epic_id": 40, "subject": "Access", "is_closed": false };
    becomes(&stack, &delivery, "epics", fields, &[("epic", taiga::USERNAME)]).await;

    let link = taiga::related(story, taiga::epic(40, "Access"));
    let delivery = Delivery::taiga(&taiga::event("relateduserstory", "create", DATE, link));
    let fields = doc! { "userstory_id": 10, "epic_id": 40, "epic_name": "Access", "epic_reference": 40, "milestone_name": "Sprint 1" };
    becomes(&stack, &delivery, "userstories", fields, &[("userstory", taiga::USERNAME)]).await;

    let renamed = taiga::event("milestone", "change", "2026-11-23T17:42:04Z", taiga::milestone(5, "Sprint one"));
    let notified = [("task", taiga::USERNAME), ("userstory", taiga::USERNAME)];
    let fields = doc! { "userstory_id": 10, "milestone_name": "Sprint one", "epic_id": 40 };
    becomes(&stack, &Delivery::taiga(&renamed), "userstories", fields, &notified).await;

    let delivery = Delivery::sheets(&sheets::row(1)).quality_model("AMEP");
    let fields = doc! {
        "prj": "Team", "team": "Team", "quality_model": "AMEP", "duration_h": 1.5, "activity_type": "Desenvolupament",
        "total_hours": 6.75, "hours_Classe_passiva": 1
    };
    becomes(&stack, &delivery, "sheets", fields, &[("sheets_activity", "")]).await;
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
}

#[tokio::test]
async fn a_push_of_2048_commits_is_2048_documents() {
    const MANY: usize = 2048;
    let stack = Stack::start().await.unwrap();
    let commits =
        (0..2048).map(|n| github::commit(&github::sha(n), &format!("task #{n}: {}", "lorem ipsum ".repeat(20))));
    let delivery = Delivery::github("push", &github::push(1_795_455_723, commits));
    assert!(delivery.json.len() > 1024 * 1024, "as large as such a push really is");
    assert_eq!(stack.sender.send(&delivery).await.unwrap().status, 200);
    let all = stack
        .eventually("all commits are stored", LONG, async || {
            let all = stack.documents("github_Team.commits").await?;
            ensure!(all.len() == MANY, "{} commits are", all.len());
            Ok(all)
        })
        .await
        .unwrap();
    let mut shas: Vec<_> = all.iter().map(|commit| commit.get_str("sha").unwrap().to_owned()).collect();
    shas.sort();
    shas.dedup();
    assert_eq!(shas.len(), MANY);
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.eval.accepted("Team").len(), 1, "one push is one notification");
}

#[tokio::test]
async fn names_with_dots_dollars_and_quotes_are_one_literal_field() {
    let stack = Stack::start().await.unwrap();
    let names = ["a.b", "$set", "$a.b", "..", "Hores (est.)", "l'equip", "\"q\"", "名前.名", "$", "."];
    let mut story = taiga::userstory(1, "x");
    let attributes: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!("1,5"))).collect();
    story["custom_attributes_values"] = Value::Object(attributes);
    let mut row = sheets::row(1);
    row["members"] = json!(names);
    row["memberHours"] = json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    // Twice: an update must take the same way in as an insert.
    for second in 0..2 {
        let event = taiga::event("userstory", "change", &format!("2026-11-23T17:42:0{second}Z"), story.clone());
        assert_eq!(stack.sender.send(&Delivery::taiga(&event)).await.unwrap().status, 200);
    }
    assert_eq!(stack.sender.send(&Delivery::sheets(&row)).await.unwrap().status, 200);
    let stored = async || stack.document("taiga_Team.userstories").await;
    let story = stack.eventually("the story is stored", SOON, stored).await.unwrap();
    let attributes = story.get_document("custom_attributes").unwrap();
    assert_eq!(attributes.keys().collect::<Vec<_>>().len(), names.len(), "{attributes}");
    let row =
        stack.eventually("the row is stored", SOON, async || stack.document("excel_Team.sheets").await).await.unwrap();
    for (hours, name) in (1..).zip(names) {
        assert_eq!(attributes.get_str(name).ok(), Some("1,5"), "{name} in {attributes}");
        let stored = row.get(format!("hours_{name}"));
        assert!(stored.is_some_and(|stored| same(stored, &Bson::Int64(hours))), "hours_{name} is {stored:?}");
    }
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
}

#[tokio::test]
async fn a_redelivered_push_is_stored_once_even_under_another_id() {
    let stack = Stack::start().await.unwrap();
    let push =
        github::push(1_795_455_723, [github::commit(&github::sha(1), "one"), github::commit(&github::sha(2), "two")]);
    let first = Delivery::github("push", &push);
    // The server's memory of ids is 10 minutes; what comes later is as another id is.
    for delivery in [&first, &first, &Delivery::github("push", &push)] {
        assert_eq!(stack.sender.send(delivery).await.unwrap().status, 200);
    }
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.documents("github_Team.commits").await.unwrap().len(), 2);
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 2);
}

#[tokio::test]
async fn a_deleted_story_goes_with_its_tasks_and_an_older_event_brings_neither_back() {
    let stack = Stack::start().await.unwrap();
    let story = |id| taiga::userstory(id, "x");
    let at = |second: u32| format!("2026-11-23T17:42:{second:02}Z");
    let events = [
        taiga::event("userstory", "create", &at(1), story(1)),
        taiga::event("userstory", "create", &at(1), story(2)),
        taiga::event("task", "create", &at(2), taiga::task(11, "t", story(1))),
        taiga::event("task", "create", &at(2), taiga::task(12, "t", story(2))),
        taiga::event("userstory", "delete", &at(9), story(1)),
        // These two come late: they are older than the delete.
        taiga::event("userstory", "change", &at(3), story(1)),
        taiga::event("task", "change", &at(4), taiga::task(11, "t", story(1))),
    ];
    for event in &events {
        assert_eq!(stack.sender.send(&Delivery::taiga(event)).await.unwrap().status, 200);
    }
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    has(&stack.document("taiga_Team.userstories").await.unwrap(), &doc! { "userstory_id": 2 }).unwrap();
    has(&stack.document("taiga_Team.tasks").await.unwrap(), &doc! { "task_id": 12 }).unwrap();
}

#[tokio::test]
async fn a_poison_event_is_kept_as_a_dead_letter_and_the_events_behind_it_flow_on() {
    let stack = Stack::start().await.unwrap();
    let poison = json!({ "commits": "not a list", "repository": 7, "sender": [] });
    let poison = Delivery::github("push", &poison);
    assert_eq!(stack.sender.send(&poison).await.unwrap().status, 200);
    let good = Delivery::github("push", &github::push(1, [github::commit(&github::sha(1), "x")]));
    becomes(&stack, &good, "commits", doc! { "sha": github::sha(1) }, &[("push", github::LOGIN)]).await;
    stack
        .eventually("the poison is a dead letter", SOON, async || {
            let dead = stack.stream("LD_DEAD").await?.get_raw_message(1).await?;
            ensure!(dead.payload == poison.json, "its bytes are others");
            Ok(())
        })
        .await
        .unwrap();
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
}

#[tokio::test]
async fn a_push_without_commits_stores_and_notifies_nothing() {
    let stack = Stack::start().await.unwrap();
    let mut deletion = github::push(1, []);
    deletion["deleted"] = json!(true);
    deletion["head_commit"] = Value::Null;
    assert_eq!(stack.sender.send(&Delivery::github("push", &deletion)).await.unwrap().status, 200);
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert!(stack.documents("github_Team.commits").await.unwrap().is_empty());
    assert!(stack.eval.received().is_empty());
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}
