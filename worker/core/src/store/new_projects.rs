//! Which projects have documents, and which may appear: one document for all workers.
//!
//! ```text
//! ld_projects  {_id: "appeared", recent: [{prj, at}, …]}     the projects that appeared within the last hour
//! ```

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use worker_event::effect::Kind;

use super::connection::Store;
use super::error::StoreError;

const COLLECTION: &str = "ld_projects";

const HOUR_MS: i64 = 3_600_000;

impl Store {
    /// Those of these projects that have a collection.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn existing(&self, prjs: &BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
        let names = prjs.iter().flat_map(|prj| Kind::ALL.map(|kind| kind.collection(prj)));
        let filter = doc! { "name": { "$in": names.map(Bson::String).collect::<Vec<_>>() } };
        let found = self.db.list_collection_names().filter(filter).await.map_err(outage)?;
        let exists = |prj: &&String| Kind::ALL.iter().any(|kind| found.contains(&kind.collection(prj)));
        Ok(prjs.iter().filter(exists).cloned().collect())
    }

    /// Admits these projects while no more than `limit` are admitted within an hour, by the server's clock. Returns the
    /// admitted ones; a project that was admitted within the hour is admitted again.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn admit(&self, prjs: &BTreeSet<String>, limit: u32) -> Result<BTreeSet<String>, StoreError> {
        let wanted: Vec<Bson> = prjs.iter().cloned().map(Bson::String).collect();
        let recent = doc! { "$filter": {
            "input": { "$ifNull": ["$recent", []] },
            "cond": { "$gt": ["$$this.at", { "$subtract": ["$$NOW", HOUR_MS] }] },
        } };
        let wanted_new = doc! { "$setDifference": [wanted.clone(), "$recent.prj"] };
        let free = doc! { "$max": [0, { "$subtract": [i64::from(limit), { "$size": "$recent" }] }] };
        let admitted = doc! { "$cond": [
            { "$gt": ["$_free", 0] }, { "$slice": ["$_wanted", { "$max": [1, "$_free"] }] }, [],
        ] };
        let more = doc! { "$map": { "input": admitted, "in": { "prj": "$$this", "at": "$$NOW" } } };
        let update: Vec<Document> = vec![
            doc! { "$set": { "recent": recent } },
            doc! { "$set": { "_wanted": wanted_new, "_free": free } },
            doc! { "$set": { "recent": { "$concatArrays": ["$recent", more] } } },
            doc! { "$unset": ["_wanted", "_free"] },
        ];
        let collection = self.db.collection::<Document>(COLLECTION);
        let updated = collection
            .find_one_and_update(doc! { "_id": "appeared" }, update)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await
            .map_err(outage)?
            .unwrap_or_default();
        let recent = updated.get_array("recent").map(Vec::as_slice).unwrap_or_default();
        let names = recent.iter().filter_map(|one| one.as_document()?.get_str("prj").ok());
        Ok(names.filter(|prj| prjs.contains(*prj)).map(str::to_owned).collect())
    }
}

/// No refusal of this document is an event's fault.
fn outage(error: mongodb::error::Error) -> StoreError {
    StoreError::Outage(super::sentence(&error))
}
