//! `worker replay`: interrupted and killed in the middle, and beside live traffic. How fast it is says `cargo perf drain`.

use anyhow::{Context as _, ensure};
use async_nats::jetstream::consumer::Info;
use bson::doc;
use futures::TryStreamExt as _;
use harness::process::Signal;
use harness::sender::github;
use harness::stack::{Options, Stack};
use serde_json::Value;
use shared::config::StreamArgs;
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::source::Source;
use shared::topology::Topology;

use crate::observe::{push, send, stored};
use crate::operators::commands::{command, done, process, settled};
use crate::{LONG, SOON};

/// Puts pushes of one commit each (numbers as in `observe::push`) into the stream, as ingress would.
pub(crate) async fn fill(stack: &Stack, numbers: std::ops::Range<u64>) {
    let topology = Topology::new(Some(&stack.prefix), StreamArgs::default());
    let project = Project::new("Team").unwrap();
    let outgoing = numbers.map(|n| {
        let envelope = Envelope {
            source: Source::Github,
            project: project.clone(),
            event: "push".to_owned(),
            delivery: harness::sender::delivery::guid(),
            quality_model: None,
            received_at: 1_795_455_723_511,
            traceparent: None,
            origin_sequence: None,
            read_at: None,
            payload: push("Team", n).json,
        };
        let (headers, payload) = envelope::encode(&envelope);
        Outgoing { subject: topology.event_subject(Source::Github, &project, "push"), headers, payload }
    });
    let publisher = Publisher::new(async_nats::connect(&stack.nats_url).await.unwrap());
    publisher.publish_all(outgoing.collect()).await.unwrap();
}

async fn commits(stack: &Stack) -> u64 {
    let all = stack.db().await.unwrap().collection::<bson::Document>("github_Team.commits");
    all.count_documents(doc! {}).await.unwrap()
}

/// The consumer of a replay under way.
async fn consumer(stack: &Stack) -> anyhow::Result<Info> {
    let stream = stack.stream("LD_EVENTS").await?;
    let all: Vec<Info> = stream.consumers().try_collect().await?;
    all.into_iter().find(|info| info.name.starts_with("ld-replay-")).context("no replay is under way")
}

