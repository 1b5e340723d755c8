//! `worker migrate`, on a database as the Python service left it, beside a worker that has begun to write.

use bson::{Bson, Document, doc};
use harness::sender::{Delivery, github, taiga};
use harness::stack::Stack;
use harness::stack::build::path;
use serde_json::Value;

use crate::{LONG, SOON};

/// Standard output of `worker migrate <args>`, which must succeed, but for documents without identity.
async fn migrate(stack: &Stack, args: &[&str]) -> String {
    let mut command = tokio::process::Command::new(path("worker").unwrap());
    command.arg("migrate").args(args).env_clear().envs(&stack.env).kill_on_drop(true);
    let output = tokio::time::timeout(LONG, command.output()).await.expect("the command ends").unwrap();
    let notices = String::from_utf8_lossy(&output.stderr).into_owned();
    let stay = notices.contains("no natural key");
    assert_eq!(output.status.code(), Some(if stay { 3 } else { 0 }), "{notices}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the report says of a collection: read, copies, written, newer, unusable.
fn counts(report: &str, collection: &str) -> [u64; 5] {
    let line = report.lines().find(|line| line.split_whitespace().next() == Some(collection));
    let mut words = line.unwrap_or_else(|| panic!("{collection} is not in\n{report}")).split_whitespace().skip(1);
    [(); 5].map(|()| words.next().unwrap().parse().unwrap())
}

async fn insert(stack: &Stack, collection: &str, documents: &[Document]) {
    stack.db().await.unwrap().collection::<Document>(collection).insert_many(documents).await.unwrap();
}

/// Everything in the database that is not the worker's own memory, as text.
async fn everything(stack: &Stack) -> Vec<String> {
    let mut all = Vec::new();
    let mut names = stack.db().await.unwrap().list_collection_names().await.unwrap();
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with("ld_")) {
        all.extend(stack.documents(name).await.unwrap().iter().map(|found| format!("{name} {found}")));
    }
    all
}

/// The shapes are those of the Python service: local times by webhooks, Taiga's own by its backfill.
async fn seed(stack: &Stack) {
    let commit = |sha: &str, total: i32| {
        doc! { "event": "commit", "sha": sha, "repository": "o/r", "repo_name": "o/r", "message": "x", "verified": "false",
        "verified_reason": "unsigned", "date": "2026-02-01T10:00:00.000", "stats": { "total": total, "additions": total, "deletions": 0 } }
    };
    let known = github::sha(1);
    insert(
        stack,
        "github_Team.commits",
        &[commit("a", 0), commit("b", 1), commit("a", 7), commit(&known, 2), commit(&known, 2)],
    )
    .await;
    insert(stack, "github_Team.commits", &[doc! { "message": "without a sha" }]).await;
    let pull = |title: &str| {
        doc! { "event": "pull_request", "repo_name": "o/r", "pr_number": 3, "title": title, "merged_at": true,
        "closed_at": "2026-02-01T10:00:00.000", "assignee": [Bson::Null] }
    };
    insert(stack, "github_Team.pull_requests", &[pull("first"), pull("last")]).await;
    let issue = |number: i32, action: &str, title: &str| {
        doc! { "event": "issue", "action": action, "repo_name": "o/r", "prj": "Team", "issue": { "number": number, "title": title } }
    };
    let issues = [
        issue(1, "opened", "one"),
        issue(1, "closed", "one, closed"),
        issue(2, "opened", "two"),
        issue(2, "deleted", "two"),
    ];
    insert(stack, "Team_issues", &issues).await;
    insert(stack, "Team_issues", &[issue(9, "opened", "stale")]).await;
    let row = doc! { "team": "Team", "members": ["Joan M. Puig"], "hours_Joan M. Puig": 1.5, "total_hours": 2, "comment": "x" };
    let mut other = row.clone();
    other.insert("comment", "y");
    insert(stack, "Team_sheets", &[row.clone(), row, other]).await;
    let story = |id: i32, subject: &str, modified: &str| {
        doc! { "userstory_id": id, "subject": subject, "modified_date": modified, "prj": "Team" }
    };
    // By webhook, in the contract's collection already; by backfill, in the one beside it.
    insert(
        stack,
        "taiga_Team.userstories",
        &[story(1, "webhook", "2026-02-01T12:00:00.000"), story(2, "webhook", "2026-02-01T12:00:00.000")],
    )
    .await;
    // 10:30 in Madrid, older; 12:30, newer; one that only the backfill knows; one that our worker has newer.
    let backfilled = [
        story(1, "backfill", "2026-02-01T09:30:00Z"),
        story(2, "backfill", "2026-02-01T11:30:00Z"),
        story(3, "backfill", "2026-02-01T11:30:00Z"),
        story(4, "backfill", "2026-02-01T11:30:00Z"),
    ];
    insert(stack, "taiga_Team.userstory", &backfilled).await;
    insert(stack, "Other_issues", &[issue(1, "opened", "another team's")]).await;
}

async fn subject(stack: &Stack, id: i32) -> String {
    let stories = stack.db().await.unwrap().collection::<Document>("taiga_Team.userstories");
    let story = stories.find_one(doc! { "userstory_id": id }).await.unwrap().unwrap();
    story.get_str("subject").unwrap().to_owned()
}

#[tokio::test]
async fn the_python_services_documents_are_moved_and_merged_and_the_workers_win() {
    let stack = Stack::start().await.unwrap();
    let ours = [
        Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "ours")])),
        Delivery::github("issues", &github::issue(9, "closed", "2026-11-23T17:00:00Z")),
        Delivery::taiga(&taiga::event("userstory", "change", "2026-11-23T17:00:00Z", taiga::userstory(4, "ours"))),
    ];
    for delivery in &ours {
        assert_eq!(stack.sender.send(delivery).await.unwrap().status, 200);
    }
    stack.eventually("all is settled", SOON, async || stack.nothing_pending().await).await.unwrap();
    // What our issue is called in the stand-in's payload.
    let repo = stack.document("github_Team.issues").await.unwrap().get_str("repo_name").unwrap().to_owned();
    // A database that was there before has no unique indexes yet.
    for collection in ["github_Team.commits", "taiga_Team.userstories"] {
        stack.db().await.unwrap().run_command(doc! { "dropIndexes": collection, "index": "*" }).await.unwrap();
    }
    seed(&stack).await;
    let issues = stack.db().await.unwrap().collection::<Document>("Team_issues");
    issues.update_many(doc! {}, doc! { "$set": { "repo_name": &repo } }).await.unwrap();

    let before = everything(&stack).await;
    let would = migrate(&stack, &["--dry-run", "--prj", "Team"]).await;
    assert_eq!(everything(&stack).await, before, "a dry run changes nothing");
    let report = migrate(&stack, &["--prj", "Team"]).await;
    assert_eq!(would, report, "a dry run says what will be");
    //                                                          read copies written newer unusable
    assert_eq!(counts(&report, "github_Team.commits"), [6, 3, 2, 1, 1], "{report}");
    assert_eq!(counts(&report, "github_Team.pull_requests"), [2, 1, 1, 0, 0], "{report}");
    assert_eq!(counts(&report, "Team_issues"), [5, 2, 1, 2, 0], "{report}");
    assert_eq!(counts(&report, "Team_sheets"), [3, 1, 2, 0, 0], "{report}");
    assert_eq!(counts(&report, "taiga_Team.userstory"), [4, 0, 2, 2, 0], "{report}");
    assert!(!report.contains("Other_issues"), "{report}");

    let commits = stack.documents("github_Team.commits").await.unwrap();
    let commit = |sha: &str| commits.iter().find(|commit| commit.get_str("sha").is_ok_and(|has| has == sha)).unwrap();
    assert_eq!(commits.len(), 4, "three, and the one without a sha: {commits:#?}");
    assert_eq!(commit("a").get_document("stats").unwrap().get_i32("total").unwrap(), 7);
    assert!(!commit("a").get_bool("verified").unwrap());
    assert_eq!(commit(&github::sha(1)).get_str("message").unwrap(), "ours");
    let pull = stack.document("github_Team.pull_requests").await.unwrap();
    assert_eq!(pull.get_str("title").unwrap(), "last");
    assert!(pull.get_bool("merged").unwrap() && pull.get("assignee") == Some(&Bson::Null));
    assert_eq!(pull.get_str("merged_at").unwrap(), "2026-02-01T10:00:00.000");
    let issues = stack.documents("github_Team.issues").await.unwrap();
    assert_eq!(issues.len(), 2, "one was deleted: {issues:#?}");
    assert!(issues.iter().all(|issue| issue.get_str("action").unwrap() == "closed"), "{issues:#?}");
    let rows = stack.documents("excel_Team.sheets").await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.get_f64("hours_Joan M. Puig").unwrap() == 1.5), "{rows:#?}");
    for (id, winner) in [(1, "webhook"), (2, "backfill"), (3, "backfill"), (4, "ours")] {
        assert_eq!(subject(&stack, id).await, winner, "story {id}");
    }

    let after = everything(&stack).await;
    let again = migrate(&stack, &["--prj", "Team"]).await;
    assert_eq!(everything(&stack).await, after, "a second run changes nothing: {again}");
    assert_eq!(counts(&again, "Team_issues")[2], 0, "{again}");

    // What happens next is written over what was moved, not beside it.
    let change = taiga::event("userstory", "change", "2026-11-23T18:00:00Z", taiga::userstory(3, "renamed"));
    assert_eq!(stack.sender.send(&Delivery::taiga(&change)).await.unwrap().status, 200);
    stack.eventually("it is settled", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(subject(&stack, 3).await, "renamed");
    assert_eq!(stack.documents("taiga_Team.userstories").await.unwrap().len(), 4);

    migrate(&stack, &["--drop-old"]).await;
    let names = stack.db().await.unwrap().list_collection_names().await.unwrap();
    assert!(!names.iter().any(|name| name.ends_with("_issues") || name.ends_with(".userstory")), "{names:?}");
    assert!(names.contains(&"github_Other.issues".to_owned()), "{names:?}");
}

