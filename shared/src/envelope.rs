//! The envelope: one webhook on its way through JetStream. This page is the wire format.
//!
//! A message of `LD_EVENTS` is the sender's bytes, unchanged, plus these headers:
//!
//! ```text
//! subject           ld.events.taiga.TeamA.userstory
//! Nats-Msg-Id       taiga:TeamA:<identity>          the server drops a second one for 10 minutes
//! LD-Version        1
//! LD-Source         taiga
//! LD-Project        TeamA
//! LD-Event          userstory
//! LD-Delivery       4f0c…                           identity of the delivery, also in the HTTP answer
//! LD-Received-At    2026-11-23T17:42:03.511Z
//! LD-Quality-Model  AMEP                            only when the URL had one
//! traceparent       00-…                            only when the request had one
//! LD-Origin-Sequence 4711                           only on a message that was sent again
//! LD-Unsigned       1                               only on an event that was accepted without a signature
//! LD-Backfill       2026-11-23T17:42:03.511Z        only on an event that was read from a provider's API: when it was
//! read
//! Content-Encoding  zstd                            only when the payload is compressed
//! LD-Length         31457                           bytes of the payload before compression
//!
//! <the JSON exactly as it was signed; of a backfill, JSON in the shape of the webhook>
//! ```
//!
//! Payloads over [`COMPRESS_OVER`] bytes are zstd frames. Because bytes never change between HTTP and
//! the dead letters, a replay or a redrive is exact.

use std::borrow::Cow;
use std::io::Read as _;

use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;

use vocabulary::ids::InvalidName;

pub use vocabulary::envelope::Envelope;

/// A larger payload travels compressed, in bytes.
pub const COMPRESS_OVER: usize = 256 * 1024;

/// The largest payload of any source, in bytes; a body may be limited further (see [`Source::description`](crate::source::Source::description)).
pub const MAX_PAYLOAD: usize = 25 * 1024 * 1024;

/// The version that is written. A reader refuses every other version.
const VERSION: &str = "1";

/// Header names. `traceparent` is the W3C's, `Content-Encoding` is HTTP's, the rest are ours.
pub mod header {
    /// The server deduplicates by it.
    pub const MSG_ID: &str = "Nats-Msg-Id";
    /// The format's version.
    pub const VERSION: &str = "LD-Version";
    /// `github`, `taiga` or `excel`.
    pub const SOURCE: &str = "LD-Source";
    /// The project's id.
    pub const PROJECT: &str = "LD-Project";
    /// The event's kind, such as `push`.
    pub const EVENT: &str = "LD-Event";
    /// The delivery's identity.
    pub const DELIVERY: &str = "LD-Delivery";
    /// When ingress had the whole request; RFC 3339, UTC, milliseconds.
    pub const RECEIVED_AT: &str = "LD-Received-At";
    /// The quality model of the URL.
    pub const QUALITY_MODEL: &str = "LD-Quality-Model";
    /// The stream sequence under which a message that is sent again was first stored.
    pub const ORIGIN_SEQUENCE: &str = "LD-Origin-Sequence";
    /// Present on an event that was accepted without a signature: `1`. The name of its project can be invented.
    pub const UNSIGNED: &str = "LD-Unsigned";
    /// Present on an event that was read from a provider's API: when; RFC 3339, UTC, milliseconds.
    pub const BACKFILL: &str = "LD-Backfill";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// `zstd` when the payload is compressed.
    pub const ENCODING: &str = "Content-Encoding";
    /// The size of the payload before compression, in bytes.
    pub const LENGTH: &str = "LD-Length";
}

/// A payload as it is published.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The sender's bytes, or a zstd frame of them.
    pub bytes: Bytes,
    is_compressed: bool,
    /// The sender's bytes.
    length: usize,
}

