//! A connection to NATS for a command, which fails fast.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use clap::Args;
use shared::config::{NatsArgs, StreamArgs};
use shared::topology::{EnsureError, StreamName, Topology};

use crate::terminal::CommandError;

/// How long a command waits for NATS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// How a command reaches the streams.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    streams: StreamArgs,
}

/// An open connection to the streams.
#[derive(Debug)]
pub struct Connection {
    /// For publishing.
    pub client: Client,
    /// For streams and consumers.
    pub jetstream: Context,
    /// Names.
    pub topology: Topology,
}

impl ConnectArgs {
    /// Connects, and creates streams that are missing. Existing streams are not changed: a command may be run without
    /// the settings of the running processes.
    ///
    /// # Errors
    /// When NATS does not answer in time; the message says what to check.
    pub async fn open(&self) -> Result<Connection, CommandError> {
        let connection = Connection::open(&self.nats, &self.streams, "worker-command").await?;
        let Connection { jetstream, topology, .. } = &connection;
        let ensured = async {
            for stream in StreamName::ALL {
                if jetstream.get_stream(topology.stream(stream)).await.is_err() {
                    return topology.repair(jetstream).await;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, ensured).await {
            // An existing stream can be read and purged, whatever else is wrong with it.
            Ok(Ok(()) | Err(EnsureError::Unfit(_))) => Ok(connection),
            Ok(Err(error)) => Err(CommandError::nats("The streams are not there", error)),
            Err(_) => Err(CommandError::nats("NATS", no_answer(CONNECT_TIMEOUT))),
        }
    }
}

impl Connection {
    /// Connects and creates nothing.
    ///
    /// # Errors
    /// When NATS cannot be reached now, or the settings cannot work.
    pub async fn open(nats: &NatsArgs, limits: &StreamArgs, name: &str) -> Result<Self, CommandError> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, shared::nats::connect_now(nats, name)).await;
        let client = match connected {
            Ok(Ok(client)) => client,
            // Its text names the setting.
            Ok(Err(error)) => return Err(CommandError::failed(error, "Nothing was done")),
            Err(_) => return Err(CommandError::nats("NATS", no_answer(CONNECT_TIMEOUT))),
        };
        let jetstream = shared::nats::jetstream(client.clone());
        let topology = Topology::new(nats.nats_prefix.as_deref(), *limits);
        Ok(Self { client, jetstream, topology })
    }

    /// One of the streams, as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stream(&self, stream: StreamName) -> Result<Stream, CommandError> {
        let name = self.topology.stream(stream);
        let found = self.jetstream.get_stream(&name).await;
        found.map_err(|error| CommandError::nats(format_args!("{name} cannot be read"), error))
    }
}

fn no_answer(after: Duration) -> String {
    format!("no answer within {} s", after.as_secs())
}

/// How many messages of a stream match a filter (all, when it is empty), from `from` on.
///
/// # Errors
/// When the stream does not answer.
pub async fn count(stream: &Stream, filter: &str, from: DeliverPolicy) -> Result<u64, CommandError> {
    // A consumer has this number without reading, however large the stream is.
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        deliver_policy: from,
        filter_subject: filter.to_owned(),
        inactive_threshold: Duration::from_secs(5),
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| {
        let of = if filter.is_empty() { &stream.cached_info().config.name } else { filter };
        CommandError::nats(format_args!("The messages of {of} cannot be counted"), error)
    })?;
    let info = consumer.cached_info();
    let waiting = info.num_pending;
    // The server removes it by itself if this fails.
    drop(stream.delete_consumer(&info.name).await);
    Ok(waiting)
}

/// Deletes one message; the server overwrites its bytes. `false` when it was gone already: processed, or deleted by
/// another process.
///
/// # Errors
/// When it is still there.
pub async fn delete(stream: &Stream, sequence: u64) -> Result<bool, CommandError> {
    let Err(error) = stream.delete_message(sequence).await else { return Ok(true) };
    match stream.get_raw_message(sequence).await {
        Err(gone) if matches!(gone.kind(), RawMessageErrorKind::NoMessageFound) => Ok(false),
        _ => {
            let name = &stream.cached_info().config.name;
            Err(CommandError::nats(format_args!("Message {sequence} of {name} cannot be deleted"), error))
        }
    }
}
