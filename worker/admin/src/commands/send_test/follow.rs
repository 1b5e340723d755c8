//! Follows a delivery from station to station.

use std::fmt::Display;
use std::time::{Duration, Instant};

use serde_json::json;
use worker_core::deliveries::Reader;
use worker_core::deliveries::story::{Now, State, Story};

use super::options::Options;
use crate::terminal::{CommandError, Output, print, print_json};

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long the event stream is searched for the delivery.
const SEARCH: Duration = Duration::from_secs(10);

/// Says which station was reached, and after how long.
#[derive(Debug)]
pub(super) struct Report {
    began: Instant,
    output: Output,
}

impl Report {
    pub(super) fn new(output: Output) -> Self {
        Self { began: Instant::now(), output }
    }

    pub(super) fn station(&mut self, name: &str, found: impl Display) {
        let ms = self.began.elapsed().as_millis();
        match self.output {
            Output::Table => print(format_args!("{ms:>7} ms  {name:<14}  {found}")),
            Output::Json => print_json(&json!({ "station": name, "ms": ms as u64, "found": found.to_string() })),
        }
    }
}

/// Waits until LD Eval accepted the delivery's notification.
pub(super) async fn to_ld_eval(
    reader: &Reader,
    options: &Options,
    delivery: &str,
    deadline: Instant,
    report: &mut Report,
) -> Result<(), CommandError> {
    let mut reached = State::Refused;
    loop {
        let story = story(reader, options, delivery).await?;
        match &story {
            Some(story) if reached < State::Received => {
                report.station("in the stream", format_args!("as event {}", story.delivery.sequence));
                reached = State::Received;
            }
            _ => {}
        }
        if let Some(letter) = story.as_ref().and_then(|story| story.dead_letter.as_ref()) {
            return Err(CommandError::failed(
                format_args!("Stuck at the worker: dead letter {}, {}: {}", letter.id, letter.reason, letter.error),
                "`worker dead-letters show` has all of it",
            ));
        }
        if let Some(story) = story.as_ref().filter(|story| is_stored(story)) {
            if reached < State::Stored {
                let document = story.documents.first();
                let document = document.map(|document| format!("{}, {}", document.collection, document.key));
                report.station("stored", document.unwrap_or_default());
                reached = State::Stored;
            }
            if story.complete {
                let types: Vec<_> = story.notifications.iter().map(|notified| notified.event_type.as_str()).collect();
                report.station("LD Eval notified", types.join(", "));
                return Ok(());
            }
        }
        if Instant::now() > deadline {
            return Err(stuck(reached, options));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Its story, if it is in the stream.
pub(super) async fn story(reader: &Reader, options: &Options, delivery: &str) -> Result<Option<Story>, CommandError> {
    let unreadable = |error| CommandError::nats("The delivery cannot be read", error);
    let id = format!("{}:{}:{delivery}", options.source, options.prj);
    let found = reader.find(&id, SEARCH).await.map_err(unreadable)?;
    let Some(event) = found.events.into_iter().next_back() else { return Ok(None) };
    let outcomes = reader.outcomes(Some(&options.prj)).await.map_err(unreadable)?;
    reader.story(&outcomes, event, 1).await.map(Some).map_err(unreadable)
}

fn is_stored(story: &Story) -> bool {
    story.state > State::Received && story.documents.iter().any(|document| document.now == Some(Now::Ours))
}

fn stuck(reached: State, options: &Options) -> CommandError {
    let within = humantime::format_duration(options.timeout);
    let (what, advice) = match reached {
        State::Refused => (
            "ingress accepted it, and it is not in this LD_EVENTS",
            "Ingress uses another NATS, or another NATS_PREFIX, than this command: compare their `config check`",
        ),
        State::Received => (
            "it is in the stream, and not stored",
            "Is `worker run` up, and MongoDB? `worker doctor` says which; compare MONGO_URI and MONGO_DB with the worker's",
        ),
        _ => (
            "it is stored, and LD Eval has not accepted its notification",
            "Is LD Eval up, and EVAL_HOST and EVAL_PORT the worker's? Its notification waits and goes out by itself",
        ),
    };
    CommandError::failed(format_args!("Stuck after {within}: {what}"), advice)
}
