//! Both processes recover by themselves when a server or LD Eval comes back: without
//! a restart, without having spent an event, and without having filled their logs.

use std::time::{Duration, Instant};

use anyhow::ensure;
use async_nats::jetstream::AckKind;
use futures::StreamExt as _;
use harness::eventually::{Alive as _, throughout};
use harness::stack::{Options, Stack};

use crate::observe::{flows, push, send, stays_calm, stored};
use crate::{LONG, SOON};

/// How long something is away: longer than a pull waits, and than every growing delay needs to have grown.
const OUTAGE: Duration = Duration::from_secs(10);

/// The ack wait: how long JetStream waits for progress before it redelivers a message.
const ACK_WAIT: Duration = shared::topology::ACK_WAIT;

async fn with_own_nats() -> Stack {
    Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap()
}

async fn with_own_mongo() -> Stack {
    // Small batches, so that a worker that went on pulling would soon hold more than it may.
    let options = Options { own_mongo: true, ..Options::default() }.env("WORKER_BATCH", "5");
    Stack::start_with(options).await.unwrap()
}

/// No process was restarted, and nothing became a dead letter.
async fn unharmed(stack: &Stack, before: &[Option<u32>]) {
    assert_eq!(pids(stack), before, "they came back without a restart");
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0, "an outage makes no dead letter");
}

fn pids(stack: &Stack) -> Vec<Option<u32>> {
    stack.workers.iter().chain([&stack.ingress]).map(|service| service.process.pid()).collect()
}

