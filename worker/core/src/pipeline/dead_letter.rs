//! Dead letters: messages that cannot be processed, with everything needed to try again.
//!
//! A message of `LD_DEAD` has the original bytes and our original headers, and beside them:
//!
//! ```text
//! LD-Dead-Reason    why, as one word: see [`Reason`](worker_event::reason::Reason)
//! LD-Dead-Error     what is wrong, for a person
//! LD-Dead-Subject   where the message was
//! LD-Dead-Sequence  its stream sequence there
//! LD-Dead-Attempts  how often it was delivered
//! LD-Dead-First-At  when it was published
//! LD-Dead-At        when it became a dead letter
//! LD-Dead-Msg-Id    its Nats-Msg-Id
//! LD-Dead-Truncated the size of the whole payload in bytes, only where less of it is kept
//! LD-Redriven-From  only where it was redriven before: its id, which it keeps
//! LD-Redriven-Attempts  how often it was delivered before that
//! ```
//!
//! Of an unsigned event, which anybody can send, only the first [`UNSIGNED_BYTES`] of the payload are kept. `LD_EVENTS`
//! has the whole.
//!
//! `Nats-…` headers are instructions to the server and are not kept under their names: a `Nats-Batch-Id` would make the
//! dead letter part of a batch that ended long ago. All header values are bounded, because senders write some of them.

use std::error::Error;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use bytes::Bytes;
use futures::TryStreamExt as _;
use shared::envelope::{header, header_safe};
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::time::{now_ms, rfc3339};
use shared::topology::{StreamName, Topology, UNKNOWN};
use worker_event::reason::Reason;

/// Prefix of the headers above.
pub const PREFIX: &str = "LD-Dead-";
pub const REASON: &str = "LD-Dead-Reason";
pub const ERROR: &str = "LD-Dead-Error";
pub const SUBJECT: &str = "LD-Dead-Subject";
pub const SEQUENCE: &str = "LD-Dead-Sequence";
pub const ATTEMPTS: &str = "LD-Dead-Attempts";
pub const FIRST_AT: &str = "LD-Dead-First-At";
pub const AT: &str = "LD-Dead-At";
pub const MSG_ID: &str = "LD-Dead-Msg-Id";
pub const TRUNCATED: &str = "LD-Dead-Truncated";
pub const REDRIVEN_FROM: &str = "LD-Redriven-From";
pub const REDRIVEN_ATTEMPTS: &str = "LD-Redriven-Attempts";

/// Bytes of an unsigned event's payload that are kept.
pub const UNSIGNED_BYTES: usize = 4 * 1024;

/// A longer error text is cut.
const ERROR_MAX: usize = 1_000;

/// A longer value of any other header is cut. Ingress and the worker write none.
const VALUE_MAX: usize = 4_000;

/// Further headers of the message are left out. Ingress writes some ten.
const HEADERS_MAX: usize = 64;

/// The id of a dead letter: its sequence in `LD_DEAD`, or the one it had when it died first.
#[must_use]
pub fn id(sequence: u64, headers: &HeaderMap) -> u64 {
    headers.get(REDRIVEN_FROM).and_then(|first| first.as_str().parse().ok()).unwrap_or(sequence)
}

/// How often a message was delivered, before its redrives too.
#[must_use]
pub fn attempts(message: &Message) -> i64 {
    let earlier = message.headers.as_ref().and_then(|headers| headers.get(REDRIVEN_ATTEMPTS));
    let earlier = earlier.and_then(|count| count.as_str().parse::<i64>().ok()).unwrap_or(0);
    message.info().map_or(1, |info| info.delivered).saturating_add(earlier)
}

/// Writes a dead letter and waits until it is durable.
///
/// # Errors
/// When it is not known to be stored; the message must then not be acknowledged.
pub async fn publish(
    publisher: &Publisher,
    topology: &Topology,
    message: &Message,
    reason: Reason,
    error: &str,
) -> Result<(), PublishError> {
    let originals = message.headers.clone().unwrap_or_default();
    let beginning = beginning(&originals, &message.payload);
    let mut headers = HeaderMap::new();
    // A part of a payload is kept uncompressed.
    let is_kept = |name: &str| !name.starts_with("Nats-") && (beginning.is_none() || name != header::ENCODING);
    let kept = originals.iter().filter(|(name, _)| is_kept(name.as_ref()));
    for (name, value) in kept.flat_map(|(name, values)| values.iter().map(move |value| (name, value))).take(HEADERS_MAX)
    {
        headers.append(name.clone(), cut(value.as_str(), VALUE_MAX));
    }
    headers.insert(REASON, reason.as_str());
    headers.insert(ERROR, cut(error, ERROR_MAX).as_str());
    headers.insert(SUBJECT, message.subject.as_str());
    headers.insert(AT, rfc3339(now_ms()).as_str());
    if let Some(id) = originals.get(header::MSG_ID) {
        headers.insert(MSG_ID, cut(id.as_str(), VALUE_MAX).as_str());
    }
    if let Ok(info) = message.info() {
        headers.insert(SEQUENCE, info.stream_sequence.to_string().as_str());
        headers.insert(ATTEMPTS, attempts(message).to_string().as_str());
        let first_at = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        headers.insert(FIRST_AT, rfc3339(first_at).as_str());
        // If the worker dies before it acknowledges the message, the same dead letter is written again, and the server
        // drops it. A stream that is created again has the same sequences again, at other times.
        let id = format!("{}:{}:{}", info.stream, info.stream_sequence, info.published.unix_timestamp_nanos());
        headers.insert(header::MSG_ID, id.as_str());
    }
    let named = |name, otherwise| originals.get(name).map_or(otherwise, |value| value.as_str());
    let token = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let safe = |text| if token(text) { text } else { UNKNOWN };
    let subject = topology.dead_subject(
        reason.as_str(),
        safe(named(header::SOURCE, UNKNOWN)),
        safe(named(header::PROJECT, UNKNOWN)),
        originals.get(header::UNSIGNED).is_none(),
    );
    let payload = match beginning {
        Some((payload, whole)) => {
            headers.insert(TRUNCATED, whole.to_string().as_str());
            payload
        }
        None => message.payload.clone(),
    };
    publisher.publish(Outgoing { subject, headers, payload }).await?;
    metrics::counter!("ldconnect_dead_letters_total", "reason" => reason.as_str()).increment(1);
    Ok(())
}

