//! MongoDB as it can be: a member that lags, a server without a journal, one with `bulkWrite`.

use std::time::Duration;

use anyhow::ensure;
use bson::{Document, doc};
use harness::eventually::throughout;
use harness::paths::scratch;
use harness::sender::{Delivery, github};
use harness::servers::{Mongo8, ReplicaSet, mongo};
use harness::stack::{Options, Stack};

use crate::observe::{becomes_ready, becomes_unready, push, send, stored};
use crate::{LONG, only_ingress};

const ISSUES: u64 = 10;

#[tokio::test]
async fn what_was_deleted_stays_deleted_with_an_address_that_prefers_a_lagging_member() {
    let set = ReplicaSet::start_lagging(&scratch("lagging").unwrap()).await.unwrap();
    let prefers_secondary = format!("{}&readPreference=secondaryPreferred", set.uri());
    let mut stack = only_ingress().await;
    stack.mongo_uri = set.uri();
    stack.env.insert("MONGO_URI".to_owned(), prefers_secondary);
    stack.add_worker().await.unwrap();
    let all = async |action: &str, at: &str| {
        for n in 1..=ISSUES {
            send(&stack, &Delivery::github("issues", &github::issue(n, action, at))).await;
        }
        stack.eventually("they are processed", LONG, async || stack.nothing_pending().await).await.unwrap();
    };
    all("opened", "2026-11-23T09:00:00Z").await;
    assert_eq!(stack.documents("github_Team.issues").await.unwrap().len() as u64, ISSUES);
    all("deleted", "2026-11-23T12:00:00Z").await;
    // Older than the deletion, and later.
    all("edited", "2026-11-23T10:00:00Z").await;
    assert_eq!(stack.documents("github_Team.issues").await.unwrap(), [] as [Document; 0]);

    let deletions = async |uri: &str| {
        let database = mongo::connect(uri).await.unwrap().database(&stack.database);
        database.collection::<Document>("ld_deletions").count_documents(doc! {}).await.unwrap()
    };
    let lagging = format!("{}/?directConnection=true&readPreference=secondaryPreferred", set.members[1].uri());
    let seen = (deletions(&set.uri()).await, deletions(&lagging).await);
    assert_eq!(seen, (ISSUES, 0), "the preferred member does not lag: this run proves nothing");
}

#[tokio::test]
async fn a_server_without_a_journal_is_an_outage_that_says_why_and_ends_with_the_journal() {
    let options = Options { mongo_args: &["--nojournal"], ..Options::default() };
    let stack = Stack::start_with(options).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    for n in 0..5 {
        send(&stack, &push("Team", n)).await;
    }
    let said = becomes_unready(&stack, stack.worker(), "journal").await;
    assert!(said["problems"].to_string().contains("MongoDB"), "{said}");
    let waits = async || {
        let dead = stack.messages("LD_DEAD").await?;
        ensure!(dead == 0, "{dead} dead letters");
        Ok(())
    };
    throughout("no event is given up", Duration::from_secs(3), &stack, waits).await.unwrap();

    assert!(mongo.process.stop(LONG).await.unwrap().success());
    mongo.process.drop_arg("--nojournal");
    mongo.start_again().await.unwrap();
    stored(&stack, "Team", 5, LONG).await;
    becomes_ready(&stack, stack.worker()).await;
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn a_backlog_is_written_with_bulk_write_where_mongodb_has_it() {
    const PROJECTS: u64 = 50;
    const ISSUE: &str = "github_Many0.issues";
    let mut stack = only_ingress().await;
    let db = stack.db().await.unwrap();
    // A write that is refused in a bulkWrite: its event waits, and no other one.
    db.run_command(doc! { "create": ISSUE, "validator": { "never": { "$exists": true } } }).await.unwrap();
    for n in 0..PROJECTS * 6 {
        send(&stack, &push(&format!("Many{}", n % PROJECTS), n)).await;
    }
    let issue = Delivery::github("issues", &github::issue(1, "opened", "2026-11-23T09:00:00Z"));
    send(&stack, &issue.project("Many0")).await;
    let mongo8 = Mongo8::before(&stack.mongo_uri).await.unwrap();
    stack.env.insert("MONGO_URI".to_owned(), mongo8.uri());
    stack.env.insert("WORKER_CONCURRENCY".to_owned(), "1".to_owned());
    stack.add_worker().await.unwrap();
    for project in 0..PROJECTS {
        stored(&stack, &format!("Many{project}"), 6, LONG).await;
    }
    assert!(mongo8.executed() > 0, "no bulkWrite was sent");
    becomes_unready(&stack, stack.worker(), ISSUE).await;
    db.run_command(doc! { "collMod": ISSUE, "validator": {} }).await.unwrap();
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.documents(ISSUE).await.unwrap().len(), 1);
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}
