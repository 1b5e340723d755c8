//! The settings of a run.

use std::time::Duration;

use serde::Serialize;

/// The settings of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// How many deliveries there are, forged ones among them.
    pub events: usize,
    /// Decides deliveries, disturbances and pauses.
    pub seed: u64,
    /// How long deliveries and disturbances go on.
    #[serde(serialize_with = "seconds")]
    pub sending: Duration,
    /// How long the whole may take.
    #[serde(serialize_with = "seconds")]
    pub limit: Duration,
    /// How many senders deliver side by side.
    pub senders: usize,
    /// How many workers share the events.
    pub workers: usize,
    /// Among how many ingresses a sender chooses.
    pub ingresses: usize,
    /// NATS is a cluster of three, and streams have three replicas; otherwise it is one server.
    pub cluster: bool,
    /// The shortest and the longest pause between two disturbances.
    #[serde(serialize_with = "pauses")]
    pub pauses: (Duration, Duration),
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn pauses<S: serde::Serializer>(times: &(Duration, Duration), serializer: S) -> Result<S::Ok, S::Error> {
    (times.0.as_secs_f64(), times.1.as_secs_f64()).serialize(serializer)
}