/// How many dead letters are of signed events, or of no event. Of the others there may be as many subjects as anyone
/// invents projects: they are what is left.
///
/// # Errors
/// When NATS does not answer.
pub async fn count_verified(stream: &Stream, topology: &Topology) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let mut count = 0;
    for filter in topology.dead_filters_verified() {
        let subjects: Vec<(String, usize)> = stream.info_with_subjects(filter).await?.try_collect().await?;
        count += subjects.iter().map(|(_, messages)| *messages as u64).sum::<u64>();
    }
    Ok(count)
}

/// A stored dead letter, without its payload.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub sequence: u64,
    /// In nanoseconds since 1970.
    pub stored_at: i128,
    pub headers: &'a HeaderMap,
}

impl<'a> From<&'a StreamMessage> for Identity<'a> {
    fn from(letter: &'a StreamMessage) -> Self {
        let stored_at = letter.time.unix_timestamp_nanos();
        Self { sequence: letter.sequence, stored_at, headers: &letter.headers }
    }
}

/// The message as it was before it became this dead letter, with where it comes from. Of an unsigned event `headers` and
/// `payload` are those of the whole event in `LD_EVENTS`.
#[must_use]
pub fn original(letter: Identity<'_>, headers: &HeaderMap, payload: Bytes) -> Outgoing {
    let text = |name| letter.headers.get(name).map_or("", |value| value.as_str());
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        let plain = name.to_string();
        if !plain.starts_with("Nats-") && !plain.starts_with(PREFIX) {
            values.iter().for_each(|value| kept.append(name.clone(), value.clone()));
        }
    }
    kept.insert(REDRIVEN_FROM, id(letter.sequence, letter.headers).to_string().as_str());
    kept.insert(REDRIVEN_ATTEMPTS, text(ATTEMPTS));
    if kept.get(header::SOURCE).is_some() {
        if kept.get(header::ORIGIN_SEQUENCE).is_none() {
            kept.insert(header::ORIGIN_SEQUENCE, text(SEQUENCE));
        }
        // Not the original id: within ten minutes the server would drop the message as a duplicate. This one makes a
        // repetition harmless. The time distinguishes it from a dead letter of the same number in a stream created again.
        kept.insert(header::MSG_ID, format!("redrive:{}:{}", letter.sequence, letter.stored_at).as_str());
    }
    Outgoing { subject: text(SUBJECT).to_owned(), headers: kept, payload }
}

/// The event that died; `None` when only its beginning is left.
pub async fn revive(jetstream: &Context, topology: &Topology, letter: &StreamMessage) -> Option<Outgoing> {
    if letter.headers.get(TRUNCATED).is_none() {
        return Some(original(letter.into(), &letter.headers, letter.payload.clone()));
    }
    let events = jetstream.get_stream(topology.stream(StreamName::Events)).await.ok()?;
    let sequence = letter.headers.get(SEQUENCE)?.as_str().parse().ok()?;
    let whole = events.get_raw_message(sequence).await.ok()?;
    // Of a stream that was created anew, another event has that sequence.
    let is_same = whole.headers.get(header::MSG_ID)? == letter.headers.get(MSG_ID)?;
    is_same.then(|| original(letter.into(), &whole.headers, whole.payload))
}

fn cut(text: &str, chars: usize) -> String {
    header_safe(&text.chars().take(chars).collect::<String>()).into_owned()
}

/// What is kept of an unsigned event, and how large the whole is; `None` where the whole is kept.
fn beginning(headers: &HeaderMap, payload: &Bytes) -> Option<(Bytes, usize)> {
    headers.get(header::UNSIGNED)?;
    let plain = shared::envelope::payload(headers, payload).unwrap_or_else(|_| payload.clone());
    (plain.len() > UNSIGNED_BYTES).then(|| (plain.slice(..UNSIGNED_BYTES), plain.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_large_unsigned_event_a_part_is_kept_and_it_is_plain() {
        let mut headers = HeaderMap::new();
        let large = Bytes::from("x".repeat(300 * 1024));
        assert_eq!(beginning(&headers, &large), None);
        headers.insert(header::UNSIGNED, "1");
        assert_eq!(beginning(&headers, &Bytes::from_static(b"{}")), None);
        let kept = Some((large.slice(..UNSIGNED_BYTES), large.len()));
        assert_eq!(beginning(&headers, &large), kept);
        headers.insert(header::ENCODING, "zstd");
        // A frame that cannot be read is kept as it is.
        assert_eq!(beginning(&headers, &large).map(|(_, whole)| whole), Some(large.len()));
    }
}
