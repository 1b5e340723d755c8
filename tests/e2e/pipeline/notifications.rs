//! LD Eval is notified of everything that was written, even if it fails or hangs, and delays no write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use harness::eval::{Notification, Reply};
use harness::eventually::throughout;
use harness::sender::github;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::observe::{complaints, is_healthy, push, send, stored};
use crate::{LONG, SOON};

/// The notification of a push of a project.
const PUSHED: (&str, &str, Option<&str>) = ("push", github::LOGIN, None);

/// More projects than notifications are ever under way at once.
fn projects() -> Vec<String> {
    (0..50).map(|n| format!("Team{n}")).collect()
}

/// One push for each project, written.
async fn push_to_all(stack: &Stack) {
    for project in projects() {
        send(stack, &push(&project, 1)).await;
    }
    for project in projects() {
        stored(stack, &project, 1, SOON).await;
    }
}

/// `LD_NOTIFY` holds that many, and all events are settled.
async fn wait_in_the_queue(stack: &Stack, wanted: u64) {
    let waiting = async || {
        let pending = stack.consumer().await?.cached_info().num_ack_pending;
        let found = stack.messages("LD_NOTIFY").await?;
        ensure!(pending == 0 && found == wanted, "{found} notifications wait, {pending} events are not settled");
        Ok(())
    };
    stack.eventually(&format!("{wanted} notifications wait"), SOON, waiting).await.unwrap();
}

/// Every queued notification is sent.
async fn all_notified(stack: &Stack) {
    stack.eventually("every notification is sent", LONG, async || stack.nothing_pending().await).await.unwrap();
}

/// How often LD Eval accepted something of each project.
fn accepted(notified: &[Notification]) -> BTreeMap<&str, usize> {
    let mut times = BTreeMap::new();
    for notified in notified.iter().filter(|notified| notified.answer < 300) {
        *times.entry(notified.text("prj")).or_default() += 1;
    }
    times
}

#[tokio::test]
async fn what_is_written_while_ld_eval_does_not_listen_is_notified_once_when_it_does() {
    let stack = Stack::start().await.unwrap();
    stack.eval.down();
    push_to_all(&stack).await;
    wait_in_the_queue(&stack, projects().len() as u64).await;
    let lines = complaints(&stack.worker().process);
    assert!(lines.len() <= 1, "an outage is one line an interval: {lines:#?}");
    is_healthy(&stack, stack.worker()).await.unwrap();
    stack.eval.up().unwrap();
    all_notified(&stack).await;
    let notified = stack.eval.received();
    let once: BTreeMap<_, _> = notified.iter().map(|notified| (notified.text("prj"), 1)).collect();
    assert_eq!(once.len(), projects().len());
    assert_eq!(accepted(&notified), once);
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn a_newer_notification_replaces_an_unsent_older_one_of_its_key_and_no_other() {
    let stack = Stack::start().await.unwrap();
    stack.eval.down();
    for n in 0..10 {
        send(&stack, &push("Team", n)).await;
        // One after the other: within a batch they would be one notification anyway.
        stored(&stack, "Team", n as usize + 1, SOON).await;
    }
    let model = push("Team", 10).quality_model("AMEP");
    send(&stack, &model).await;
    send(&stack, &push("Other", 11)).await;
    wait_in_the_queue(&stack, 3).await;
    stack.eval.up().unwrap();
    all_notified(&stack).await;
    let notified = stack.eval.received();
    assert_eq!(accepted(&notified), BTreeMap::from([("Team", 2), ("Other", 1)]));
    for wanted in [PUSHED, ("push", github::LOGIN, Some("AMEP"))] {
        stack.eval.has_accepted("Team", wanted).unwrap();
    }
}

#[tokio::test]
async fn an_ld_eval_in_trouble_is_asked_again_sparingly_until_it_accepts() {
    let stack = Stack::start().await.unwrap();
    for (n, status) in (0..).zip([500, 429, 408, 503]) {
        stack.eval.reply(Reply::Status(status));
        send(&stack, &push("Team", n)).await;
        let asked = async || match stack.eval.received().iter().any(|notified| notified.answer == status) {
            true => Ok(()),
            false => bail!("it has not been asked since"),
        };
        stack.eventually(&format!("LD Eval has answered {status}"), LONG, asked).await.unwrap();
    }
    push_to_all(&stack).await;
    // Each project is tried, because another one may fare better. Tried at 0, 1 and 3 s they would be 150 requests.
    let sparingly = async || {
        let asked = stack.eval.received().len();
        ensure!(asked < 2 * projects().len(), "LD Eval was asked {asked} times");
        Ok(())
    };
    throughout("LD Eval is asked sparingly", Duration::from_secs(4), &stack, sparingly).await.unwrap();
    let lines = complaints(&stack.worker().process);
    assert!(lines.len() <= 1, "an outage is one line an interval: {lines:#?}");
    stack.eval.reply(Reply::Accepted);
    all_notified(&stack).await;
    assert_eq!(accepted(&stack.eval.received()).len(), projects().len() + 1);
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0, "trouble is no refusal");
}

