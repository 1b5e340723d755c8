//! What ingress publishes in `LD_BEATS`, so that workers can find times in which webhooks may have been lost.
//!
//! ```text
//! ld.beats.ingress     {"at":1795455723511}                                      every 10 s, while ingress can publish
//! ld.beats.missed      {"from":1795455723511,"to":1795455763511,"count":12}      once it can again, of webhooks answered 503
//! ```
//!
//! A time without a beat is a gap, whatever the reason: ingress, NATS or their machine was down. With several replicas
//! of ingress, it is a time in which none of them published a beat.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often ingress publishes a beat.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// A longer time without a beat is a gap: one beat may be late.
pub const GAP: Duration = Duration::from_secs(20);

/// Ingress can publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// Webhooks were answered 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The first, in milliseconds since 1970.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// How many.
    pub count: u64,
}

impl Missed {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to), count: self.count + other.count }
    }
}
