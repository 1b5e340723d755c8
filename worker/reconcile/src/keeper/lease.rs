//! One worker at a time: a message in `LD_LEASES`, written by compare-and-set, that expires when its holder dies.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use shared::topology::{LEASE, Topology};
use tokio_util::sync::CancellationToken;

/// The lease of reconciliation.
const NAME: &str = "reconcile";

/// How often the lease is renewed: a failed attempt leaves time for another before it expires.
const RENEW: Duration = LEASE.checked_div(3).unwrap();

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    jetstream: Context,
    subject: String,
    holder: String,
    sequence: u64,
}

impl Lease {
    /// Takes the lease; `None` while another worker has it, or NATS does not answer.
    pub async fn take(jetstream: Context, topology: Topology, holder: String) -> Option<Self> {
        let mut lease = Self { jetstream, subject: topology.lease_subject(NAME), holder, sequence: 0 };
        lease.write().await.then_some(lease)
    }

    /// Renews it until `done`. Returns when it is lost, before another worker can have it.
    pub async fn keep(mut self, done: CancellationToken) {
        let mut renewed = tokio::time::Instant::now();
        while done.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_some() {
            if self.write().await {
                renewed = tokio::time::Instant::now();
            } else if renewed.elapsed() + RENEW >= LEASE {
                return;
            }
        }
    }

    /// Writes it if no other worker has written it since.
    async fn write(&mut self) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", self.sequence.to_string().as_str());
        let sent = self.jetstream.publish_with_headers(self.subject.clone(), headers, self.holder.clone().into());
        match sent.await {
            Ok(ack) => match ack.await {
                Ok(ack) => {
                    self.sequence = ack.sequence;
                    true
                }
                Err(error) => {
                    tracing::debug!(%error, "the lease is another worker's, or NATS is away");
                    false
                }
            },
            Err(error) => {
                tracing::debug!(%error, "the lease cannot be written");
                false
            }
        }
    }
}
