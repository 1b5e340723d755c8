//! What was answered 200 is stored, whatever process is killed.

use std::time::Duration;

use anyhow::ensure;
use harness::eval::Reply;
use harness::sender::{Delivery, github, taiga};
use harness::stack::{Options, Stack};

use crate::{LONG, SOON};

/// How many events a disturbed run has.
const EVENTS: u64 = 150;

/// Well before the ack wait (20 s after delivery): what arrives within this time was finished or negative-acknowledged,
/// not left in flight.
const BEFORE_ACK_WAIT: Duration = Duration::from_secs(10);

/// A worker that takes few events at a time, so that it can be met in the middle of its work.
fn small_steps() -> Options {
    Options::default().env("WORKER_BATCH", "4").env("WORKER_CONCURRENCY", "2")
}

/// The n-th event: pushes of two commits, and one task that changes again and again.
fn event(n: u64) -> Delivery {
    if n.is_multiple_of(3) {
        let at = format!("2026-11-23T17:{:02}:{:02}Z", n / 60 % 60, n % 60);
        let task = taiga::task(1, &format!("state {n}"), taiga::userstory(1, "x"));
        Delivery::taiga(&taiga::event("task", "change", &at, task))
    } else {
        let commits = [2 * n, 2 * n + 1].map(|n| github::commit(&github::sha(n), &format!("task #{n}")));
        Delivery::github("push", &github::push(1_795_455_723, commits))
    }
}

