//! The beat: every 10 s ingress publishes a message while it can, and after an outage how many webhooks it answered
//! 503. The worker finds gaps in the beats, and reads from the providers what was lost.

use std::sync::Arc;

use async_nats::HeaderMap;
use serde::Serialize;
use shared::beat::{Beat, INTERVAL};
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::time::now_ms;
use shared::topology::Topology;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::publish::Signals;

/// The task that publishes beats.
#[derive(Debug)]
pub struct Heartbeat {
    /// For beats only, so that none is in a batch with events.
    publisher: Publisher,
    topology: Topology,
    signals: Arc<Signals>,
}

impl Heartbeat {
    /// Over an open client.
    #[must_use]
    pub const fn new(publisher: Publisher, topology: Topology, signals: Arc<Signals>) -> Self {
        Self { publisher, topology, signals }
    }

    /// Publishes beats until `stop`. While NATS is down, the missing beats are the gap.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.beat()).await {
                tracing::debug!(%error, "no beat: JetStream did not take it");
            }
        }
    }

    async fn beat(&self) -> Result<(), PublishError> {
        self.publish(self.topology.beat_subject(), &Beat { at: now_ms() }).await?;
        if let Some(missed) = self.signals.take_missed(INTERVAL)
            && let Err(error) = self.publish(self.topology.missed_subject(), &missed).await
        {
            self.signals.missed_again(missed);
            return Err(error);
        }
        Ok(())
    }

    async fn publish(&self, subject: String, what: &impl Serialize) -> Result<(), PublishError> {
        let payload = serde_json::to_vec(what).unwrap_or_default().into();
        self.publisher.publish(Outgoing { subject, headers: HeaderMap::new(), payload }).await.map(drop)
    }
}
