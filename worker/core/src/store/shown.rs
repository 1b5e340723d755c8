//! A single document: what it shows now, for a person who asks what became of a delivery, and how that of a test goes.

use std::time::Duration;

use bson::{Bson, Document, doc};
use shared::ids::Project;
use worker_event::effect::{Key, Kind};

use super::command::majority;
use super::connection::Store;
use super::encode::{entity_id, key_filter};
use super::error::StoreError;
use super::memory::DELETIONS;

/// How long MongoDB may look. The natural key has an index.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A document, as far as a delivery's story needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// The delivery that its state came with.
    pub delivery: Option<String>,
    /// Whether it has what a look-up brings.
    pub is_enriched: bool,
}

impl Store {
    /// A document by its natural key.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn shown(&self, kind: Kind, prj: &str, key: &Key) -> Result<Option<StoredDocument>, StoreError> {
        let enriched = enriched_field(kind);
        let mut fields = doc! { "_ld.delivery": 1 };
        if let Some(field) = enriched {
            fields.insert(field, 1);
        }
        let collection = self.db.collection::<Document>(&kind.collection(prj));
        let found = collection.find_one(key_filter(kind, key)).projection(fields).max_time(TIMEOUT).await?;
        Ok(found.map(|found| StoredDocument {
            delivery: found.get_document("_ld").and_then(|ld| ld.get_str("delivery")).ok().map(str::to_owned),
            is_enriched: enriched.is_some_and(|field| found.get(field).is_some_and(|value| *value != Bson::Null)),
        }))
    }

    /// Removes a document that a test of the connection made, and what is remembered of its deletion.
    ///
    /// # Errors
    /// When MongoDB is away or refuses.
    pub async fn remove_test(&self, prj: &Project, kind: Kind, key: &Key) -> Result<(), StoreError> {
        let documents = self.db.collection::<Document>(&kind.collection(prj.as_str()));
        documents.delete_one(key_filter(kind, key)).write_concern(majority()).await?;
        let remembered = self.db.collection::<Document>(DELETIONS);
        remembered.delete_one(doc! { "_id": entity_id(kind, prj.as_str(), key) }).write_concern(majority()).await?;
        Ok(())
    }
}

/// The field that is null until a look-up was made.
const fn enriched_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Commit => Some("is_merge"),
        Kind::UserStory | Kind::Task => Some("milestone_total_points"),
        _ => None,
    }
}
