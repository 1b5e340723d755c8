//! What each stream and consumer must be set to.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::{StreamName, Topology};

/// How long the server remembers a `Nats-Msg-Id`.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// The ack wait: how long a message may be in flight, without an acknowledgement or progress, before it is redelivered.
pub const ACK_WAIT: Duration = Duration::from_secs(20);

/// How long our commands pause consumers at most. A longer pause is foreign, and is lifted.
pub const PAUSE_MAX: Duration = ACK_WAIT.saturating_mul(8);

/// How many messages all workers together may have in flight.
pub(super) const MAX_ACK_PENDING: i64 = 50_000;

/// Limit of the facts for the pages; each has some 250 bytes.
const STATUS_MAX_BYTES: i64 = 16 * 1024 * 1024;

/// How long such a fact is kept.
const STATUS_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long a dead letter is kept.
const DEAD_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Limit of the beats: a month of them.
const BEATS_MAX_BYTES: i64 = 32 * 1024 * 1024;

/// How long a gap can be found in the beats.
const BEATS_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Limit of the state of reconciliation. The oldest is removed first, and read again from the provider.
const RECONCILE_MAX_BYTES: i64 = 64 * 1024 * 1024;

/// How long it is kept: pages hold personal data.
const RECONCILE_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// When a lease expires that its holder does not renew.
pub const LEASE: Duration = Duration::from_secs(30);

impl Topology {
    /// The configuration that a stream must have.
    pub(super) fn config(&self, stream: StreamName, atomic: bool) -> Config {
        let base = Config {
            name: self.stream(stream),
            subjects: vec![self.all_of(stream)],
            storage: StorageType::File,
            num_replicas: self.limits.ld_replicas,
            duplicate_window: DUPLICATE_WINDOW,
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_messages_per_subject: -1,
            allow_direct: true,
            allow_atomic_publish: atomic,
            ..Config::default()
        };
        let max_age = self.limits.ld_events_max_age;
        match stream {
            StreamName::Events => Config {
                description: Some("Webhooks as they came, kept for replay".into()),
                max_age,
                // The server refuses a window longer than the age.
                duplicate_window: if max_age.is_zero() { DUPLICATE_WINDOW } else { DUPLICATE_WINDOW.min(max_age) },
                max_bytes: self.limits.events_max_bytes(),
                ..base
            },
            // One message of each subject: a newer notification replaces an unsent older one.
            StreamName::Notify | StreamName::Enrich => Config {
                description: Some("Work that has not been done yet, one message a key".into()),
                retention: RetentionPolicy::WorkQueue,
                max_messages_per_subject: 1,
                discard: DiscardPolicy::Old,
                ..base
            },
            // An unauthenticated client can cause dead letters, so the stream is bounded.
            StreamName::Dead => Config {
                description: Some("What could not be processed; see `worker dead-letters`".into()),
                max_bytes: self.limits.dead_max_bytes(),
                max_age: DEAD_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Probe => Config {
                description: Some("The last readiness check of each process".into()),
                max_messages_per_subject: 1,
                max_age: Duration::from_secs(3600),
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Beats => Config {
                description: Some("That ingress could publish, and when it could not".into()),
                max_bytes: BEATS_MAX_BYTES,
                max_age: BEATS_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Reconcile => Config {
                description: Some("What reconciliation remembers, the newest a subject".into()),
                max_messages_per_subject: 1,
                max_bytes: RECONCILE_MAX_BYTES,
                max_age: RECONCILE_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Leases => Config {
                description: Some("Which worker does what only one may do".into()),
                max_messages_per_subject: 1,
                max_age: LEASE,
                // The server refuses a window longer than the age.
                duplicate_window: LEASE,
                discard: DiscardPolicy::Old,
                ..base
            },
            // An unauthenticated client can cause a message here, so the stream is bounded.
            StreamName::Status => Config {
                description: Some("For the pages, the newest fact a subject".into()),
                max_messages_per_subject: 1,
                max_bytes: STATUS_MAX_BYTES,
                max_age: STATUS_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
        }
    }

    /// The configuration that the consumer of all workers must have.
    pub(super) fn consumer_config(&self, stream: StreamName) -> pull::Config {
        pull::Config {
            durable_name: Some(self.durable(stream).to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        }
    }
}
