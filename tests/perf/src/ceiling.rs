//! The most that MongoDB can do alone: bare upserts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::raw::cstr;
use bson::{Document, RawArrayBuf, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use futures::future::join_all;
use mongodb::Database;
use tokio::sync::Mutex;

/// The statements of one batch, a command a collection; encoded beforehand, so that only MongoDB is measured.
pub(crate) type Batch = BTreeMap<String, Vec<RawDocumentBuf>>;

/// A plain upsert by natural key.
pub(crate) fn upsert(key: &Document, document: &Document) -> anyhow::Result<RawDocumentBuf> {
    // In `$set`, a dot or `$` in a person's name would be a path or an operator: those are replaced whole.
    let plain = document.keys().all(|name| !name.contains(['.', '$']));
    let change = if plain {
        doc! { "$set": document }
    } else {
        document.clone()
    };
    Ok(RawDocumentBuf::try_from(&doc! { "q": key, "u": change, "upsert": true })?)
}

/// Upserts all batches, `lanes` at once and `commands` of a batch at once, majority and journalled.
pub(crate) async fn bulk(
    db: &Database,
    batches: Vec<Batch>,
    lanes: usize,
    commands: usize,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let waiting = Arc::new(Mutex::new(batches.into_iter()));
    let lanes = (0..lanes).map(|_| {
        let (db, waiting) = (db.clone(), Arc::clone(&waiting));
        tokio::spawn(async move {
            loop {
                let Some(batch) = waiting.lock().await.next() else { return anyhow::Ok(()) };
                let db = &db;
                futures::stream::iter(batch.into_iter().map(Ok))
                    .map_ok(|(collection, statements)| async move { update(db, &collection, &statements).await })
                    .try_buffer_unordered(commands)
                    .try_collect::<Vec<()>>()
                    .await?;
            }
        })
    });
    for lane in join_all(lanes).await {
        lane??;
    }
    Ok(begin.elapsed())
}

async fn update(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> anyhow::Result<()> {
    // A lost race of two inserts meets the unique index; the second time it is an update.
    for _ in 0..3 {
        let mut updates = RawArrayBuf::new();
        statements.iter().for_each(|statement| updates.push(statement.as_ref()));
        let mut command = RawDocumentBuf::new();
        command.append(cstr!("update"), collection);
        command.append(cstr!("updates"), updates);
        command.append(cstr!("ordered"), false);
        let concern = RawDocumentBuf::try_from(&doc! { "w": "majority", "j": true })?;
        command.append(cstr!("writeConcern"), concern);
        let reply = db.run_raw_command(command).await?;
        if !reply.contains_key("writeErrors") {
            return Ok(());
        }
    }
    anyhow::bail!("bare upserts into {collection} fail")
}
