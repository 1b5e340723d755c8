//! Collections that turn out to be blocked while a batch is applied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{Blocked, StoreError};
use super::fold::Batch;

/// An event that waits for its collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Index of the event in the batch.
    pub event: usize,
    /// Why, and what an operator can do; the same for all events of the collection.
    pub blocked: Arc<Blocked>,
}

/// The collections that turned out to be blocked while a batch was applied.
#[derive(Debug, Default)]
pub(super) struct Obstacles(Mutex<BTreeMap<String, Arc<Blocked>>>);

impl Obstacles {
    /// Records a blocked collection, so that the others go on: then there is no result.
    pub(super) fn note<T>(&self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Err(StoreError::Blocked(blocked)) => {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(blocked.collection.clone(), Arc::new(blocked));
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn is_in_the_way(&self, collection: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(collection)
    }

    /// The events of these collections, each once.
    pub(super) fn waiting(self, batch: &Batch) -> Vec<Waiting> {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let events = all.into_iter().flat_map(|(collection, blocked)| {
            batch.events_of(&collection).iter().map(move |event| (*event, blocked.clone()))
        });
        let each: BTreeMap<usize, Arc<Blocked>> = events.collect();
        each.into_iter().map(|(event, blocked)| Waiting { event, blocked }).collect()
    }
}
