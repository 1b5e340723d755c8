//! A collection that cannot be written delays only its own events, says so, and heals without a restart.

use std::time::Duration;

use anyhow::ensure;
use bson::{Document, doc};
use harness::sender::{Delivery, github};
use harness::stack::Stack;
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

use crate::observe::{becomes_ready, becomes_unready, complaints, push, send, stored};
use crate::{LONG, SOON};

/// Longer than any delay of a blocked event.
const AFTER_THE_DELAY: Duration = Duration::from_secs(60);

fn issue(repository: &str, number: u64) -> Delivery {
    let mut body = github::issue(number, "opened", "2026-11-23T17:42:03Z");
    body["repository"]["full_name"] = repository.into();
    Delivery::github("issues", &body)
}

/// What blocks `github_Team.issues`, and how an operator corrects it.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    View,
    TimeSeries,
    Capped,
    Validator,
    ForeignIndex,
}

const COLLECTION: &str = "github_Team.issues";

impl Obstacle {
    async fn put(self, db: &Database) {
        let issues = db.collection::<Document>(COLLECTION);
        let command = match self {
            Self::View => doc! { "create": COLLECTION, "viewOn": "elsewhere", "pipeline": [] },
            Self::TimeSeries => doc! { "create": COLLECTION, "timeseries": { "timeField": "at" } },
            Self::Capped => doc! { "create": COLLECTION, "capped": true, "size": 4096, "max": 1 },
            Self::Validator => doc! { "create": COLLECTION, "validator": { "never": { "$exists": true } } },
            Self::ForeignIndex => {
                let unique = IndexOptions::builder().unique(true).build();
                let index = IndexModel::builder().keys(doc! { "issue_id": 1 }).options(unique).build();
                issues.create_index(index).await.unwrap();
                return;
            }
        };
        db.run_command(command).await.unwrap();
    }

    async fn remove(self, db: &Database) {
        match self {
            Self::View | Self::TimeSeries | Self::Capped => db.collection::<Document>(COLLECTION).drop().await.unwrap(),
            Self::Validator => drop(db.run_command(doc! { "collMod": COLLECTION, "validator": {} }).await.unwrap()),
            Self::ForeignIndex => {
                db.collection::<Document>(COLLECTION).drop_index("issue_id_1").await.unwrap();
            }
        }
    }
}

async fn delays_only_its_own_events(obstacle: Obstacle) {
    let stack = Stack::start().await.unwrap();
    let db = stack.db().await.unwrap();
    obstacle.put(&db).await;
    let pid = stack.worker().process.pid();
    // Two repositories with an issue of the same number: a unique index on the number alone refuses one of them.
    for repository in ["upc/a", "upc/b"] {
        send(&stack, &issue(repository, 1)).await;
    }
    let body = becomes_unready(&stack, stack.worker(), COLLECTION).await;
    assert!(body["problems"].to_string().contains("the collection"), "{body}");
    for n in 0..20 {
        send(&stack, &push("Team", n)).await;
    }
    stored(&stack, "Team", 20, SOON).await;
    let lines = complaints(&stack.worker().process);
    assert!(lines.len() <= 3, "a blocked collection is one line an interval: {lines:#?}");
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
    obstacle.remove(&db).await;
    let both = async || {
        let found = stack.documents(COLLECTION).await?.len();
        ensure!(found == 2, "{found} of 2 issues are stored");
        Ok(())
    };
    stack.eventually("its events are stored once it is put right", AFTER_THE_DELAY, both).await.unwrap();
    becomes_ready(&stack, stack.worker()).await;
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.worker().process.pid(), pid, "no restart was needed");
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn a_collection_that_is_a_view_delays_only_its_own_events() {
    delays_only_its_own_events(Obstacle::View).await;
}

#[tokio::test]
async fn a_collection_that_is_a_time_series_delays_only_its_own_events() {
    delays_only_its_own_events(Obstacle::TimeSeries).await;
}

#[tokio::test]
async fn a_collection_with_a_validator_delays_only_its_own_events() {
    delays_only_its_own_events(Obstacle::Validator).await;
}

#[tokio::test]
async fn a_collection_with_a_foreign_unique_index_delays_only_its_own_events() {
    delays_only_its_own_events(Obstacle::ForeignIndex).await;
}

#[tokio::test]
async fn a_capped_collection_delays_only_its_own_events_and_removes_none() {
    delays_only_its_own_events(Obstacle::Capped).await;
}
