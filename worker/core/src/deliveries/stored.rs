//! Which deliveries are stored although an earlier event is not settled, such as one of a collection that is blocked.

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use shared::ids::Project;
use worker_event::effect::Kind;

/// Documents that are read of a collection.
const DOCUMENTS: i64 = 1_000;

/// How long MongoDB may look. No index helps.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Of these deliveries of a project, those that a document came with. What cannot be read is left out.
pub async fn stored(db: &Database, prj: &Project, ids: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in Kind::ALL {
        let collection = db.collection::<Document>(&kind.collection(prj.as_str()));
        let wanted = doc! { "_ld.delivery": { "$in": ids.iter().copied().collect::<Vec<_>>() } };
        let read = collection.find(wanted).projection(doc! { "_ld.delivery": 1 }).limit(DOCUMENTS).max_time(TIMEOUT);
        let Ok(read) = read.await else { continue };
        let documents: Vec<Document> = read.try_collect().await.unwrap_or_default();
        let ids = documents.iter().filter_map(|document| document.get_document("_ld").ok()?.get_str("delivery").ok());
        found.extend(ids.map(str::to_owned));
    }
    found
}
