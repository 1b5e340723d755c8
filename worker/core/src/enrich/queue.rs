//! Queues look-ups durably.

use async_nats::HeaderMap;
use shared::envelope::header;
use shared::hash::short_sha256;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::topology::Topology;

use super::lookup::Lookups;

/// Queues look-ups. One that waits already is replaced by the same one.
///
/// # Errors
/// When they are not known to be stored.
pub async fn queue(publisher: &Publisher, topology: &Topology, lookups: Lookups) -> Result<(), PublishError> {
    if lookups.is_empty() {
        return Ok(());
    }
    let outgoing = lookups.into_messages().into_iter().filter_map(|(lookup, origin)| {
        // A struct of strings and numbers always is JSON.
        let payload = serde_json::to_vec(&lookup).ok()?;
        let key = short_sha256(&payload);
        let (source, prj) = (lookup.source(), &lookup.requester().prj);
        let mut headers = HeaderMap::new();
        // Its subject in `LD_DEAD` is made from these headers.
        headers.insert(header::SOURCE, source.as_str());
        headers.insert(header::PROJECT, prj.as_str());
        origin.mark(&mut headers);
        Some(Outgoing { subject: topology.enrich_subject(source, prj, &key), headers, payload: payload.into() })
    });
    publisher.publish_all(outgoing.collect()).await
}
