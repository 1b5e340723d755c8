//! Only an event that kills workers becomes a dead letter: no outage, no restart, no neighbour of such an event does.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bson::{Document, doc};
use futures::TryStreamExt as _;
use harness::paths::scratch;
use harness::sender::github;
use harness::servers::{ReplicaSet, mongo};
use harness::stack::{Options, Stack};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use crate::observe::{push, send, stored};
use crate::{LONG, SOON, only_ingress};

/// More than the deliveries after which an event used to be taken for one that kills workers.
const RESTARTS: usize = 27;

/// How many events wait meanwhile.
const EVENTS: u64 = 20;

#[tokio::test]
async fn workers_restarted_27_times_while_mongodb_is_frozen_lose_no_event() {
    let options = Options { own_mongo: true, ..Options::default() }.env("SHUTDOWN_GRACE", "1s");
    let stack = Stack::start_with(options).await.unwrap();
    let (worker, mongo) = (stack.worker(), stack.mongo.as_ref().unwrap());
    worker.process.stop(SOON).await.unwrap();
    mongo.process.freeze().unwrap();
    for n in 0..EVENTS {
        send(&stack, &push("Team", n)).await;
    }
    for _ in 0..RESTARTS {
        worker.start_again().await.unwrap();
        let taken = async || {
            let taken = stack.consumer().await?.cached_info().num_ack_pending;
            ensure!(taken > 0, "no event was taken");
            Ok(())
        };
        stack.eventually("the worker has taken events", LONG, taken).await.unwrap();
        worker.process.stop(SOON).await.unwrap();
    }
    mongo.process.thaw().unwrap();
    worker.start_again().await.unwrap();
    stored(&stack, "Team", usize::try_from(EVENTS).unwrap(), LONG).await;
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0, "an outage is no event's fault");
    assert!(marks(&stack).await.is_empty(), "marks of suspects are left");
}

/// The subjects of marks in `LD_STATUS`.
async fn marks(stack: &Stack) -> Vec<String> {
    let filter = format!("{}.ld.status.suspect.>", stack.prefix);
    let subjects = stack.stream("LD_STATUS").await.unwrap().info_with_subjects(filter).await.unwrap();
    let subjects: Vec<(String, usize)> = subjects.try_collect().await.unwrap();
    subjects.into_iter().map(|(subject, _)| subject).collect()
}

/// The event of which workers die: a transaction holds its document, and whoever is waiting for it is killed.
const KILLER: u64 = 1;

/// Waits until the worker's write of the killer hangs, then kills the worker and ends the write.
async fn kill_the_worker_at_the_killer(stack: &Stack, client: &mongodb::Client) {
    let namespace = format!("{}.github_Team.commits", stack.database);
    let admin = client.database("admin");
    let hangs = async || {
        let waiting = doc! { "$match": { "ns": &namespace, "active": true, "op": { "$in": ["insert", "update"] },
        "microsecs_running": { "$gt": 300_000 }, "appName": "ld-connect-worker" } };
        let found = admin.aggregate([doc! { "$currentOp": {} }, waiting]).await?;
        let found: Vec<Document> = found.try_collect().await?;
        found.first().context("no write hangs")?.get("opid").cloned().context("no opid")
    };
    let opid = stack.eventually("the worker writes the killer", LONG, hangs).await.unwrap();
    stack.worker().process.kill().unwrap();
    admin.run_command(doc! { "killOp": 1, "op": opid }).await.unwrap();
}

#[tokio::test]
async fn an_event_that_kills_workers_becomes_a_dead_letter_and_those_behind_it_are_stored() {
    let set = ReplicaSet::start(&scratch("killer").unwrap(), 1).await.unwrap();
    let mut stack = only_ingress().await;
    stack.mongo_uri = set.uri();
    stack.env.insert("MONGO_URI".to_owned(), set.uri());
    let client = mongo::connect(&set.uri()).await.unwrap();
    let commits = client.database(&stack.database).collection::<Document>("github_Team.commits");
    let unique = IndexOptions::builder().name("sha".to_owned()).unique(true).build();
    commits.create_index(IndexModel::builder().keys(doc! { "sha": 1 }).options(unique).build()).await.unwrap();
    for n in KILLER..KILLER + 4 {
        send(&stack, &push("Team", n)).await;
    }
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    commits.insert_one(doc! { "_id": "held", "sha": github::sha(KILLER) }).session(&mut session).await.unwrap();
    stack.add_worker().await.unwrap();
    // In its batch, in a marked group, and three times alone.
    for _ in 0..5 {
        kill_the_worker_at_the_killer(&stack, &client).await;
        stack.worker().start_again().await.unwrap();
    }
    let buried = async || {
        let dead_letters = stack.dead_letters().await?;
        ensure!(dead_letters.len() == 1, "{} dead letters", dead_letters.len());
        Ok(dead_letters)
    };
    let dead_letters = stack.eventually("the killer is a dead letter", LONG, buried).await.unwrap();
    let first = stack.stream("LD_EVENTS").await.unwrap().cached_info().state.first_sequence;
    let header = |name: &str| dead_letters[0].headers.get(name).map_or("", |value| value.as_str());
    assert_eq!(header("LD-Dead-Reason"), "redelivered_too_often");
    assert_eq!(header("LD-Dead-Sequence"), first.to_string());
    assert!(header("LD-Dead-Error").starts_with("3 workers died"), "{}", header("LD-Dead-Error"));
    let mut wanted = [KILLER + 1, KILLER + 2, KILLER + 3].map(github::sha);
    wanted.sort();
    let behind = async || {
        let mut shas: Vec<String> = Vec::new();
        for document in stack.documents("github_Team.commits").await? {
            shas.push(document.get_str("sha")?.to_owned());
        }
        shas.sort();
        ensure!(shas == wanted, "{shas:?}");
        Ok(())
    };
    stack.eventually("the events behind it are stored", SOON, behind).await.unwrap();
    session.abort_transaction().await.unwrap();
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    let group_marks = marks(&stack).await;
    assert!(group_marks.iter().all(|subject| subject.contains(".group.")), "{group_marks:?}");
}

#[tokio::test]
async fn a_worker_killed_with_a_redelivered_event_in_hand_leaves_it_to_the_next_which_stores_it() {
    let options = Options { own_mongo: true, ..Options::default() };
    let stack = Stack::start_with(options).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    for _ in 0..2 {
        mongo.process.freeze().unwrap();
        send(&stack, &push("Team", 1)).await;
        let taken = async || {
            ensure!(stack.consumer().await?.cached_info().num_ack_pending > 0, "no event was taken");
            Ok(())
        };
        stack.eventually("the worker has taken it", LONG, taken).await.unwrap();
        stack.worker().process.kill().unwrap();
        mongo.process.thaw().unwrap();
        stack.worker().start_again().await.unwrap();
        stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    }
    stored(&stack, "Team", 1, Duration::ZERO).await;
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}
