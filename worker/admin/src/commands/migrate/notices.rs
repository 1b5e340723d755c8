//! Notifies LD Eval of every type of a project whose documents were migrated: it recomputes only notified types.

use std::collections::BTreeSet;

use shared::config::CredentialsArgs;
use shared::credentials::{self, Handle};
use shared::ids::Project;
use tokio::sync::Mutex;
use worker_core::store::Store;
use worker_reconcile::parts::Parts;
use worker_reconcile::settle;

use crate::streams::ConnectArgs;
use crate::terminal::CommandError;

/// The projects of which LD Eval is to be notified.
#[derive(Debug)]
pub(super) struct Notices {
    parts: Parts,
    courses: Handle,
    owed: Mutex<BTreeSet<Project>>,
}

impl Notices {
    /// Connects to NATS, where notifications wait for LD Eval.
    pub(super) async fn open(
        credentials: &CredentialsArgs,
        connect: &ConnectArgs,
        store: &Store,
    ) -> Result<Self, CommandError> {
        let (courses, _) = credentials::open(&credentials.credentials_file).map_err(CommandError::usage)?;
        let connection = connect.open().await?;
        let parts = Parts::new(store.clone(), connection.client, connection.jetstream, connection.topology);
        Ok(Self { parts, courses, owed: Mutex::default() })
    }

    /// Before the first change to a project's documents. If this command dies, the next reconciliation notifies.
    pub(super) async fn owe(&self, prj: &str) -> Result<(), CommandError> {
        let Ok(prj) = Project::new(prj) else { return Ok(()) };
        let mut owed = self.owed.lock().await;
        if !owed.contains(&prj) {
            let model = self.parts.quality_model(&self.courses, &prj).await?;
            self.parts.owe_notifications(&prj, model.as_ref()).await?;
            owed.insert(prj);
        }
        Ok(())
    }

    /// Queues the notifications.
    pub(super) async fn send(&self) -> Result<(), CommandError> {
        for prj in self.owed.lock().await.iter() {
            settle::notify_at_once(&self.parts, prj).await?;
        }
        Ok(())
    }
}
