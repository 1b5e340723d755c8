//! Pages of GitHub's lists, stored in NATS with their `ETag`. A 304 costs nothing of the rate limit, and the stored
//! page is compared with MongoDB like any other.
//!
//! A page is one message of `LD_RECONCILE`, zstd of `{"etag":…,"next":…,"items":[…]}` with the fields that are used.
//! A lost page is read again.

use std::io::Read as _;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::hash::short_sha256;
use shared::publish::{Outgoing, Publisher};
use shared::topology::{StreamName, Topology};

/// The largest page after decompression.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The version of the stored fields. Pages of another version are not used.
const VERSION: u8 = 1;

/// A page of an earlier reading.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its `ETag`.
    pub etag: String,
    /// Where the next page is.
    pub next: Option<String>,
    /// What was on it.
    pub items: Vec<Value>,
}

/// The pages of all tokens.
#[derive(Debug, Clone)]
pub struct KeptPages {
    jetstream: Context,
    topology: Topology,
    publisher: Publisher,
}

impl KeptPages {
    /// In this installation's stream.
    #[must_use]
    pub const fn new(jetstream: Context, topology: Topology, publisher: Publisher) -> Self {
        Self { jetstream, topology, publisher }
    }

    /// The page that a token read at this address. A page that cannot be read is requested again.
    pub async fn get(&self, token: &str, path: &str) -> Option<Kept> {
        let name = self.topology.stream(StreamName::Reconcile);
        let stream = self.jetstream.get_stream_no_info(&name).await.ok()?;
        let message = stream.direct_get_last_for_subject(self.subject(token, path)).await.ok()?;
        let mut bytes = Vec::new();
        zstd::stream::read::Decoder::new(&message.payload[..]).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Stores a page. If that fails, the next reading costs one more request.
    pub async fn put(&self, token: &str, path: &str, page: &Kept) {
        let packed = serde_json::to_vec(page).map(|bytes| zstd::bulk::compress(&bytes, 1));
        let Ok(Ok(payload)) = packed else { return };
        let message =
            Outgoing { subject: self.subject(token, path), headers: HeaderMap::new(), payload: payload.into() };
        if let Err(error) = self.publisher.publish(message).await {
            tracing::debug!(%error, "a page of GitHub's cannot be kept; it is read again next time");
        }
    }

    fn subject(&self, token: &str, path: &str) -> String {
        self.topology.reconcile_subject(&format!("page.{}", short_sha256(format!("{VERSION} {token} {path}"))))
    }
}
