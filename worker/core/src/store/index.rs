//! Unique indexes on natural keys, created when a collection is first written.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::error::ErrorKind;

use super::command::COMMANDS;
use super::command::{refused, with_timeout};
use super::error::{Blocked, StoreError};
use super::obstacles::Obstacles;
use super::sentence::without_values;
use worker_event::effect::Kind;

/// After this time an index is checked again: the collection may have been dropped. Until then uniqueness rests on
/// `_id`, which is derived from the natural key.
const TRUST: Duration = Duration::from_secs(60);

/// Codes of an index that cannot be created because of what is stored: duplicates, or the same keys with other options.
const IN_THE_WAY: [i32; 3] = [11_000, 85, 86];

/// Which collections are known to have their index.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexes {
    known: Arc<Mutex<HashMap<String, IndexState>>>,
    /// Held while a collection's index is created. Every slot meets a new collection at the same time, and repeated
    /// requests do not speed it up.
    making: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// State of a collection's index.
#[derive(Debug, Clone, Copy)]
struct IndexState {
    since: Instant,
    /// It exists, or the content of the collection prevents it.
    there: bool,
}

impl Indexes {
    /// Whether the index refuses a second document of a natural key. Without it, only an upsert finds the first.
    pub(super) fn refuses_duplicates(&self, collection: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(collection).is_some_and(|known| known.there)
    }

    /// Creates the indexes of these collections that are not known to exist. Refused ones become obstacles.
    pub(super) async fn ensure(
        &self,
        db: &Database,
        collections: BTreeSet<(Kind, &str)>,
        obstacles: &Obstacles,
    ) -> Result<(), StoreError> {
        let wanted = collections.into_iter().map(|(kind, prj)| (kind, kind.collection(prj)));
        futures::stream::iter(wanted.filter(|(_, name)| self.is_unknown(name)).map(Ok))
            .try_for_each_concurrent(COMMANDS, |(kind, name)| async move {
                obstacles.note(self.make(db, kind, &name).await).map(drop)
            })
            .await
    }

    async fn make(&self, db: &Database, kind: Kind, name: &str) -> Result<(), StoreError> {
        let making = {
            let mut all = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(name.to_owned()).or_default().clone()
        };
        let _making = making.lock().await;
        // Another slot may have created it meanwhile.
        if self.is_unknown(name) {
            let there = create(db, kind, name).await?;
            let known = IndexState { since: Instant::now(), there };
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), known);
        }
        self.making.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }

    fn is_unknown(&self, name: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).is_none_or(|known| known.since.elapsed() > TRUST)
    }
}

/// MongoDB writes to a capped collection and then removes its oldest documents, without an error.
async fn refuse_capped(db: &Database, collection: &str) -> Result<(), StoreError> {
    // By the name alone: with any other condition MongoDB reads the options of all collections.
    let command = doc! { "listCollections": 1, "filter": { "name": collection } };
    let listed = with_timeout(async { Ok(db.run_command(command).await) }).await?;
    // A user who may not list collections may still write.
    let Ok(listed) = listed else { return Ok(()) };
    let found = listed.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let is_capped = |found: &Bson| {
        let options = found.as_document().and_then(|found| found.get_document("options").ok());
        options.is_some_and(|options| options.get_bool("capped").unwrap_or(false))
    };
    if found.is_ok_and(|found| found.iter().any(is_capped)) {
        return Err(StoreError::Blocked(Blocked {
            collection: collection.to_owned(),
            cause: "it is a capped collection, which removes its oldest documents".to_owned(),
            remedy: "Rename it, or drop it: LD Connect makes an ordinary collection of that name.",
        }));
    }
    Ok(())
}

/// Creates the index, and returns whether it exists now.
async fn create(db: &Database, kind: Kind, collection: &str) -> Result<bool, StoreError> {
    refuse_capped(db, collection).await?;
    let fields = kind.key_fields();
    let key: Document = fields.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
    let create = |index: Document| {
        doc! {
            "createIndexes": collection, "indexes": [index], "writeConcern": { "w": "majority" },
        }
    };
    if kind == Kind::Task {
        // The deletion and the view of a story find the story's tasks by it.
        let command = create(doc! { "key": { "userstory_id": 1 }, "name": "userstory_id" });
        let made = with_timeout(async { Ok(db.run_command(command).await) }).await?;
        if let Err(error) = made {
            return Err(refused(db, collection, &error).await);
        }
    }
    let command = create(doc! { "key": key, "name": fields.join("_"), "unique": true });
    with_timeout(async {
        match db.run_command(command).await {
            Ok(_) => Ok(true),
            Err(error) => match *error.kind {
                ErrorKind::Command(ref refusal) if IN_THE_WAY.contains(&refusal.code) => {
                    tracing::warn!(
                        collection,
                        error = without_values(&refusal.message),
                        "cannot make the unique index for what is already in the collection; \
                         going on without it, remove the older duplicates and the index is made by itself"
                    );
                    Ok(false)
                }
                _ => Err(refused(db, collection, &error).await),
            },
        }
    })
    .await
}
