//! One webhook delivery, from ingress to the dead letter.

use bytes::Bytes;

use crate::ids::{Project, QualityModel};
use crate::source::Source;

/// One webhook delivery: what the headers say, and the sender's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's kind.
    pub source: Source,
    /// The project that it belongs to.
    pub project: Project,
    /// The kind of event, as in the subject: `push`, `userstory`, …
    pub event: String,
    /// Identity of the delivery: the same for a redelivery or a resend.
    pub delivery: String,
    /// The quality model of the URL, for LD Eval's notification.
    pub quality_model: Option<QualityModel>,
    /// When ingress had the whole request, in milliseconds since 1970.
    pub received_at: i64,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// The first stream sequence, on a message that was sent again.
    pub origin_sequence: Option<u64>,
    /// Read from a provider's API at this time, in milliseconds since 1970; nobody sent it.
    pub read_at: Option<i64>,
    /// The JSON exactly as it was signed, never compressed here.
    pub payload: Bytes,
}

impl Envelope {
    /// The value of `Nats-Msg-Id`: `<source>:<prj>:<identity>`.
    #[must_use]
    pub fn msg_id(&self) -> String {
        [self.source.as_str(), self.project.as_str(), &self.delivery].join(":")
    }
}
