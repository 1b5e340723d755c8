//! What is small in the stream and large in memory costs the worker no more than its bound.

use anyhow::{Context as _, ensure};
use harness::sender::taiga;
use serde_json::json;
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::source::Source;

use crate::observe::{push, send, stored};
use crate::{LONG, only_ingress};

/// The most memory that a debug build may ever have had, in KiB; without bounds it was 2 GiB. A release build has had
/// 218 MB with the payloads of `cargo perf large`.
const LIMIT: u64 = 330 * 1024;

/// As large as a body may be.
const LARGEST: usize = 25 * 1024 * 1024;

fn peak(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

#[tokio::test]
async fn four_hundred_megabytes_of_json_in_a_few_kilobytes_of_the_stream_take_less_than_330_mib() {
    const LARGE: i64 = 30;
    let mut stack = only_ingress().await;
    let jetstream = stack.jetstream().await.unwrap();
    for n in 0..LARGE {
        let mut issue = taiga::issue(n, "x");
        issue["description"] = json!("large ".repeat(12 * 1024 * 1024 / 6));
        let payload = taiga::event("issue", "create", "2026-11-23T17:42:03.511Z", issue).to_string();
        publish(&stack, &jetstream, "issue", payload).await;
    }
    // One that is refused, too large for MongoDB, as large as ingress accepts.
    let mut issue = taiga::issue(LARGE, "x");
    issue["description"] = json!("x".repeat(LARGEST - 10_000));
    publish(
        &stack,
        &jetstream,
        "issue",
        taiga::event("issue", "create", "2026-11-23T17:42:03.511Z", issue).to_string(),
    )
    .await;
    for n in 0..20 {
        send(&stack, &push("Team", n)).await;
    }
    let bytes = stack.stream("LD_EVENTS").await.unwrap().cached_info().state.bytes;
    assert!(bytes < 2 * 1024 * 1024, "the stream holds {bytes} bytes: this run proves nothing");
    stack.add_worker().await.unwrap();
    stored(&stack, "Team", 20, LONG).await;
    let settled = async || {
        let consumer = stack.consumer().await?;
        let info = consumer.cached_info();
        ensure!(info.num_pending == 0 && info.num_ack_pending == 0, "{} events are open", info.num_ack_pending);
        Ok(())
    };
    stack.eventually("all events are settled", LONG, settled).await.unwrap();
    let peak = peak(stack.worker().process.pid().unwrap()).unwrap();
    assert!(peak < LIMIT, "the worker has had {peak} KiB");
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 1);
}

/// As ingress would write it.
async fn publish(
    stack: &harness::stack::Stack,
    jetstream: &async_nats::jetstream::Context,
    event: &str,
    payload: String,
) {
    let envelope = Envelope {
        source: Source::Taiga,
        project: Project::new("Team").unwrap(),
        event: event.to_owned(),
        delivery: harness::sender::delivery::guid(),
        quality_model: None,
        received_at: 1_795_455_723_511,
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload: payload.into(),
    };
    let (headers, payload) = envelope::encode(&envelope);
    let subject = format!("{}.ld.events.taiga.Team.{event}", stack.prefix);
    jetstream.publish_with_headers(subject, headers, payload).await.unwrap().await.unwrap();
}
