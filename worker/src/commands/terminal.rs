//! What the commands share: exit codes, output, and a connection that fails fast.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use clap::{Args, ValueEnum};
use shared::config::{NatsArgs, StreamArgs};
use shared::topology::Topology;

/// How long a command waits for NATS: a person is watching.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a command ended. Wrong arguments end with 2, which is clap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed; standard error says what, and what to do.
    Failed = 1,
    /// Interrupted; the same command goes on where it stopped.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

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
    /// Connects and makes sure that the streams are there.
    ///
    /// # Errors
    /// When NATS does not answer in time; the message says what to check.
    pub async fn open(&self) -> Result<Connection, String> {
        let client = shared::nats::connect(&self.nats, "worker-command").await.map_err(|error| error.to_string())?;
        let jetstream = shared::nats::jetstream(client.clone());
        let topology = Topology::new(self.nats.nats_prefix.as_deref(), self.streams);
        match tokio::time::timeout(PATIENCE, topology.ensure(&jetstream)).await {
            Ok(Ok(())) => Ok(Connection { client, jetstream, topology }),
            Ok(Err(error)) => Err(format!("{error}; check NATS_URL and that JetStream is on")),
            Err(_) => Err(format!("NATS does not answer within {} s; check NATS_URL", PATIENCE.as_secs())),
        }
    }
}

/// Writes a line of the answer.
#[expect(clippy::print_stdout, reason = "a command answers on standard output")]
pub fn say(line: impl Display) {
    println!("{line}");
}

/// Writes a line beside the answer: progress, or what went wrong.
#[expect(clippy::print_stderr, reason = "a command speaks to the person who runs it on standard error")]
pub fn tell(line: impl Display) {
    eprintln!("{line}");
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