#[tokio::test]
async fn before_it_is_migrated_a_database_gets_no_further_copies() {
    let stack = Stack::start().await.unwrap();
    let copy = doc! { "event": "commit", "sha": github::sha(1), "repo_name": "o/r", "message": "theirs" };
    insert(&stack, "github_Team.commits", &[copy.clone(), copy]).await;
    insert(&stack, "taiga_Team.userstories", &[doc! { "userstory_id": 1, "subject": "theirs", "prj": "Team" }]).await;
    let ours = [
        Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "ours")])),
        Delivery::taiga(&taiga::event("userstory", "create", "2026-11-23T17:00:00Z", taiga::userstory(1, "ours"))),
    ];
    for delivery in &ours {
        assert_eq!(stack.sender.send(delivery).await.unwrap().status, 200);
    }
    stack.eventually("all is settled", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(subject(&stack, 1).await, "ours");
    let mut messages: Vec<_> = stack.documents("github_Team.commits").await.unwrap();
    messages.sort_by_key(|commit| commit.get_str("message").unwrap() == "theirs");
    let messages: Vec<_> = messages.iter().map(|commit| commit.get_str("message").unwrap()).collect();
    assert_eq!(messages, ["ours", "theirs"], "two copies were there");
    let said = migrate(&stack, &["--prj", "Team", "--output", "json"]).await;
    let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&said["from"], &said["copies"], &said["read"]), (&"github_Team.commits".into(), &1.into(), &1.into()));
    assert_eq!(stack.document("github_Team.commits").await.unwrap().get_str("message").unwrap(), "ours");
}
