//! Which deliveries, and where they are read.

use clap::{Args, ValueEnum};
use shared::ids::Project;
use shared::source::Source;
use worker_core::config::MongoArgs;
use worker_core::deliveries::story::State;
use worker_core::deliveries::{Reader, Unreadable};

use crate::streams::{ConnectArgs, Connection};
use crate::terminal::CommandError;

/// Of whom.
#[derive(Debug, Clone, Args)]
pub(super) struct Of {
    /// Only of this project.
    #[arg(long)]
    pub(super) prj: Option<Project>,
    /// Only of github, taiga or excel.
    #[arg(long)]
    pub(super) source: Option<Source>,
    /// Only of this kind, such as push or task. Of a refused delivery the kind is not known.
    #[arg(long)]
    pub(super) event: Option<String>,
}

/// Where deliveries are read.
#[derive(Debug, Clone, Args)]
pub(super) struct From {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
}

impl From {
    pub(super) async fn open(&self) -> Result<(Reader, Connection), CommandError> {
        let connection = self.connect.open().await?;
        let store = self.mongo.open().await.map_err(CommandError::usage)?;
        let reader = Reader::new(connection.jetstream.clone(), connection.topology.clone(), store);
        Ok((reader, connection))
    }
}

/// What became of a delivery, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StateArg {
    /// Not accepted.
    Refused,
    /// Durable, and not processed yet.
    Received,
    /// Its documents are written, and LD Eval has not accepted its notification (or there is none).
    Stored,
    /// LD Eval accepted its notification.
    Told,
    /// The same, and its documents have what look-ups bring.
    Enriched,
    /// It is a dead letter.
    Dead,
    /// It was sent again by `worker dead-letters redrive` or from the status page.
    Replayed,
}

impl StateArg {
    pub(super) fn is(self, state: State, is_again: bool) -> bool {
        match self {
            Self::Refused => state == State::Refused,
            Self::Received => state == State::Received,
            Self::Stored => state == State::Stored,
            // An event whose documents are enriched was told before.
            Self::Told => matches!(state, State::Told | State::Enriched),
            Self::Enriched => state == State::Enriched,
            Self::Dead => state == State::Dead,
            Self::Replayed => is_again,
        }
    }
}

pub(super) fn unreadable(error: Unreadable) -> CommandError {
    CommandError::nats("The deliveries cannot be read", error)
}
