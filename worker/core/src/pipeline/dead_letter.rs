//! Dead letters: what could not be processed, with everything needed to try again.
//!
//! A message of `LD_DEAD` has the original bytes and our original headers, and beside them:
//!
//! ```text
//! LD-Dead-Reason    why, in a word: see [`Reason`](worker_event::reason::Reason)
//! LD-Dead-Error     what is wrong, for a person
//! LD-Dead-Subject   where the message was
//! LD-Dead-Sequence  its stream sequence there
//! LD-Dead-Attempts  how often it had been delivered
//! LD-Dead-First-At  when it was stored first
//! LD-Dead-At        when it was given up
//! LD-Dead-Msg-Id    its Nats-Msg-Id
//! LD-Dead-Truncated the payload's whole size in bytes, only where less of it is kept
//! LD-Redriven-From  which dead letter it was before a redrive
//! LD-Redriven-Attempts  how often it had been delivered before that
//! ```
//!
//! Of an unsigned event, which anybody can send, only the first [`UNSIGNED_BYTES`] of the payload are kept;
//! `LD_EVENTS` has the whole.
//!
//! `Nats-…` headers are instructions to the server and are not kept under their names: a `Nats-Batch-Id`
//! would make the letter part of a batch that ended long ago.

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use bytes::Bytes;
use shared::envelope::{header, header_safe};
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::time::{now_ms, rfc3339};
use shared::topology::{Topology, UNKNOWN};
use worker_event::reason::Reason;

/// What every header of a letter's own begins with.
pub const PREFIX: &str = "LD-Dead-";
/// Why it is dead, in a word.
pub const REASON: &str = "LD-Dead-Reason";
/// What is wrong, for a person.
pub const ERROR: &str = "LD-Dead-Error";
/// Where the message was.
pub const SUBJECT: &str = "LD-Dead-Subject";
/// Its stream sequence there.
pub const SEQUENCE: &str = "LD-Dead-Sequence";
/// How often it had been delivered.
pub const ATTEMPTS: &str = "LD-Dead-Attempts";
/// When it was stored first.
pub const FIRST_AT: &str = "LD-Dead-First-At";
/// When it was given up.
pub const AT: &str = "LD-Dead-At";
/// Its `Nats-Msg-Id`.
pub const MSG_ID: &str = "LD-Dead-Msg-Id";

/// The payload's whole size in bytes, on a dead letter that keeps only its beginning.
pub const TRUNCATED: &str = "LD-Dead-Truncated";
/// Which dead letter a message was before it was redriven.
pub const REDRIVEN_FROM: &str = "LD-Redriven-From";
/// How often a redriven message had been delivered before that.
pub const REDRIVEN_ATTEMPTS: &str = "LD-Redriven-Attempts";

/// How much of an unsigned event's payload is kept.
pub const UNSIGNED_BYTES: usize = 4 * 1024;

/// An error text longer than this is cut: headers are not the place for a payload.
const ERROR_CHARS: usize = 1_000;

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
    // What is kept of a part is plain.
    let is_kept = |name: &str| !name.starts_with("Nats-") && (beginning.is_none() || name != header::ENCODING);
    for (name, values) in originals.iter().filter(|(name, _)| is_kept(&name.to_string())) {
        for value in values {
            headers.append(name.clone(), value.clone());
        }
    }
    let error: String = error.chars().take(ERROR_CHARS).collect();
    headers.insert(REASON, reason.as_str());
    headers.insert(ERROR, header_safe(&error).as_ref());
    headers.insert(SUBJECT, message.subject.as_str());
    headers.insert(AT, rfc3339(now_ms()).as_str());
    if let Some(id) = originals.get(header::MSG_ID) {
        headers.insert(MSG_ID, id.as_str());
    }
    if let Ok(info) = message.info() {
        headers.insert(SEQUENCE, info.stream_sequence.to_string().as_str());
        let earlier = originals.get(REDRIVEN_ATTEMPTS).and_then(|count| count.as_str().parse::<i64>().ok());
        headers.insert(ATTEMPTS, info.delivered.saturating_add(earlier.unwrap_or(0)).to_string().as_str());
        let first_at = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        headers.insert(FIRST_AT, rfc3339(first_at).as_str());
        // A worker that dies between this letter and its ack buries the event again: the server drops that one.
        // The time tells it from an event at the same sequence of a stream that was deleted since.
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
