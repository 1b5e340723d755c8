//! Whom to forget, as this worker knows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use worker_event::privacy::Rules;

use super::connection::Store;
use super::error::StoreError;

/// For how long a worker goes without asking whom to forget. `worker forget` waits longer than that before it
/// looks at documents.
pub const REFRESH: Duration = Duration::from_secs(5);

/// The rules in force, asked for now and then.
#[derive(Debug, Default)]
pub struct Known(Mutex<Option<(Instant, Arc<Rules>)>>);

impl Known {
    /// Those of the last seconds.
    ///
    /// # Errors
    /// When MongoDB is away: then nothing may be stored either.
    pub async fn current(&self, store: &Store) -> Result<Arc<Rules>, StoreError> {
        let fresh = |known: &Option<(Instant, Arc<Rules>)>| {
            known.as_ref().filter(|(since, _)| since.elapsed() < REFRESH).map(|(_, rules)| rules.clone())
        };
        if let Some(rules) = fresh(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(rules);
        }
        // As of before the question: an answer that took long is old when it comes.
        let since = Instant::now();
        let rules = Arc::new(store.forgotten().await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, rules.clone()));
        Ok(rules)
    }
}
