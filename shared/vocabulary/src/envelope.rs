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
    /// The quality model of the URL, which LD Eval is notified with.
    pub quality_model: Option<QualityModel>,
    /// When ingress had the whole request, in milliseconds since 1970.
    pub received_at: i64,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// The first stream sequence, on a message that was sent again.
    pub origin_sequence: Option<u64>,
    /// Nobody sent it: it was made of what the provider's API says, and is as of this, in milliseconds since 1970.
    pub read_at: Option<i64>,
    /// The JSON exactly as it was signed, never compressed here.
    pub payload: Bytes,
}

impl Envelope {
    /// The value of `Nats-Msg-Id`: `<source>:<prj>:<identity>`.
    #[must_use]
    pub fn msg_id(&self) -> String {
        format!("{}:{}:{}", self.source, self.project, self.delivery)
    }
}
