//! What the commands share: exit codes ([`exit`]), output, progress ([`progress`]), being interrupted
//! ([`interrupt`]), and a connection that fails fast.

pub mod exit;
pub mod interrupt;
pub mod progress;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use clap::{Args, ValueEnum};
use shared::config::{LogArgs, LogLevel, NatsArgs, StreamArgs};
use shared::topology::{StreamName, Topology};

pub use self::exit::Exit;
pub use self::interrupt::Interrupt;
pub use self::progress::Progress;

/// How long a command waits for NATS: a person is watching.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a command writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON object a line, for scripts.
    Json,
}

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
    /// Connects, and makes the streams where one is missing. Those that are there are left as they are: a command
    /// may be run without the settings of the running processes.
    ///
    /// # Errors
    /// When NATS does not answer in time; the message says what to check.
    pub async fn open(&self) -> Result<Connection, String> {
        let client =
            shared::nats::connect_now(&self.nats, "worker-command").await.map_err(|error| error.to_string())?;
        let jetstream = shared::nats::jetstream(client.clone());
        let topology = Topology::new(self.nats.nats_prefix.as_deref(), self.streams);
        let ensured = async {
            for stream in StreamName::ALL {
                if jetstream.get_stream(topology.stream(stream)).await.is_err() {
                    return topology.ensure(&jetstream).await;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(PATIENCE, ensured).await {
            Ok(Ok(())) => Ok(Connection { client, jetstream, topology }),
            Ok(Err(error)) => Err(format!("{error}; check NATS_URL and that JetStream is on")),
            Err(_) => Err(format!("NATS does not answer within {} s; check NATS_URL", PATIENCE.as_secs())),
        }
    }
}

impl Connection {
    /// One of the streams, as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stream(&self, stream: StreamName) -> Result<Stream, String> {
        let name = self.topology.stream(stream);
        self.jetstream
            .get_stream(&name)
            .await
            .map_err(|error| format!("{name} cannot be read: {error}; check NATS_URL"))
    }
}

/// How many messages of a stream match a filter (all, when it is empty), from somewhere on.
///
/// # Errors
/// When the stream cannot be asked.
pub async fn count(stream: &Stream, filter: &str, from: DeliverPolicy) -> Result<u64, String> {
    let failed = |error: &dyn Display| {
        let of = if filter.is_empty() { &stream.cached_info().config.name } else { filter };
        format!("the messages of {of} cannot be counted: {error}; check NATS_URL")
    };
    // A consumer that nobody reads knows the number at once, however large it is.
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        deliver_policy: from,
        filter_subject: filter.to_owned(),
        inactive_threshold: Duration::from_secs(5),
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
    let info = consumer.cached_info();
    let waiting = info.num_pending;
    // The server removes it by itself if this fails.
    drop(stream.delete_consumer(&info.name).await);
    Ok(waiting)
}

/// Deletes one message; the server overwrites its bytes. `false` when it was gone already: settled, or deleted
/// by somebody else.
///
/// # Errors
/// When it is still there.
pub async fn delete(stream: &Stream, sequence: u64) -> Result<bool, String> {
    let Err(error) = stream.delete_message(sequence).await else { return Ok(true) };
    match stream.get_raw_message(sequence).await {
        Err(gone) if matches!(gone.kind(), RawMessageErrorKind::NoMessageFound) => Ok(false),
        _ => Err(format!("message {sequence} of {} cannot be deleted: {error}", stream.cached_info().config.name)),
    }
}

/// Starts logging for a person who watches: what is normal is not told, unless more than the default is asked for.
pub fn init_logs(args: &LogArgs) {
    let log_level = if args.log_level == LogLevel::Info { LogLevel::Warn } else { args.log_level };
    shared::telemetry::init_logs(&LogArgs { log_level, ..args.clone() });
}

/// So many of something, as people say it.
///
/// ```
/// use worker_admin::terminal::counted;
///
/// assert_eq!(counted(1, "hook", "hooks"), "1 hook");
/// assert_eq!(counted(0, "delivery", "deliveries"), "0 deliveries");
/// ```
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Writes a line of the answer.
pub fn say(line: impl Display) {
    // A reader who has gone (`| head`) has seen enough; what was asked for is done all the same.
    progress::aside(|| drop(writeln!(std::io::stdout(), "{line}")));
}

/// Writes a line beside the answer: progress, or what went wrong.
pub fn tell(line: impl Display) {
    // Where nobody listens there is nobody to tell.
    progress::aside(|| drop(writeln!(std::io::stderr(), "{line}")));
}

/// Runs a command's body and turns an error into a line and an exit code.
pub async fn finish(body: impl Future<Output = Result<Exit, String>>) -> ExitCode {
    match body.await {
        Ok(exit) => exit.into(),
        Err(error) => {
            tell(format!("error: {error}"));
            Exit::Failed.into()
        }
    }
}
