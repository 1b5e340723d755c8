//! The connection to the database, with the concerns that every command needs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mongodb::options::{ClientOptions, ConnectionString, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};
use worker_event::effect::Kind;

use super::command;
use super::error::StoreError;
use super::index::Indexes;
use super::obstacles::Obstacles;
use super::seen::Seen;

/// `MONGO_URI` cannot be used. The driver's own text may quote a part of the address, which may be its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a mongodb:// or mongodb+srv:// address that the driver takes; look at its host, its options and the \
     files they name, and percent-encode what is special in user and password"
)]
pub struct UnusableUri;

impl UnusableUri {
    /// Checks an address without a request to the server.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn check(uri: &str) -> Result<(), Self> {
        ConnectionString::parse(uri).map(drop).map_err(|_| Self)
    }
}

/// The documents of all projects, in one database.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) db: Database,
    pub(super) indexes: Indexes,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    pub(super) seen: Seen,
    /// As far as is known. That it newly does is noticed at the next start.
    pub(super) takes_bulk_writes: Arc<AtomicBool>,
}

impl Store {
    /// Connects to `MONGO_URI`; the database is the one in its path, else `fallback_db`.
    ///
    /// Returns without a request to the server: the first command connects.
    ///
    /// # Errors
    /// When the URI cannot be used; the message says what to look at.
    pub async fn connect(uri: &str, fallback_db: &str) -> Result<Self, UnusableUri> {
        let mut options = ClientOptions::parse(uri).await.map_err(|_| UnusableUri)?;
        // Reads decide what is written, so they must see earlier writes, whatever `readPreference` the address has.
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        options.app_name.get_or_insert_with(|| "ld-connect-worker".to_owned());
        options.max_pool_size.get_or_insert(32);
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        let name = options.default_database.clone().unwrap_or_else(|| fallback_db.to_owned());
        let db = Client::with_options(options).map_err(|_| UnusableUri)?.database(&name);
        Ok(Self {
            db,
            indexes: Indexes::default(),
            turn: Arc::default(),
            seen: Seen::default(),
            takes_bulk_writes: Arc::new(AtomicBool::new(true)),
        })
    }

    /// The database, for commands that read.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Creates the unique index of a project's collection if it is missing.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn index(&self, kind: Kind, prj: &str) -> Result<(), StoreError> {
        self.indexes.ensure(&self.db, [(kind, prj)].into(), &Obstacles::default()).await
    }

    /// Verifies that a write is acknowledged by the majority and journalled.
    ///
    /// # Errors
    /// When it is not, within the time a command has.
    pub async fn probe(&self, who: &str) -> Result<(), StoreError> {
        command::probe(&self.db, who).await
    }
}