/// Why a message of the stream is not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A header that every envelope has is missing.
    #[error("header {0} is missing: the message was not written by ingress or its headers were dropped")]
    Missing(&'static str),
    /// The format is newer (or older) than this program.
    #[error("LD-Version is not {VERSION}: run a worker at least as new as the ingress that wrote it")]
    Version,
    /// A header's value is outside its alphabet.
    #[error("header {name}: {error}")]
    Name {
        /// Which header.
        name: &'static str,
        /// What is allowed.
        error: InvalidName,
    },
    /// `LD-Received-At` or `LD-Origin-Sequence` cannot be read.
    #[error("header {0} cannot be read")]
    Unreadable(&'static str),
    /// `Content-Encoding` names something else than zstd.
    #[error("Content-Encoding is not zstd, the only one that ingress writes")]
    Encoding,
    /// The zstd frame is damaged or would exceed [`MAX_PAYLOAD`].
    #[error("the zstd payload cannot be decompressed: {0}")]
    Compression(std::io::Error),
}

/// Headers and payload as they are published; compresses a large payload.
#[must_use]
pub fn encode(envelope: &Envelope) -> (HeaderMap, Bytes) {
    let payload = pack(envelope);
    (self::headers(envelope, &payload), payload.bytes)
}

/// The payload as it is published: compressed, if it is large.
#[must_use]
pub fn pack(envelope: &Envelope) -> Packed {
    let (plain, length) = (&envelope.payload, envelope.payload.len());
    // Level 1: compression is for the server's limit and the disk, and the sender is waiting.
    match (length > COMPRESS_OVER).then(|| zstd::bulk::compress(plain, 1)) {
        // Without the rest of its buffer, which is as large as the payload: many messages may wait for NATS.
        Some(Ok(small)) => Packed { bytes: small.into_boxed_slice().into(), is_compressed: true, length },
        _ => Packed { bytes: plain.clone(), is_compressed: false, length },
    }
}

/// A header's name as a constant: a text would be checked and copied for each message.
macro_rules! name {
    ($name:path) => {
        const { HeaderName::from_static($name) }
    };
}

/// The headers of a message with this payload, which [`pack`] made of the envelope's.
#[must_use]
pub fn headers(envelope: &Envelope, payload: &Packed) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name!(header::MSG_ID), envelope.msg_id());
    headers.insert(name!(header::VERSION), VERSION);
    headers.insert(name!(header::SOURCE), envelope.source.as_str());
    headers.insert(name!(header::PROJECT), envelope.project.as_str());
    headers.insert(name!(header::EVENT), envelope.event.as_str());
    headers.insert(name!(header::DELIVERY), envelope.delivery.as_str());
    headers.insert(name!(header::RECEIVED_AT), vocabulary::time::rfc3339(envelope.received_at));
    if let Some(model) = &envelope.quality_model {
        headers.insert(name!(header::QUALITY_MODEL), model.as_str());
    }
    if let Some(trace) = &envelope.traceparent {
        headers.insert(name!(header::TRACEPARENT), trace.as_str());
    }
    if let Some(sequence) = envelope.origin_sequence {
        headers.insert(name!(header::ORIGIN_SEQUENCE), sequence.to_string());
    }
    if let Some(at) = envelope.read_at {
        headers.insert(name!(header::BACKFILL), vocabulary::time::rfc3339(at));
    }
    headers.insert(name!(header::LENGTH), payload.length.to_string());
    if payload.is_compressed {
        headers.insert(name!(header::ENCODING), "zstd");
    }
    headers
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When the message is not one that ingress wrote; see [`DecodeError`].
pub fn decode(headers: &HeaderMap, payload: &Bytes) -> Result<Envelope, DecodeError> {
    let optional = |name| headers.get(name).map(|value| value.as_str());
    macro_rules! required {
        ($name:path) => {
            optional(name!($name)).ok_or(DecodeError::Missing($name))?
        };
    }
    let named = |name: &'static str| move |error| DecodeError::Name { name, error };
    if required!(header::VERSION) != VERSION {
        return Err(DecodeError::Version);
    }
    let received_at = vocabulary::time::parse_instant(required!(header::RECEIVED_AT))
        .ok_or(DecodeError::Unreadable(header::RECEIVED_AT))?;
    let origin_sequence = optional(name!(header::ORIGIN_SEQUENCE))
        .map(|text| text.parse().map_err(|_| DecodeError::Unreadable(header::ORIGIN_SEQUENCE)))
        .transpose()?;
    let payload = self::payload(headers, payload)?;
    Ok(Envelope {
        source: required!(header::SOURCE).parse().map_err(named(header::SOURCE))?,
        project: required!(header::PROJECT).parse().map_err(named(header::PROJECT))?,
        event: required!(header::EVENT).to_owned(),
        delivery: required!(header::DELIVERY).to_owned(),
        quality_model: optional(name!(header::QUALITY_MODEL))
            .map(|model| model.parse().map_err(named(header::QUALITY_MODEL)))
            .transpose()?,
        received_at,
        traceparent: optional(name!(header::TRACEPARENT)).map(str::to_owned),
        origin_sequence,
        // Earlier versions wrote `1`: they published a moment after the reading.
        read_at: optional(name!(header::BACKFILL))
            .map(|text| vocabulary::time::parse_instant(text).unwrap_or(received_at)),
        payload,
    })
}

