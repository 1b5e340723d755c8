//! A delivery, as its headers describe it.

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use serde::Serialize;
use shared::envelope::header;
use shared::ids::Project;
use shared::source::Source;
use shared::time::parse_instant;
use shared::topology::{StreamName, Topology};

/// Its size, which the server writes where only headers are asked for.
const SIZE: &str = "Nats-Msg-Size";

/// An event of the event stream. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its stream sequence.
    pub sequence: u64,
    pub received_at: i64,
    pub source: Source,
    pub prj: Project,
    /// Its kind, such as `push`.
    pub event: String,
    /// The delivery's identity, which GitHub shows, too; empty where a message was not written by ingress.
    pub id: String,
    pub quality_model: Option<String>,
    /// Bytes of the payload before compression.
    pub bytes: u64,
    pub is_signed: bool,
    /// The sequence of the event of which this is a repetition (a redrive).
    pub again_of: Option<u64>,
    /// Nobody sent it: it was read from a provider's API, as of this time.
    pub read_at: Option<i64>,
}

impl Delivery {
    /// Of a message of the event stream, with or without its payload. `None` of what has no subject of ours.
    #[must_use]
    pub fn of(topology: &Topology, message: &Message) -> Option<Self> {
        let info = message.info().ok()?;
        let [source, prj, event] = topology.words(StreamName::Events, message.subject.as_str())[..] else {
            return None;
        };
        let nothing = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&nothing);
        let text = |name| headers.get(name).map(|value| value.as_str());
        let number = |name| text(name).and_then(|text| text.parse::<u64>().ok());
        let published = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Some(Self {
            sequence: info.stream_sequence,
            received_at: text(header::RECEIVED_AT).and_then(parse_instant).unwrap_or(published),
            source: source.parse().ok()?,
            prj: Project::new(prj).ok()?,
            event: event.to_owned(),
            id: text(header::DELIVERY).unwrap_or_default().to_owned(),
            quality_model: text(header::QUALITY_MODEL).map(str::to_owned),
            bytes: number(header::LENGTH).or_else(|| number(SIZE)).unwrap_or(message.payload.len() as u64),
            is_signed: text(header::UNSIGNED).is_none(),
            again_of: number(header::ORIGIN_SEQUENCE),
            read_at: text(header::BACKFILL).and_then(parse_instant),
        })
    }
}
