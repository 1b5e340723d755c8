//! Publishes the facts of this worker, for every worker's status page.

use std::sync::Arc;
use std::time::Duration;

use shared::facts::{FactPublisher, NotificationAccepted, NotificationFailed, TokenBudget};
use shared::ids::Project;
use shared::publish::Publisher;
use shared::time::now_ms;
use shared::topology::Topology;
use tokio_util::sync::CancellationToken;

use crate::tokens::CredentialId;

/// Queues facts for publishing. Cheap to clone; never waits.
#[derive(Debug, Clone, Default)]
pub struct Reporter(Option<Arc<(FactPublisher, Topology)>>);

impl Reporter {
    /// Publishes nothing until [`run`](Self::run) is called.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self(Some(Arc::new((FactPublisher::default(), topology))))
    }

    /// Publishes nothing: for commands and tests.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Publishes until `stop`.
    pub async fn run(self, publisher: Publisher, stop: CancellationToken) {
        if let Some(inner) = &self.0 {
            inner.0.run(publisher, stop).await;
        }
    }

    /// LD Eval accepted a notification; `team` when its project is one of the credentials file.
    pub fn notification_accepted(&self, prj: &str, event_type: &str, team: Option<&Project>) {
        let Some((facts, topology)) = self.0.as_deref() else { return };
        let fact = NotificationAccepted { at: now_ms(), prj: prj.to_owned(), event_type: event_type.to_owned() };
        facts.note(topology.notification_subject(true), &fact);
        if let Some(team) = team {
            facts.note(topology.notified_subject(team, event_type), &fact);
        }
    }

    /// LD Eval did not accept a notification.
    pub fn notification_failed(&self, error: &str) {
        let Some((facts, topology)) = self.0.as_deref() else { return };
        facts.note(topology.notification_subject(false), &NotificationFailed { at: now_ms(), error: error.to_owned() });
    }

    /// How many requests a token has left, and for how long it must not be used.
    pub fn token_budget(
        &self,
        provider: &str,
        credential: &CredentialId,
        remaining: Option<u64>,
        wait: Option<Duration>,
    ) {
        let Some((facts, topology)) = self.0.as_deref() else { return };
        let at = now_ms();
        let until = wait.map(|wait| at.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        let (provider, label) = (provider.to_owned(), credential.label.clone());
        let subject = topology.token_subject(&provider, &credential.id);
        facts.note(subject, &TokenBudget { at, provider, label, remaining, stopped_until: until });
    }
}