async fn send_all(stack: &Stack) {
    for n in 0..EVENTS {
        let answer = stack.sender.send(&event(n)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

async fn commits(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let all = stack.documents("github_Team.commits").await?;
    Ok(all.iter().map(|commit| commit.get_str("sha").unwrap_or_default().to_owned()).collect())
}

/// The documents are those of all events, as if nothing had happened.
async fn everything_arrived(stack: &Stack, within: Duration) {
    let mut wanted: Vec<_> =
        (0..EVENTS).filter(|n| !n.is_multiple_of(3)).flat_map(|n| [2 * n, 2 * n + 1]).map(github::sha).collect();
    wanted.sort();
    let last = (0..EVENTS).rfind(|n| n.is_multiple_of(3)).map(|n| format!("state {n}"));
    stack
        .eventually("everything is stored", within, async || {
            let mut shas = commits(stack).await?;
            shas.sort();
            ensure!(shas == wanted, "{} of {} commits are stored", shas.len(), wanted.len());
            let task = stack.document("taiga_Team.tasks").await?;
            ensure!(task.get_str("subject").ok() == last.as_deref(), "the task shows {:?}", task.get("subject"));
            stack.nothing_pending().await
        })
        .await
        .unwrap();
    for notified in [("push", github::LOGIN, None), ("task", taiga::USERNAME, None)] {
        stack.eval.has_accepted("Team", notified).unwrap();
    }
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0, "an outage makes no dead letter");
}

/// Some of the work is done.
async fn mid_work(stack: &Stack, at_least: usize) {
    stack
        .eventually("the worker is in the middle of it", SOON, async || {
            let done = commits(stack).await?.len();
            ensure!(done >= at_least, "{done} commits are stored");
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_worker_killed_while_it_works_ends_in_the_same_documents() {
    let stack = Stack::start_with(small_steps()).await.unwrap();
    let worker = stack.worker();
    worker.process.freeze().unwrap();
    send_all(&stack).await;
    worker.process.thaw().unwrap();
    mid_work(&stack, 1).await;
    worker.process.kill().unwrap();
    assert!(stack.nothing_pending().await.is_err(), "it was done before it was killed: this run proves nothing");
    for at_least in [20, 60] {
        worker.start_again().await.unwrap();
        mid_work(&stack, at_least).await;
        worker.process.kill().unwrap();
    }
    worker.start_again().await.unwrap();
    everything_arrived(&stack, LONG).await;
}

#[tokio::test]
async fn a_worker_asked_to_stop_exits_0_and_leaves_nothing_lying() {
    let stack = Stack::start_with(small_steps()).await.unwrap();
    let worker = stack.worker();
    worker.process.freeze().unwrap();
    send_all(&stack).await;
    worker.process.thaw().unwrap();
    mid_work(&stack, 1).await;
    let status = worker.process.stop(Duration::from_secs(25)).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(stack.nothing_pending().await.is_err(), "it was done before it was stopped: this run proves nothing");
    worker.start_again().await.unwrap();
    everything_arrived(&stack, BEFORE_ACK_WAIT).await;
}

#[tokio::test]
async fn a_worker_that_cannot_finish_when_asked_to_stop_releases_its_events() {
    let options = Options { own_mongo: true, ..small_steps() }.env("SHUTDOWN_GRACE", "3s");
    let stack = Stack::start_with(options).await.unwrap();
    let worker = stack.worker();
    worker.process.freeze().unwrap();
    send_all(&stack).await;
    worker.process.thaw().unwrap();
    mid_work(&stack, 1).await;
    stack.mongo.as_ref().unwrap().process.freeze().unwrap();
    // Its exit code says that it did not end well. Here it counts only that it ends in time.
    worker.process.stop(Duration::from_secs(10)).await.unwrap();
    stack.mongo.as_ref().unwrap().process.thaw().unwrap();
    assert!(stack.nothing_pending().await.is_err(), "it was done before it was stopped: this run proves nothing");
    worker.start_again().await.unwrap();
    everything_arrived(&stack, BEFORE_ACK_WAIT).await;
}

#[tokio::test]
async fn three_workers_share_the_events_and_one_of_them_dies() {
    let mut stack = Stack::start_with(small_steps()).await.unwrap();
    stack.add_worker().await.unwrap();
    stack.add_worker().await.unwrap();
    stack.workers.iter().for_each(|worker| worker.process.freeze().unwrap());
    send_all(&stack).await;
    stack.workers.iter().for_each(|worker| worker.process.thaw().unwrap());
    mid_work(&stack, 1).await;
    stack.workers[1].process.kill().unwrap();
    everything_arrived(&stack, LONG).await;
}

#[tokio::test]
async fn ingress_killed_between_requests_loses_nothing_it_answered() {
    let stack = Stack::start().await.unwrap();
    let mut sender = stack.sender.clone();
    for n in 0..EVENTS {
        if n == EVENTS / 2 {
            stack.ingress.process.kill().unwrap();
            stack.ingress.start_again().await.unwrap();
            sender = sender.to(&stack.ingress.webhooks());
        }
        assert_eq!(sender.send(&event(n)).await.unwrap().status, 200);
    }
    everything_arrived(&stack, LONG).await;
}

#[tokio::test]
async fn ld_eval_down_delays_no_document_and_is_notified_when_it_is_back() {
    let stack = Stack::start().await.unwrap();
    stack.eval.down();
    let delivery = Delivery::github("push", &github::push(1, [github::commit(&github::sha(1), "x")]));
    assert_eq!(stack.sender.send(&delivery).await.unwrap().status, 200);
    let stored = async || stack.document("github_Team.commits").await;
    stack.eventually("the commit is stored", SOON, stored).await.unwrap();
    assert!(stack.eval.received().is_empty());
    stack.eval.up().unwrap();
    let notified = async || stack.eval.has_accepted("Team", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified after all", LONG, notified).await.unwrap();
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
}

#[tokio::test]
async fn ld_eval_answering_503_is_notified_again_until_it_accepts() {
    let stack = Stack::start().await.unwrap();
    stack.eval.reply(Reply::Status(503));
    let delivery = Delivery::github("push", &github::push(1, [github::commit(&github::sha(1), "x")]));
    assert_eq!(stack.sender.send(&delivery).await.unwrap().status, 200);
    let refused = async || {
        ensure!(!stack.eval.received().is_empty(), "it was not notified at all");
        Ok(())
    };
    stack.eventually("LD Eval is notified and refuses", SOON, refused).await.unwrap();
    stack.eval.reply(Reply::Accepted);
    let notified = async || stack.eval.has_accepted("Team", ("push", github::LOGIN, None));
    stack.eventually("LD Eval accepts", LONG, notified).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn mongodb_away_spends_no_event_and_its_return_is_noticed() {
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    for n in 0..EVENTS {
        if n == 20 {
            mongo.process.kill().unwrap();
        }
        assert_eq!(stack.sender.send(&event(n)).await.unwrap().status, 200);
    }
    mongo.start_again().await.unwrap();
    everything_arrived(&stack, LONG).await;
}

#[tokio::test]
async fn nats_killed_and_started_again_keeps_what_was_answered_200() {
    let stack = Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap();
    let nats = stack.nats.as_ref().unwrap();
    for n in 0..EVENTS {
        if n == EVENTS / 2 {
            nats.process.kill().unwrap();
            nats.start_again().await.unwrap();
        }
        let accepted = async || {
            let answer = stack.sender.send(&event(n)).await?;
            ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
            Ok(())
        };
        stack.eventually("the event is accepted", LONG, accepted).await.unwrap();
    }
    everything_arrived(&stack, LONG).await;
}
