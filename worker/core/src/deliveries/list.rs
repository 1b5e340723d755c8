//! Which deliveries are listed.

use async_nats::jetstream::Context;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology};

use super::delivery::Delivery;
use crate::read::{Newest, Unreadable};

/// Which deliveries. Of what is `None`, all.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub prj: Option<Project>,
    pub source: Option<Source>,
    pub event: Option<String>,
    /// Received at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Received at this time or earlier.
    pub until: Option<i64>,
    /// How many at most.
    pub count: usize,
}

impl Wanted {
    /// Reads their headers, the newest first.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn list(&self, jetstream: &Context, topology: &Topology) -> Result<Vec<Delivery>, Unreadable> {
        let name = topology.stream(StreamName::Events);
        let stream = jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))?;
        let filter = topology.event_filter(self.source, self.prj.as_ref(), self.event.as_deref());
        let (since, until) = (self.since, self.until);
        let newest = Newest { filters: vec![filter], since, until, headers_only: true, count: self.count };
        let messages = newest.read(&stream).await?;
        Ok(messages.iter().rev().filter_map(|message| Delivery::of(topology, message)).collect())
    }
}
