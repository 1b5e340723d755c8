//! The forgotten people, as this worker last read them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use worker_event::privacy::Rules;

use super::connection::Store;
use super::error::StoreError;

/// Maximum age of the cached rules. `worker forget` waits longer than this before it reads documents.
pub const REFRESH: Duration = Duration::from_secs(5);

/// The rules in force, read again when they are older than [`REFRESH`].
#[derive(Debug, Default)]
pub struct RulesCache(Mutex<Option<(Instant, Arc<Rules>)>>);

impl RulesCache {
    /// The cached rules; reads them again if they are too old.
    ///
    /// # Errors
    /// When MongoDB is away. Then nothing may be stored either.
    pub async fn current(&self, store: &Store) -> Result<Arc<Rules>, StoreError> {
        let fresh = |known: &Option<(Instant, Arc<Rules>)>| {
            known.as_ref().filter(|(since, _)| since.elapsed() < REFRESH).map(|(_, rules)| rules.clone())
        };
        if let Some(rules) = fresh(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(rules);
        }
        // Take the time before the query, so that a slow query does not extend the cache lifetime.
        let since = Instant::now();
        let rules = Arc::new(store.forgotten().await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, rules.clone()));
        Ok(rules)
    }
}
