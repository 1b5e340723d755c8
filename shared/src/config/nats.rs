//! NATS, and the limits of its streams.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use crate::ids::{InvalidName, Project};
use crate::redact;

/// How to reach NATS.
#[derive(Clone, Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// Addresses of the NATS server or cluster, separated by commas; tls:// for TLS, nats://user:password@host:4222 to
    /// log in.
    #[arg(long, env = "NATS_URL", default_value = "nats://localhost:4222", hide_env_values = true)]
    pub nats_url: String,
    /// Credentials file (JWT and nkey) for NATS.
    #[arg(long, env = "NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// PEM file of the certificate authority that signed the NATS server's certificate.
    #[arg(long, env = "NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// PEM file of the client certificate shown to NATS; needs NATS_KEY too.
    #[arg(long, env = "NATS_CERT", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    #[arg(long, env = "NATS_KEY", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// Prefix of all stream names and subjects, so that several installations share a server.
    #[arg(long, env = "NATS_PREFIX", value_parser = prefix)]
    pub nats_prefix: Option<String>,
}

/// Its address may hold a password, which is never shown.
impl fmt::Debug for NatsArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsArgs")
            .field("nats_url", &redact::without_passwords(&self.nats_url))
            .field("nats_creds", &self.nats_creds)
            .field("nats_ca", &self.nats_ca)
            .field("nats_cert", &self.nats_cert)
            .field("nats_key", &self.nats_key)
            .field("nats_prefix", &self.nats_prefix)
            .finish()
    }
}

fn prefix(s: &str) -> Result<String, InvalidName> {
    Project::new(s).map(|name| name.as_str().to_owned())
}

/// A majority of an even number survives no more failures than that of one fewer; NATS allows five at most.
fn replicas(text: &str) -> Result<usize, InvalidReplicas> {
    text.parse().ok().filter(|copies| matches!(copies, 1 | 3 | 5)).ok_or(InvalidReplicas)
}

/// `LD_REPLICAS` cannot work.
#[derive(Debug, thiserror::Error)]
#[error("write 1, 3 or 5: how many servers of the NATS cluster keep a copy")]
struct InvalidReplicas;

/// Limits of the streams. A running stream is only ever widened.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamArgs {
    /// How long events are kept for replay, such as 30d or 12h; 0s keeps them for ever.
    #[arg(long, env = "LD_EVENTS_MAX_AGE", default_value = "30d", value_parser = humantime::parse_duration)]
    pub ld_events_max_age: Duration,
    /// How many bytes of events are kept, such as 10GiB; 0 sets no limit.
    #[arg(long, env = "LD_EVENTS_MAX_BYTES", default_value = "10GiB")]
    pub ld_events_max_bytes: ByteSize,
    /// How many bytes of dead letters are kept, such as 1GiB; beyond that the oldest go. 0 sets no limit.
    #[arg(long, env = "LD_DEAD_MAX_BYTES", default_value = "1GiB")]
    pub ld_dead_max_bytes: ByteSize,
    /// Copies of each message in a NATS cluster: 1, 3 or 5.
    #[arg(long, env = "LD_REPLICAS", default_value_t = 1, value_parser = replicas)]
    pub ld_replicas: usize,
}

/// No limits, one copy.
impl Default for StreamArgs {
    fn default() -> Self {
        Self {
            ld_events_max_age: Duration::ZERO,
            ld_events_max_bytes: ByteSize(0),
            ld_dead_max_bytes: ByteSize(0),
            ld_replicas: 1,
        }
    }
}

impl StreamArgs {
    /// The limit of events as JetStream writes it: -1 for none.
    #[must_use]
    pub fn events_max_bytes(&self) -> i64 {
        limit(self.ld_events_max_bytes)
    }

    /// The limit of dead letters as JetStream writes it: -1 for none.
    #[must_use]
    pub fn dead_max_bytes(&self) -> i64 {
        limit(self.ld_dead_max_bytes)
    }
}

fn limit(bytes: ByteSize) -> i64 {
    match i64::try_from(bytes.as_u64()) {
        Ok(0) | Err(_) => -1,
        Ok(bytes) => bytes,
    }
}