#[tokio::test]
async fn deleted_streams_are_made_again_and_work_goes_on() {
    let stack = Stack::start().await.unwrap();
    flows(&stack, 1).await;
    let before = pids(&stack);
    let jetstream = stack.jetstream().await.unwrap();
    for name in ["LD_EVENTS", "LD_NOTIFY", "LD_ENRICH", "LD_DEAD", "LD_PROBE"] {
        jetstream.delete_stream(format!("{}_{name}", stack.prefix)).await.unwrap();
    }
    flows(&stack, 2).await;
    for name in ["LD_ENRICH", "LD_DEAD", "LD_PROBE"] {
        stack.stream(name).await.unwrap();
    }
    stays_calm(&stack, Duration::ZERO).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn deleted_consumers_are_made_again_and_work_goes_on() {
    let stack = Stack::start().await.unwrap();
    flows(&stack, 1).await;
    let before = pids(&stack);
    for (stream, consumer) in [("LD_EVENTS", "ld-worker"), ("LD_NOTIFY", "ld-notifier")] {
        stack.stream(stream).await.unwrap().delete_consumer(consumer).await.unwrap();
    }
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn a_nats_server_away_for_a_while_is_found_again() {
    let stack = with_own_nats().await;
    flows(&stack, 1).await;
    let before = pids(&stack);
    let nats = stack.nats.as_ref().unwrap();
    nats.process.kill().unwrap();
    stays_calm(&stack, OUTAGE).await;
    nats.start_again().await.unwrap();
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn a_nats_server_that_lost_its_disk_gets_its_streams_again() {
    let stack = with_own_nats().await;
    flows(&stack, 1).await;
    let before = pids(&stack);
    let nats = stack.nats.as_ref().unwrap();
    nats.process.kill().unwrap();
    nats.lose_disk().unwrap();
    nats.start_again().await.unwrap();
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn a_frozen_nats_server_loses_nothing_that_was_in_it() {
    let stack = with_own_nats().await;
    flows(&stack, 1).await;
    let before = pids(&stack);
    let nats = stack.nats.as_ref().unwrap();
    stack.worker().process.freeze().unwrap();
    for n in 0..20 {
        send(&stack, &push("Team", n)).await;
    }
    nats.process.freeze().unwrap();
    stack.worker().process.thaw().unwrap();
    stays_calm(&stack, OUTAGE).await;
    nats.process.thaw().unwrap();
    stored(&stack, "Team", 20, LONG).await;
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

/// How many events wait while MongoDB is away: more than the lanes of a worker may hold.
const WAITING: u64 = 60;

/// How many events a worker holds at most: three lanes with a batch of five each, and for each lane one
/// pull that was answered too late.
const HELD: usize = 30;

/// While MongoDB is away for this long a worker holds its batches and takes no more, and no event is
/// delivered twice for it.
async fn spends_nothing(stack: &Stack, lasting: Duration) {
    for n in 0..WAITING {
        send(stack, &push("Team", n)).await;
    }
    let taken = async || {
        let taken = stack.consumer().await?.cached_info().num_ack_pending;
        ensure!(taken > 0, "no event was taken");
        Ok(())
    };
    stack.eventually("a worker has taken events", SOON, taken).await.unwrap();
    let patient = async || {
        let consumer = stack.consumer().await?;
        let info = consumer.cached_info();
        ensure!(info.num_ack_pending <= HELD, "{} events were taken", info.num_ack_pending);
        ensure!(info.num_redelivered == 0, "{} events were delivered again", info.num_redelivered);
        ensure!(info.ack_floor.consumer_sequence == 0, "{:?} is settled without MongoDB", info.ack_floor);
        Ok(())
    };
    let (calm, patient) = tokio::join!(
        stays_calm(stack, lasting),
        throughout("the worker waits with what it has", lasting, stack, patient),
    );
    ((), ()) = (calm, patient.unwrap());
}

/// Another worker that pulls now gets only what no worker has in flight; here it negative-acknowledges that.
async fn still_held(stack: &Stack) {
    let consumer = stack.consumer().await.unwrap();
    let mut others = consumer.fetch().max_messages(2 * WAITING as usize).messages().await.unwrap();
    while let Some(message) = others.next().await {
        let message = message.unwrap();
        assert_eq!(message.info().unwrap().delivered, 1, "an event was taken from the worker that waits with it");
        message.double_ack_with(AckKind::Nak(None)).await.unwrap();
    }
}

#[tokio::test]
async fn mongodb_away_for_a_while_spends_no_event_and_is_found_again() {
    let stack = with_own_mongo().await;
    let before = pids(&stack);
    let mongo = stack.mongo.as_ref().unwrap();
    mongo.process.kill().unwrap();
    spends_nothing(&stack, OUTAGE).await;
    mongo.start_again().await.unwrap();
    stored(&stack, "Team", WAITING as usize, LONG).await;
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn a_mongodb_frozen_for_longer_than_the_ack_wait_costs_no_delivery() {
    let stack = with_own_mongo().await;
    let before = pids(&stack);
    let mongo = stack.mongo.as_ref().unwrap();
    mongo.process.freeze().unwrap();
    let begin = Instant::now();
    spends_nothing(&stack, ACK_WAIT + Duration::from_secs(3)).await;
    assert!(begin.elapsed() > ACK_WAIT);
    still_held(&stack).await;
    mongo.process.thaw().unwrap();
    stored(&stack, "Team", WAITING as usize, LONG).await;
    flows(&stack, 2).await;
    unharmed(&stack, &before).await;
}

#[tokio::test]
async fn a_replica_set_that_fails_over_takes_every_write_once() {
    const EVENTS: u64 = 120;
    let stack = Stack::start_with(Options { mongo_members: 3, ..Options::default() }).await.unwrap();
    let set = stack.set.as_ref().unwrap();
    let before = pids(&stack);
    let first = set.primary().await.unwrap();
    for n in 0..EVENTS {
        if n == EVENTS / 3 {
            first.process.kill().unwrap();
        }
        send(&stack, &push("Team", n)).await;
    }
    stored(&stack, "Team", EVENTS as usize, LONG).await;
    assert_ne!(set.primary().await.unwrap().port, first.port);
    flows(&stack, 2).await;
    stays_calm(&stack, Duration::ZERO).await;
    unharmed(&stack, &before).await;
    set.check().unwrap();
}