#[tokio::test]
async fn what_ld_eval_refuses_goes_to_the_dead_letters_and_is_not_asked_again() {
    let stack = Stack::start().await.unwrap();
    for (n, status) in (0..).zip([400, 404, 422]) {
        stack.eval.reply(Reply::Status(status));
        let project = format!("Refused{status}");
        send(&stack, &push(&project, n).quality_model("AMEP")).await;
        let dead_lettered = async || {
            let dead_letters = stack.dead_letters().await?;
            ensure!(dead_letters.len() as u64 == n + 1, "{} dead letters", dead_letters.len());
            Ok(dead_letters)
        };
        let dead_letters = stack.eventually("it is dead-lettered", SOON, dead_lettered).await.unwrap();
        let dead_letter = dead_letters.last().unwrap();
        let header = |name: &str| dead_letter.headers.get(name).map_or("", |value| value.as_str());
        assert_eq!(header("LD-Dead-Reason"), "eval_refused");
        assert!(header("LD-Dead-Error").contains(&status.to_string()), "{}", header("LD-Dead-Error"));
        assert!(header("LD-Dead-Subject").starts_with(&format!("{}.ld.notify.", stack.prefix)));
        let sent: Value = serde_json::from_slice(&dead_letter.payload).unwrap();
        let wanted =
            json!({ "event_type": "push", "prj": project, "author_login": github::LOGIN, "quality_model": "AMEP" });
        assert_eq!(sent, wanted);
    }
    stack.eval.reply(Reply::Accepted);
    send(&stack, &push("Fine", 9)).await;
    all_notified(&stack).await;
    let notified = stack.eval.received();
    assert_eq!(notified.len(), 4, "each was notified once: {notified:#?}");
    assert_eq!(accepted(&notified).keys().collect::<Vec<_>>(), [&"Fine"]);
}

#[tokio::test]
async fn a_slow_ld_eval_makes_no_write_wait() {
    let stack = Stack::start().await.unwrap();
    stack.eval.reply(Reply::After(Duration::from_secs(10)));
    push_to_all(&stack).await;
    // The stand-in records a notification when it answers it.
    assert!(stack.eval.received().is_empty(), "everything is written before the first answer");
    stack.eval.reply(Reply::Accepted);
    all_notified(&stack).await;
    assert_eq!(accepted(&stack.eval.received()).len(), projects().len());
}

#[tokio::test]
async fn a_worker_killed_between_queueing_and_sending_leaves_the_notification_to_the_next() {
    let stack = Stack::start().await.unwrap();
    stack.eval.down();
    send(&stack, &push("Team", 1)).await;
    wait_in_the_queue(&stack, 1).await;
    stack.worker().process.kill().unwrap();
    stack.eval.up().unwrap();
    stack.worker().start_again().await.unwrap();
    all_notified(&stack).await;
    stack.eval.has_accepted("Team", PUSHED).unwrap();
}

