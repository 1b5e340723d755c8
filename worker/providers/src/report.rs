//! What only this worker knows, told to the status pages of all.

use std::sync::Arc;
use std::time::Duration;

use shared::facts::{FactPublisher, NotificationAccepted, NotificationFailed, TokenBudget};
use shared::publish::Publisher;
use shared::time::now_ms;
use shared::topology::Topology;
use tokio_util::sync::CancellationToken;

use crate::tokens::Payer;

/// Tells facts. Cheap to clone; never waits.
#[derive(Debug, Clone, Default)]
pub struct Teller(Option<Arc<(FactPublisher, Topology)>>);

impl Teller {
    /// A teller for an installation; somebody has to [`run`](Self::run) it.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self(Some(Arc::new((FactPublisher::default(), topology))))
    }

    /// One that tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells until `stop`.
    pub async fn run(self, publisher: Publisher, stop: CancellationToken) {
        if let Some(inner) = &self.0 {
            inner.0.run(publisher, stop).await;
        }
    }

    /// LD Eval took this notification.
    pub fn told(&self, prj: &str, event_type: &str) {
        let Some((herald, topology)) = self.0.as_deref() else { return };
        let (prj, event_type) = (prj.to_owned(), event_type.to_owned());
        herald.note(topology.notification_subject(true), &NotificationAccepted { at: now_ms(), prj, event_type });
    }

    /// LD Eval did not take one.
    pub fn untold(&self, error: &str) {
        let Some((herald, topology)) = self.0.as_deref() else { return };
        herald
            .note(topology.notification_subject(false), &NotificationFailed { at: now_ms(), error: error.to_owned() });
    }

    /// What is left of a token, and how long it rests.
    pub fn budget(&self, provider: &str, payer: &Payer, remaining: Option<u64>, wait: Option<Duration>) {
        let Some((herald, topology)) = self.0.as_deref() else { return };
        let at = now_ms();
        let until = wait.map(|wait| at.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        let (provider, label) = (provider.to_owned(), payer.label.clone());
        let subject = topology.token_subject(&provider, &payer.id);
        herald.note(subject, &TokenBudget { at, provider, label, remaining, stopped_until: until });
    }
}