/// The sender's bytes of a message that [`encode`] made.
///
/// # Errors
/// When the payload is compressed and cannot be decompressed.
pub fn payload(headers: &HeaderMap, payload: &Bytes) -> Result<Bytes, DecodeError> {
    match headers.get(name!(header::ENCODING)).map(|value| value.as_str()) {
        None => Ok(payload.clone()),
        Some("zstd") => decompress(payload).map_err(DecodeError::Compression),
        Some(_) => Err(DecodeError::Encoding),
    }
}

/// The size of a message's payload after decompression, in bytes, without decompressing it.
///
/// It comes from [`header::LENGTH`]; of a message without that header, from its zstd frame; of a frame that does not say
/// it, by the ratio of JSON that compresses well. It is never more than a payload may have.
#[must_use]
pub fn plain_size(headers: &HeaderMap, payload: &[u8]) -> usize {
    /// zstd rarely makes large JSON smaller than this.
    const RATIO: usize = 14;
    if let Some(length) = headers.get(name!(header::LENGTH)).and_then(|value| value.as_str().parse::<usize>().ok()) {
        return length.clamp(payload.len(), MAX_PAYLOAD.max(payload.len()));
    }
    if headers.get(name!(header::ENCODING)).is_none() {
        return payload.len();
    }
    let framed = zstd::zstd_safe::get_frame_content_size(payload).ok().flatten();
    let size = framed.and_then(|size| usize::try_from(size).ok()).unwrap_or(payload.len().saturating_mul(RATIO));
    size.min(MAX_PAYLOAD)
}

/// Decompresses at most [`MAX_PAYLOAD`] bytes, whatever the frame claims.
fn decompress(frame: &[u8]) -> std::io::Result<Bytes> {
    let size =
        zstd::zstd_safe::get_frame_content_size(frame).ok().flatten().and_then(|size| usize::try_from(size).ok());
    // Room for one byte more, so that reading to the end does not double it.
    let mut out = Vec::with_capacity(size.unwrap_or(0).min(MAX_PAYLOAD) + 1);
    let read = zstd::stream::read::Decoder::new(frame)?.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut out)?;
    if read > MAX_PAYLOAD {
        return Err(std::io::Error::other("it is larger than the 25 MiB that ingress accepts"));
    }
    Ok(out.into())
}

/// Makes any text safe as one header value: what a header cannot carry becomes `?`.
#[must_use]
pub fn header_safe(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c == '\r' || c == '\n' || c == '\0';
    if text.contains(bad) { Cow::Owned(text.replace(bad, "?")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