/// Makes `LD_NOTIFY` refuse (or take) messages: it takes none of more than that many bytes.
/// Lets another stream take the notifications' subjects and refuse what is published there. Limits of LD_NOTIFY itself
/// would be repaired.
async fn refuse_notifications(stack: &Stack) -> String {
    let jetstream = stack.jetstream().await.unwrap();
    let own = stack.stream("LD_NOTIFY").await.unwrap().cached_info().config.clone();
    let name = format!("{}_FULL", stack.prefix);
    let full = Config {
        name: name.clone(),
        subjects: own.subjects,
        max_messages: 1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    // A worker may make LD_NOTIFY again in between.
    let replaced = async || {
        jetstream.delete_stream(&own.name).await?;
        jetstream.create_stream(full.clone()).await?;
        Ok(())
    };
    stack.eventually("another stream takes the subjects", SOON, replaced).await.unwrap();
    jetstream.publish(format!("{}.ld.notify.x", stack.prefix), "".into()).await.unwrap().await.unwrap();
    name
}

#[tokio::test]
async fn a_worker_killed_between_writing_and_queueing_leaves_the_event_to_the_next() {
    let stack = Stack::start().await.unwrap();
    // From then on the worker has what it needs to take events.
    send(&stack, &push("Before", 1)).await;
    all_notified(&stack).await;
    stored(&stack, "Before", 1, SOON).await;
    let full = refuse_notifications(&stack).await;
    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    assert_eq!(stack.consumer().await.unwrap().cached_info().num_ack_pending, 1, "it must not be settled yet");
    stack.worker().process.kill().unwrap();
    stack.jetstream().await.unwrap().delete_stream(&full).await.unwrap();
    stack.worker().start_again().await.unwrap();
    all_notified(&stack).await;
    stack.eval.has_accepted("Team", PUSHED).unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

/// Less than a hanging request takes until it is given up.
const BEFORE_THE_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn twenty_projects_whose_notifications_hang_do_not_keep_others_from_being_notified() {
    let stack = Stack::start().await.unwrap();
    let hanging: Vec<String> = (0..20).map(|n| format!("Hangs{n}")).collect();
    for project in &hanging {
        stack.eval.reply_to(project, Reply::Never);
        // Several a project, so that they outnumber everything that is in flight at once.
        for model in 0..5 {
            send(&stack, &push(project, model).quality_model(&format!("m{model}"))).await;
        }
    }
    for round in 0..2 {
        for n in 0..5 {
            let project = format!("Fine{round}{n}");
            send(&stack, &push(&project, 1)).await;
            let notified = async || stack.eval.has_accepted(&project, PUSHED);
            stack.eventually("a project that does not hang is notified", BEFORE_THE_TIMEOUT, notified).await.unwrap();
        }
    }
    for project in &hanging {
        stack.eval.reply_to(project, Reply::Accepted);
    }
    for project in &hanging {
        let all = async || {
            let accepted = stack.eval.accepted(project).len();
            ensure!(accepted >= 5, "{accepted} of 5 notifications of {project}");
            Ok(())
        };
        stack.eventually("what hung is notified after all", LONG, all).await.unwrap();
    }
}

#[tokio::test]
async fn a_project_that_fails_delays_no_other() {
    let stack = Stack::start().await.unwrap();
    for n in 0..20 {
        let project = format!("Fails{n}");
        stack.eval.reply_to(&project, Reply::Status(500));
        send(&stack, &push(&project, 1)).await;
    }
    for n in 0..5 {
        let project = format!("Fine{n}");
        send(&stack, &push(&project, 1)).await;
        let notified = async || stack.eval.has_accepted(&project, PUSHED);
        stack.eventually("a project that does not fail is notified", BEFORE_THE_TIMEOUT, notified).await.unwrap();
    }
}

#[tokio::test]
async fn invented_quality_models_fill_no_queue_and_the_newest_of_each_type_is_notified() {
    // One batch at a time: those of two may be queued in either order.
    let stack = Stack::start_with(Options::default().env("WORKER_CONCURRENCY", "1")).await.unwrap();
    stack.eval.down();
    let invented = |n: u64| push("Team", n).quality_model(&format!("model{n}"));
    for n in 0..70 {
        send(&stack, &invented(n)).await;
    }
    stored(&stack, "Team", 70, LONG).await;
    // The next are one batch, in which `model149` is the newest and `model99` the last by its name, of a worker that knows
    // nothing of those before.
    assert!(stack.worker().process.stop(LONG).await.unwrap().success());
    for n in 70..150 {
        send(&stack, &invented(n)).await;
    }
    stack.worker().start_again().await.unwrap();
    stored(&stack, "Team", 150, LONG).await;
    let settled = async || {
        let pending = stack.consumer().await?.cached_info().num_ack_pending;
        ensure!(pending == 0, "{pending} events are not settled");
        Ok(())
    };
    stack.eventually("all events are settled", SOON, settled).await.unwrap();
    let waiting = stack.messages("LD_NOTIFY").await.unwrap();
    assert!((64..=80).contains(&waiting), "{waiting} notifications wait for one project");
    send(&stack, &push("Other", 1)).await;
    stack.eval.up().unwrap();
    all_notified(&stack).await;
    stack.eval.has_accepted("Team", ("push", github::LOGIN, Some("model149"))).unwrap();
    stack.eval.has_accepted("Other", PUSHED).unwrap();
}

#[tokio::test]
async fn a_login_larger_than_a_notification_may_be_is_cut_and_the_event_is_stored() {
    let stack = Stack::start().await.unwrap();
    let mut body = github::push(1, [github::commit(&github::sha(1), "x")]);
    body["sender"]["login"] = json!("l".repeat(1_300_000));
    send(&stack, &harness::sender::Delivery::github("push", &body)).await;
    send(&stack, &push("Team", 2)).await;
    stored(&stack, "Team", 2, SOON).await;
    all_notified(&stack).await;
    let authors: Vec<usize> = stack.eval.accepted("Team").iter().map(|one| one.text("author_login").len()).collect();
    assert!(authors.contains(&256), "{authors:?}");
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}
