//! `/readyz` follows what the process can reach, in both directions; `/healthz` is about the process alone.

use std::time::Duration;

use anyhow::ensure;
use harness::eventually::throughout;
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};

use crate::observe::{becomes_ready, becomes_unready, is_healthy, push, readyz, stored};
use crate::{LONG, SOON};

#[tokio::test]
async fn without_nats_neither_process_is_ready_and_both_are_healthy_and_ready_again_after() {
    let stack = Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap();
    let nats = stack.nats.as_ref().unwrap();
    let services = [&stack.ingress, stack.worker()];
    for service in services {
        becomes_ready(&stack, service).await;
    }
    for frozen in [false, true] {
        if frozen {
            nats.process.freeze().unwrap()
        } else {
            nats.process.kill().unwrap()
        }
        for service in services {
            becomes_unready(&stack, service, "NATS").await;
            is_healthy(&stack, service).await.unwrap();
        }
        if frozen {
            nats.process.thaw().unwrap()
        } else {
            nats.start_again().await.unwrap()
        }
        for service in services {
            becomes_ready(&stack, service).await;
        }
    }
}

#[tokio::test]
async fn without_mongodb_the_worker_is_not_ready_and_ingress_is() {
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    becomes_ready(&stack, stack.worker()).await;
    becomes_ready(&stack, &stack.ingress).await;
    for frozen in [false, true] {
        if frozen {
            mongo.process.freeze().unwrap()
        } else {
            mongo.process.kill().unwrap()
        }
        becomes_unready(&stack, stack.worker(), "MongoDB").await;
        is_healthy(&stack, stack.worker()).await.unwrap();
        let (status, body) = readyz(&stack, &stack.ingress).await.unwrap();
        assert_eq!(status, 200, "ingress never asks MongoDB: {body}");
        if frozen {
            mongo.process.thaw().unwrap()
        } else {
            mongo.start_again().await.unwrap()
        }
        becomes_ready(&stack, stack.worker()).await;
    }
}

#[tokio::test]
async fn a_process_without_its_servers_starts_waits_and_gets_ready_when_they_come() {
    let stack = Stack::start_with(Options { own_nats: true, own_mongo: true, ..Options::default() }).await.unwrap();
    let (nats, mongo) = (stack.nats.as_ref().unwrap(), stack.mongo.as_ref().unwrap());
    let services = [&stack.ingress, stack.worker()];
    for service in services {
        service.process.kill().unwrap();
    }
    nats.process.kill().unwrap();
    mongo.process.kill().unwrap();
    for service in services {
        service.start_again().await.unwrap();
        becomes_unready(&stack, service, "").await;
        is_healthy(&stack, service).await.unwrap();
    }
    nats.start_again().await.unwrap();
    mongo.start_again().await.unwrap();
    for service in services {
        becomes_ready(&stack, service).await;
    }
}

/// A ceiling that a few dozen pushes reach.
const CEILING: u64 = 100_000;

/// Sends pushes until one is refused; how many were accepted.
async fn fill(stack: &Stack) -> u64 {
    for n in 0.. {
        let answer = stack.sender.send(&push("Team", n)).await.unwrap();
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.body);
            let after: u64 = answer.retry_after.unwrap_or_default().parse().unwrap();
            assert!(after > 0);
            return n;
        }
        assert!(n < 1000, "{CEILING} bytes hold {n} pushes");
    }
    0
}

#[tokio::test]
async fn readyz_reports_a_full_stream_until_a_worker_has_made_room() {
    let options = Options { no_worker: true, ..Options::default() }.env("LD_EVENTS_MAX_BYTES", &CEILING.to_string());
    let mut stack = Stack::start_with(options).await.unwrap();
    let body = becomes_ready(&stack, &stack.ingress).await;
    assert_eq!(body["events_max_bytes"], CEILING);
    let accepted = fill(&stack).await;
    let body = becomes_unready(&stack, &stack.ingress, "full").await;
    is_healthy(&stack, &stack.ingress).await.unwrap();
    let bytes = body["events_bytes"].as_u64().unwrap();
    assert!((CEILING * 9 / 10..=CEILING).contains(&bytes), "{body}");
    assert_eq!(body["events_max_bytes"], CEILING);
    let refuses = async || {
        let answer = stack.sender.send(&push("Late", 1)).await?;
        ensure!(answer.status == 503, "what was not worked off must not be dropped: {}", answer.body);
        Ok(())
    };
    throughout("ingress refuses as long as no worker runs", Duration::from_secs(1), &stack, refuses).await.unwrap();

    stack.add_worker().await.unwrap();
    stored(&stack, "Team", usize::try_from(accepted).unwrap(), LONG).await;
    becomes_ready(&stack, &stack.ingress).await;
    // More than has room at once: it has to be made again.
    for n in accepted..2 * accepted {
        let delivery = push("Team", n);
        let accepts = async || {
            let answer = stack.sender.send(&delivery).await?;
            ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
            Ok(())
        };
        stack.eventually("ingress accepts again", LONG, accepts).await.unwrap();
    }
    stored(&stack, "Team", usize::try_from(2 * accepted).unwrap(), LONG).await;
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn room_is_made_for_a_large_webhook_too() {
    let options = Options::default().env("LD_EVENTS_MAX_BYTES", &CEILING.to_string());
    let stack = Stack::start_with(options).await.unwrap();
    // Of a fifth of the ceiling each: with four the stream is not nine tenths full, and a fifth has no room.
    for n in 0..10 {
        let mut body = github::issue(n, "opened", "2026-11-23T17:42:03Z");
        body["issue"]["body"] = "x".repeat(19_500).into();
        let delivery = Delivery::github("issues", &body).project("Large");
        let accepts = async || {
            let answer = stack.sender.send(&delivery).await?;
            ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
            Ok(())
        };
        stack.eventually("a large webhook is accepted", SOON, accepts).await.unwrap();
    }
}

/// From the start of a worker to its word about MongoDB, with what a loaded test machine adds to 5 s.
const FIRST_WORD: Duration = Duration::from_secs(8);

/// `/readyz` and the log say within seconds of the start that MongoDB is the problem, and what to do.
async fn says_what_is_wrong_with_mongodb(uri: &str) {
    let options = Options { no_worker: true, ..Options::default() }.env("MONGO_URI", uri);
    let mut stack = Stack::start_with(options).await.unwrap();
    stack.add_worker().await.unwrap();
    let said = async || {
        let (status, body) = readyz(&stack, stack.worker()).await?;
        let problems = body["problems"].to_string();
        ensure!(status == 503 && problems.contains("MongoDB"), "{status} {body}");
        ensure!(problems.contains("MONGO_URI"), "it does not say what to do: {body}");
        let lines = crate::observe::complaints(&stack.worker().process);
        ensure!(lines.iter().any(|line| line.contains("MongoDB")), "the log does not name MongoDB: {lines:#?}");
        Ok(())
    };
    stack.eventually("the worker says what is wrong", FIRST_WORD, said).await.unwrap();
}

#[tokio::test]
async fn a_worker_without_mongodb_says_so_within_seconds_of_its_start() {
    says_what_is_wrong_with_mongodb("mongodb://127.0.0.1:1").await;
}

#[tokio::test]
async fn a_worker_with_a_wrong_password_for_mongodb_says_so_within_seconds_of_its_start() {
    let dir = harness::paths::scratch("wrong-password").unwrap();
    let mongo = harness::servers::MongoServer::start_secured(&dir, &[], "").await.unwrap();
    says_what_is_wrong_with_mongodb(&mongo.uri_of(Some(("ld-connect", "wrong")))).await;
}
