//! What this process has written, to guess what is new. A wrong guess costs time and changes nothing.
//!
//! An insert costs MongoDB a quarter of an upsert, and an insert of what is there already costs more than one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

/// How many ids are remembered: 8 bytes each. Then it begins anew.
const MOST: usize = 200_000;

/// The ids that this process has written. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<HashSet<u64>>>);

impl Seen {
    /// Whether an id was written.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash(id))
    }

    /// Ids that are written.
    pub(super) fn add<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if seen.len() >= MOST {
                seen.clear();
            }
            seen.insert(hash(id));
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