fn json(line: &str) -> Value {
    serde_json::from_str(line.trim()).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[tokio::test]
async fn an_interrupted_replay_says_how_to_go_on_and_does_nothing_twice() {
    let stack = Stack::start().await.unwrap();
    fill(&stack, 0..3_000).await;
    settled(&stack).await;
    stack.db().await.unwrap().drop().await.unwrap();

    let args = ["replay", "--rate", "200", "--output", "json"];
    for (signal, first) in [(Signal::Interrupt, true), (Signal::Stop, false)] {
        let replay = process(&stack, &args);
        let begun = async || {
            let going_on = replay.log().lines().iter().any(|line| line.contains("going on with an interrupted replay"));
            ensure!(going_on || (first && commits(&stack).await > 0), "nothing is done yet");
            Ok(())
        };
        stack.eventually("the replay is under way", SOON, begun).await.unwrap();
        replay.signal(signal).unwrap();
        assert_eq!(replay.ended(SOON).await.unwrap().code(), Some(130), "{}", replay.log().tail());
        let said = replay.log().lines().join("\n");
        assert!(said.contains("the same command goes on where this one stopped"), "{said}");
        assert!(said.contains("replayed ") && said.contains(" a second"), "{said}");
    }
    let before = commits(&stack).await;
    assert!((1..3_000).contains(&before), "{before} commits are there");

    // A dry run does not lose the place.
    let would = json(&done(&stack, &["replay", "--dry-run", "--output", "json"]).await);
    assert_eq!((&would["would_process"], &would["goes_on"]), (&(3_000 - before).into(), &true.into()));
    let said = json(&done(&stack, &["replay", "--output", "json"]).await);
    assert_eq!(said["processed"], 3_000 - before, "{said}");
    assert_eq!(commits(&stack).await, 3_000);
    assert!(consumer(&stack).await.is_err(), "its place is not kept after the end");
}

#[tokio::test]
async fn a_replay_that_is_killed_is_gone_on_with_and_nothing_is_left_out() {
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    fill(&stack, 0..50).await;
    settled(&stack).await;
    stack.db().await.unwrap().drop().await.unwrap();
    // With MongoDB frozen the batch is in hand when the replay dies.
    let mongo = stack.mongo.as_ref().unwrap();
    mongo.process.freeze().unwrap();
    let replay = process(&stack, &["replay"]);
    let in_hand = async || {
        ensure!(consumer(&stack).await?.num_ack_pending == 50, "it has not taken them yet");
        Ok(())
    };
    stack.eventually("the events are in hand", SOON, in_hand).await.unwrap();
    replay.kill().unwrap();
    mongo.process.thaw().unwrap();
    // Live traffic comes behind the place where the replay ends, and must not be taken for its end.
    send(&stack, &push("Team", 50)).await;
    stored(&stack, "Team", 1, LONG).await;

    let said = json(&done(&stack, &["replay", "--output", "json"]).await);
    assert_eq!(said["interrupted"], false, "{said}");
    assert_eq!(commits(&stack).await, 51);
}

#[tokio::test]
async fn live_traffic_overtakes_a_replay() {
    let stack = Stack::start().await.unwrap();
    fill(&stack, 0..2_000).await;
    settled(&stack).await;
    let replay = process(&stack, &["replay", "--rate", "10"]);
    let begun = async || consumer(&stack).await.map(drop);
    stack.eventually("the replay is under way", SOON, begun).await.unwrap();
    for n in 1..=20 {
        send(&stack, &push("Live", n)).await;
        stored(&stack, "Live", usize::try_from(n).unwrap(), SOON).await;
    }
    let notified = async || stack.eval.has_accepted("Live", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified of it", SOON, notified).await.unwrap();
    // At 10 a second it takes 200 s: had they waited for it, it would be over.
    assert!(consumer(&stack).await.unwrap().num_pending > 0, "the replay should still be under way");
    replay.signal(Signal::Interrupt).unwrap();
    assert_eq!(replay.ended(SOON).await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn a_replay_ends_where_it_was_asked_to() {
    let stack = Stack::start().await.unwrap();
    fill(&stack, 0..10).await;
    settled(&stack).await;
    let would = async |args: &[&str]| {
        let all: Vec<&str> = ["replay", "--dry-run", "--output", "json"].iter().chain(args).copied().collect();
        json(&done(&stack, &all).await)["would_process"].as_u64().unwrap()
    };
    let first = stack.stream("LD_EVENTS").await.unwrap().cached_info().state.first_sequence;
    let from_third = format!("{}..{}", first + 2, first + 4);
    assert_eq!(would(&[]).await, 10);
    assert_eq!(would(&["--seq", &from_third]).await, 3);
    assert_eq!(would(&["--seq", &format!("..{}", first + 3)]).await, 4);
    assert_eq!(would(&["--seq", &format!("{}..", first + 8)]).await, 2);
    assert_eq!(would(&["--until", "1h"]).await, 0);
    assert_eq!(would(&["--since", "1h"]).await, 10);
    assert_eq!(would(&["--prj", "Nobody"]).await, 0);
    assert_eq!(would(&["--event", "issues"]).await, 0);
    // Run without the settings of the running processes, a command leaves the streams as they are.
    let ceiling = async || stack.stream("LD_EVENTS").await.unwrap().cached_info().config.max_bytes;
    let before = ceiling().await;
    assert_eq!(would(&["--ld-events-max-bytes", "20GiB"]).await, 10);
    assert_eq!(ceiling().await, before);

    stack.db().await.unwrap().drop().await.unwrap();
    let said = json(&done(&stack, &["replay", "--seq", &from_third, "--output", "json"]).await);
    assert_eq!((said["processed"].as_u64(), commits(&stack).await), (Some(3), 3));
    // Nothing to do is not an error.
    let said = command(&stack, &["replay", "--prj", "Nobody", "--output", "json"]).await;
    assert_eq!(said.status.code(), Some(0));
}
