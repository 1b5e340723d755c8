//! The connection to NATS: made at once or later, kept for ever, quiet about outages.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};

use crate::config::NatsArgs;
use crate::retry::Policy;

/// Reconnects are spread so that a restarted server is not hit by every process in the same instant.
const RECONNECT: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(2));

/// Why no client could be made. An unreachable server is not among the reasons: the client keeps trying.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `NATS_URL` cannot be read.
    #[error("NATS_URL is not a list of nats:// or tls:// addresses: {0}")]
    Url(String),
    /// `NATS_CREDS` cannot be read.
    #[error("NATS_CREDS: cannot read {path}: {error}")]
    Creds {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The client refused its options.
    #[error("cannot set up the NATS client: {0}")]
    Setup(#[from] async_nats::ConnectError),
}

/// Connects to `NATS_URL` (several addresses are separated by commas) and keeps the connection.
///
/// Returns at once even when no server answers; requests then fail until one does.
///
/// # Errors
/// When the settings cannot work; see [`ConnectError`].
pub async fn connect(args: &NatsArgs, name: &str) -> Result<Client, ConnectError> {
    let addrs = args
        .nats_url
        .split(',')
        .map(|url| url.trim().parse::<ServerAddr>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ConnectError::Url(error.to_string()))?;
    let mut options = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(Duration::from_secs(3))
        // A frozen server or a dead route is noticed within two of these.
        .ping_interval(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(5)))
        .reconnect_delay_callback(|attempt| RECONNECT.delay_for(u32::try_from(attempt).unwrap_or(u32::MAX)))
        .event_callback(log_event);
    if let Some(path) = &args.nats_creds {
        options =
            options.credentials_file(path).await.map_err(|error| ConnectError::Creds { path: path.clone(), error })?;
    }
    if let Some(path) = &args.nats_ca {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&args.nats_cert, &args.nats_key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options.connect(addrs).await?)
}

/// The JetStream context of a client, with a limit on how long an API call waits.
#[must_use]
pub fn jetstream(client: Client) -> Context {
    jetstream::ContextBuilder::new().timeout(Duration::from_secs(5)).build(client)
}

async fn log_event(event: Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("lost the connection to NATS; reconnecting"),
        Event::SlowConsumer(_) => {
            tracing::warn!("NATS: this process reads more slowly than messages come")
        }
        Event::ServerError(error) => tracing::warn!(%error, "NATS: the server reported an error"),
        // Every failed attempt to reconnect is one of these; the disconnect has been told.
        Event::ClientError(error) => tracing::debug!(%error, "NATS: client error"),
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(%event, "NATS: connection event")
        }
    }
}
