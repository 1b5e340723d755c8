//! What becomes of a message.

use std::time::Duration;

/// How long to wait for an acknowledgement, and up to a second more. A caller with a shorter deadline applies it around
/// the call.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(8);

/// A successful publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored now.
    Stored,
    /// The stream already had a message with this `Nats-Msg-Id`.
    Duplicate,
}

/// Why a message is not known to be stored. It may be, when the acknowledgement was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No stream listens on the subject (or JetStream is off): it was deleted, or not yet created.
    #[error("no stream listens on the subject: JetStream is off or the stream was deleted")]
    NoStream,
    /// JetStream refused the message.
    #[error("JetStream refused the message: {description} ({code})")]
    Refused {
        /// JetStream's error code, such as 10077 (maximum bytes exceeded).
        code: u64,
        /// Its text.
        description: String,
    },
    /// The payload exceeds the server's `max_payload`.
    #[error("the message exceeds the NATS server's max_payload: raise it to 32MB as in nats/nats-server.conf")]
    TooLarge,
    /// Neither stored nor refused within the time.
    #[error("no acknowledgement within {} s: NATS is down, frozen or overloaded", ACK_TIMEOUT.as_secs())]
    Timeout,
    /// The client is closed or the answer is not one of JetStream's.
    #[error("the connection to NATS failed: {0}")]
    Connection(String),
}
