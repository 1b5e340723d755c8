//! Removes old dead letters, all with one request.

use std::time::Duration;

use async_nats::datetime;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use serde_json::json;

use crate::streams::{Scan, count};
use crate::terminal::{CommandError, Output, print, print_json};

pub(super) async fn run(
    stream: &Stream,
    subject: &str,
    older_than: Duration,
    yes: bool,
    output: Output,
) -> Result<(), CommandError> {
    let older_than = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
    let cutoff = shared::time::now_ms().saturating_sub(older_than);
    let before = shared::time::rfc3339(cutoff);
    let start = datetime::from_nanos(i128::from(cutoff) * 1_000_000);
    let younger = start.map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time });
    let all = count(stream, subject, DeliverPolicy::All).await?;
    let mut kept = Scan::open(stream, subject, younger, true).await?;
    let mut old = all.saturating_sub(kept.total());
    if yes && old > 0 {
        let first_kept = match kept.next().await?.first() {
            Some(letter) => letter.sequence,
            None => stream.cached_info().state.last_sequence + 1,
        };
        let purged = stream.purge().filter(subject).sequence(first_kept).await;
        old = purged.map_err(|error| CommandError::nats("The dead letters cannot be removed", error))?.purged;
    }
    match (output, yes) {
        (Output::Json, _) => print_json(&json!({ "dead_letters": old, "before": before, "removed": yes })),
        (Output::Table, true) => print(format_args!("dead letters given up before {before}, removed: {old}")),
        (Output::Table, false) => {
            print(format_args!("dead letters given up before {before}: {old}; add --yes to remove them"));
        }
    }
    Ok(())
}
