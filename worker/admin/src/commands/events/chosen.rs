//! Which deliveries, and where they are read.

use clap::builder::PossibleValue;
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

/// What became of a delivery, or that it was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateArg {
    Is(State),
    Replayed,
}

impl ValueEnum for StateArg {
    fn value_variants<'a>() -> &'a [Self] {
        const {
            &[
                Self::Is(State::Refused),
                Self::Is(State::Received),
                Self::Is(State::Stored),
                Self::Is(State::Notified),
                Self::Is(State::Enriched),
                Self::Is(State::Dead),
                Self::Replayed,
            ]
        }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Is(state) => state.to_possible_value(),
            Self::Replayed => {
                let help = "It was sent again by `worker dead-letters redrive` or from the status page";
                Some(PossibleValue::new("replayed").help(help))
            }
        }
    }
}

impl StateArg {
    pub(super) fn is(self, state: State, is_again: bool) -> bool {
        match self {
            // An event whose documents are enriched was notified before.
            Self::Is(State::Notified) => matches!(state, State::Notified | State::Enriched),
            Self::Is(wanted) => state == wanted,
            Self::Replayed => is_again,
        }
    }
}

pub(super) fn unreadable(error: Unreadable) -> CommandError {
    CommandError::nats("The deliveries cannot be read", error)
}
