//! Removes what chosen events wrote, so that a replay of the other events rebuilds it without them.
//!
//! Documents and `ld_…` collections only take newer states. What a forged event wrote would stay newer than every real
//! event. So these are removed first: documents that the event wrote or changed, and `ld_…` documents because of it.

use std::collections::{BTreeMap, HashSet};

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use shared::ids::Project;
use shared::source::Source;

use super::command::{majority, with_timeout};
use super::connection::Store;
use super::error::StoreError;
use super::forget::DocumentCounts;

/// Our collections that are not about events.
const NOT_OF_EVENTS: [&str; 2] = ["ld_forgotten", "ld_probe"];

/// How many documents one command removes.
const BATCH: usize = 1_000;

/// Events of one project and source that are no longer in the stream.
#[derive(Debug, Clone, Default)]
pub struct RemovedEvents {
    /// Their deliveries.
    pub deliveries: HashSet<String>,
    /// Their stream sequences.
    pub sequences: HashSet<i64>,
    /// Values of a field of the documents that they may have changed: a milestone's number, a commit's hash.
    pub changed: BTreeMap<&'static str, Vec<Bson>>,
    /// The stream's first sequence. A document whose newest event is older cannot be rebuilt.
    pub first_sequence: i64,
}

/// What was removed, and what could not be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// How many documents of each collection.
    pub removed: DocumentCounts,
    /// How many documents may show something of the events and are older than the stream.
    pub left: u64,
}

impl Store {
    /// Removes (or counts) what the events wrote.
    ///
    /// # Errors
    /// When MongoDB is away or refuses; what is left is removed by doing it again.
    pub async fn remove_events(
        &self,
        prj: &Project,
        source: Source,
        events: &RemovedEvents,
        yes: bool,
    ) -> Result<Removal, StoreError> {
        let mut removal = Removal::default();
        let mut names = with_timeout(async { Ok(self.db.list_collection_names().await?) }).await?;
        names.sort();
        let own = format!("{source}_{prj}.");
        for name in names {
            let is_own = name.starts_with(&own);
            if !is_own && (!name.starts_with("ld_") || NOT_OF_EVENTS.contains(&name.as_str())) {
                continue;
            }
            let filter = if is_own {
                Document::new()
            } else {
                doc! { "prj": prj.as_str() }
            };
            let collection = self.db.collection::<Document>(&name);
            let mut cursor = with_timeout(async { Ok(collection.find(filter).await?) }).await?;
            let mut ids = Vec::new();
            while let Some(document) = with_timeout(async { Ok(cursor.try_next().await?) }).await? {
                let wrote = events.wrote(if is_own { document.get("_ld") } else { None })
                    || (!is_own && events.remembered(&document));
                if !wrote && is_own && events.may_have_changed(&document) {
                    if events.is_older_than_the_stream(&document) {
                        removal.left += 1;
                        continue;
                    }
                } else if !wrote {
                    continue;
                }
                ids.extend(document.get("_id").cloned());
            }
            if ids.is_empty() {
                continue;
            }
            removal.removed.insert(name.clone(), ids.len() as u64);
            for ids in ids.chunks(BATCH).filter(|_| yes) {
                let chosen = doc! { "_id": { "$in": ids.to_vec() } };
                with_timeout(async { Ok(collection.delete_many(chosen).write_concern(majority()).await?) }).await?;
            }
        }
        Ok(removal)
    }
}

impl RemovedEvents {
    /// Whether the `_ld` of a document names one of the events.
    fn wrote(&self, about: Option<&Bson>) -> bool {
        match about {
            Some(Bson::Document(about)) => about.iter().any(|(name, value)| match (name.as_str(), value) {
                ("delivery", Bson::String(delivery)) => self.deliveries.contains(delivery),
                ("s", value) => integer(value).is_some_and(|sequence| self.sequences.contains(&sequence)),
                (_, value) => self.wrote(Some(value)),
            }),
            Some(Bson::Array(all)) => all.iter().any(|value| self.wrote(Some(value))),
            _ => false,
        }
    }

    /// Whether an `ld_…` document exists because of one of the events.
    fn remembered(&self, document: &Document) -> bool {
        document.iter().any(|(name, value)| name != "fields" && self.wrote(Some(value)))
    }

    fn may_have_changed(&self, document: &Document) -> bool {
        self.changed.iter().any(|(field, values)| {
            document.get(field).is_some_and(|value| values.iter().any(|changed| same(value, changed)))
        })
    }

    fn is_older_than_the_stream(&self, document: &Document) -> bool {
        let order = document.get_document("_ld").ok().and_then(|about| about.get_document("order").ok());
        order.and_then(|order| integer(order.get("s")?)).is_some_and(|sequence| sequence < self.first_sequence)
    }
}

fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// Whether MongoDB compares two keys as equal.
fn same(one: &Bson, other: &Bson) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> RemovedEvents {
        RemovedEvents {
            deliveries: HashSet::from(["forged".to_owned()]),
            sequences: HashSet::from([7]),
            changed: BTreeMap::from([("milestone_id", vec![Bson::Int32(5)])]),
            first_sequence: 4,
        }
    }

    #[test]
    fn an_event_is_found_in_whatever_is_kept_about_a_document() {
        for (about, wrote) in [
            (doc! { "delivery": "forged", "order": { "t": 1_i64, "s": 2_i64 } }, true),
            (doc! { "delivery": "real", "order": { "t": 1_i64, "s": 7_i64 } }, true),
            (doc! { "order": { "t": 7_i64, "s": 2_i64 }, "link": { "order": { "t": 1_i64, "s": 7_i64 } } }, true),
            (doc! { "delivery": "real", "order": { "t": 7_i64, "s": 2_i64 } }, false),
        ] {
            assert_eq!(events().wrote(Some(&about.clone().into())), wrote, "{about}");
        }
        let milestone = doc! { "_id": "A/5", "prj": "A", "state": { "t": 1_i64, "s": 7_i64, "fields": {} } };
        assert!(events().remembered(&milestone));
    }

    #[test]
    fn what_an_event_may_have_changed_is_rebuilt_only_if_the_stream_still_can() {
        let task = |sequence: i64| doc! { "milestone_id": 5_i64, "_ld": { "order": { "t": 1_i64, "s": sequence } } };
        assert!(events().may_have_changed(&task(5)) && !events().is_older_than_the_stream(&task(5)));
        assert!(events().is_older_than_the_stream(&task(3)));
        assert!(!events().may_have_changed(&doc! { "milestone_id": 6 }));
    }
}
