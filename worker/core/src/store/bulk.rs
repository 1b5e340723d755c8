//! MongoDB 8's `bulkWrite`: the first attempt of many small writes, to several collections in one command.
//!
//! What it does not apply is written by ordinary commands, whose errors say what to do. So nothing depends on how it
//! reports errors, and a server that refuses it costs one command.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::atomic::Ordering;

use bson::{Bson, Document, RawDocumentBuf};
use futures::{StreamExt as _, TryStreamExt as _};
use mongodb::Namespace;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{InsertOneModel, UpdateModifications, UpdateOneModel, WriteModel};

use super::command::{COMMANDS, majority_in_time, with_timeout};
use super::connection::Store;
use super::encode::unencodable;
use super::error::{Blame, DUPLICATE_KEY, StoreError, code, of_command};
use super::sentence::{sentence, without_values};
use super::write::Write;

/// Collections with fewer writes than this share a command. More fill a command of their own, and MongoDB executes
/// separate commands side by side.
const SMALL: usize = 8;

/// Writes of one command.
const WRITES: usize = 512;

/// Unauthorized, CommandNotFound, CommandNotSupported: an older server or feature compatibility version, or a role that
/// does not allow it.
const NOT_THERE: [i32; 3] = [13, 59, 115];

/// A collection and what is to be written to it.
type Group<'a> = (String, Vec<Write<'a>>);

/// What a command leaves to be written.
enum Left {
    Everything,
    /// Indexes of the writes that failed, with MongoDB's code.
    Failed(HashMap<usize, i32>),
}

impl Store {
    /// Takes small groups out, writes them, and returns what is left of them: upserts that do not seem to be stale.
    pub(super) async fn write_in_bulk<'a>(
        &self,
        groups: &mut HashMap<String, Vec<Write<'a>>>,
    ) -> Result<Vec<Group<'a>>, StoreError> {
        if !self.takes_bulk_writes.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        // Without the unique index a stale state would be inserted as a second document.
        let is_small = |collection: &String, writes: &mut Vec<Write<'a>>| {
            writes.len() < SMALL && self.indexes.refuses_duplicates(collection)
        };
        let small: Vec<Group<'a>> = groups.extract_if(is_small).collect();
        if small.len() < 2 {
            groups.extend(small);
            return Ok(Vec::new());
        }
        let commands: Vec<_> = packs(small).into_iter().map(|pack| self.write_pack(pack)).collect();
        let left: Vec<_> = futures::stream::iter(commands).buffer_unordered(COMMANDS).try_collect().await?;
        Ok(left.into_iter().flatten().collect())
    }

    async fn write_pack<'a>(&self, pack: Vec<Group<'a>>) -> Result<Vec<Group<'a>>, StoreError> {
        let writes =
            || pack.iter().flat_map(|(collection, writes)| writes.iter().map(move |write| (collection, write)));
        let models = writes().map(|(collection, write)| model(Namespace::new(self.db.name(), collection), write));
        let Left::Failed(failed) = self.bulk_write(models.collect::<Result<_, _>>()?).await? else { return Ok(pack) };
        let mut left: HashMap<&str, (Vec<Write<'a>>, Vec<Write<'a>>)> = HashMap::new();
        for (index, (collection, write)) in writes().enumerate() {
            let Some(code) = failed.get(&index) else { continue };
            let (conflicted, others) = left.entry(collection).or_default();
            if *code == DUPLICATE_KEY { conflicted } else { others }.push(*write);
        }
        let mut groups = Vec::new();
        for (collection, (mut conflicted, others)) in left {
            self.drop_stale(collection, &mut conflicted).await?;
            conflicted.extend(others);
            groups.push((collection.to_owned(), conflicted));
        }
        Ok(groups)
    }

    async fn bulk_write(&self, models: Vec<WriteModel>) -> Result<Left, StoreError> {
        let command = self.db.client().bulk_write(models).ordered(false).write_concern(majority_in_time());
        let Err(error) = with_timeout(async { Ok(command.await) }).await? else {
            return Ok(Left::Failed(HashMap::new()));
        };
        // An error of the whole command, after others of single writes, is the source.
        let whole = error.source().and_then(|source| source.downcast_ref::<Error>()).unwrap_or(&error);
        match &*whole.kind {
            ErrorKind::BulkWrite(failure) => match failure.write_concern_errors.first() {
                Some(concern) => Err(StoreError::Outage(without_values(&concern.message).to_owned())),
                None => Ok(Left::Failed(failure.write_errors.iter().map(|(at, error)| (*at, error.code)).collect())),
            },
            ErrorKind::IncompatibleServer { .. } => Ok(self.without_bulk()),
            ErrorKind::InvalidArgument { .. } => Ok(Left::Everything),
            _ if NOT_THERE.contains(&code(whole)) => Ok(self.without_bulk()),
            _ => match of_command(whole) {
                Blame::Server => Err(StoreError::Outage(sentence(whole))),
                Blame::Content | Blame::Collection => {
                    tracing::debug!(error = sentence(whole), "MongoDB refuses a bulkWrite: ordinary commands follow");
                    Ok(Left::Everything)
                }
            },
        }
    }

    fn without_bulk(&self) -> Left {
        self.takes_bulk_writes.store(false, Ordering::Relaxed);
        Left::Everything
    }
}

/// Groups whole collections, so that each pack fills a command.
fn packs(groups: Vec<Group<'_>>) -> Vec<Vec<Group<'_>>> {
    let (mut packs, mut pack, mut writes) = (Vec::new(), Vec::new(), 0);
    for group in groups {
        writes += group.1.len();
        pack.push(group);
        if writes >= WRITES {
            packs.push(std::mem::take(&mut pack));
            writes = 0;
        }
    }
    if !pack.is_empty() {
        packs.push(pack);
    }
    packs
}

fn model(namespace: Namespace, write: &Write<'_>) -> Result<WriteModel, StoreError> {
    if write.inserts_first()
        && let Some(document) = write.document()?
    {
        return Ok(InsertOneModel::builder().namespace(namespace).document(parsed(document)?).build().into());
    }
    let mut statement = parsed(write.statement()?)?;
    let (filter, update) = match (statement.remove("q"), statement.remove("u")) {
        (Some(Bson::Document(filter)), Some(Bson::Document(update))) => (filter, UpdateModifications::Document(update)),
        (Some(Bson::Document(filter)), Some(Bson::Array(stages))) => {
            let stages = stages.iter().filter_map(Bson::as_document).cloned().collect();
            (filter, UpdateModifications::Pipeline(stages))
        }
        _ => return Err(unencodable("a statement has no filter or no update")),
    };
    Ok(UpdateOneModel::builder().namespace(namespace).filter(filter).update(update).upsert(true).build().into())
}

fn parsed(document: RawDocumentBuf) -> Result<Document, StoreError> {
    Document::try_from(document).map_err(unencodable)
}
