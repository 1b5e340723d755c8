//! What reading a delivery takes: the streams, and the documents.

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use shared::ids::Project;
use shared::topology::{StreamName, Topology};

use super::delivery::Delivery;
use super::list::Wanted;
use super::outcome::Outcomes;
use crate::read::{Pass, Unreadable};
use crate::store::{RulesCache, Store};

/// Reads deliveries.
#[derive(Debug)]
pub struct Reader {
    pub(super) jetstream: Context,
    pub(super) topology: Topology,
    pub(super) store: Store,
    pub(super) forgotten: RulesCache,
}

impl Reader {
    #[must_use]
    pub fn new(jetstream: Context, topology: Topology, store: Store) -> Self {
        Self { jetstream, topology, store, forgotten: RulesCache::default() }
    }

    /// The newest accepted ones first.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn list(&self, wanted: &Wanted) -> Result<Vec<Delivery>, Unreadable> {
        wanted.list(&self.jetstream, &self.topology).await
    }

    /// What decides what became of deliveries, of one project or of all.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn outcomes(&self, prj: Option<&Project>) -> Result<Outcomes, Unreadable> {
        Outcomes::read(&self.jetstream, &self.topology, prj).await
    }

    /// The sequence of the next event that will be accepted.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn next_sequence(&self) -> Result<u64, Unreadable> {
        Ok(self.stream(StreamName::Events).await?.cached_info().state.last_sequence + 1)
    }

    /// What was accepted from a sequence on, oldest first, at most so many events; and where to go on.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn from(&self, wanted: &Wanted, next: u64, most: u64) -> Result<(Vec<Delivery>, u64), Unreadable> {
        let stream = self.stream(StreamName::Events).await?;
        let state = &stream.cached_info().state;
        // A stream that was created anew begins above all earlier sequences.
        if state.last_sequence < next {
            return Ok((Vec::new(), next));
        }
        let filters = vec![self.topology.event_filter(wanted.source, wanted.prj.as_ref(), wanted.event.as_deref())];
        let from = DeliverPolicy::ByStartSequence { start_sequence: next };
        let (messages, left) = Pass { filters, from, headers_only: true, most, until: None }.read(&stream).await?;
        let deliveries: Vec<_> = messages.iter().filter_map(|message| Delivery::of(&self.topology, message)).collect();
        let last = messages.last().and_then(|message| message.info().ok()).map(|info| info.stream_sequence);
        let next = match (last, left) {
            (Some(last), 0) => last.max(state.last_sequence) + 1,
            (Some(last), _) => last + 1,
            (None, _) => state.last_sequence + 1,
        };
        Ok((deliveries, next))
    }

    pub(super) async fn stream(&self, stream: StreamName) -> Result<Stream, Unreadable> {
        let name = self.topology.stream(stream);
        self.jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))
    }
}
