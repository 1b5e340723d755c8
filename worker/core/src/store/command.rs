//! Commands: how they are sent, and what becomes of a failure.

use std::time::Duration;

use bson::raw::cstr;
use bson::{Document, RawArrayBuf, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::options::ReadConcern;

use super::encode::raw;
use super::error::{Blame, Blocked, DUPLICATE_KEY, StoreError, code, of_command, of_statement, remedy};
use super::sentence::sentence;

/// How often a write that met E11000 is tried again.
pub(super) const RETRIES: usize = 10;

/// How many commands of one batch are under way at once; together they share MongoDB's journal flushes.
pub(super) const COMMANDS: usize = 16;

/// How many statements one command carries at most, and how many bytes of them: the server's limits
/// are 100,000 and 48 MB, but a smaller command blocks others for a shorter time.
const STATEMENTS: usize = 1_000;
const BYTES: usize = 16 * 1024 * 1024;

/// How long a command may take before MongoDB counts as away.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the majority may take; less than [`PATIENCE`], so that the server says what is wrong.
const MAJORITY_MS: i32 = 20_000;

/// One statement of a command that was not applied.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Index among the statements given.
    pub(super) index: usize,
    code: i32,
    /// Of E11000, the fields of the index.
    fields: Vec<String>,
    /// MongoDB's text.
    pub(super) error: String,
}

impl Failure {
    /// It met a document of the same natural key. `E11000` on an index that is not ours is something else.
    pub(super) fn is_conflict(&self, key: &[&str]) -> bool {
        self.code == DUPLICATE_KEY && (self.fields == key || self.fields == ["_id"])
    }

    /// It met a document of the same `_id`.
    pub(super) fn is_duplicate_id(&self) -> bool {
        self.is_conflict(&[])
    }

    /// Why it can never be applied, where that is the statement's own fault.
    pub(super) fn fault(&self) -> Option<&str> {
        matches!(of_statement(self.code), Blame::Content).then_some(self.error.as_str())
    }

    /// What else it is: the collection's fault, or an outage.
    pub(super) async fn into_error(self, db: &Database, collection: &str) -> StoreError {
        match of_statement(self.code) {
            Blame::Collection => blame(db, collection, self.code, self.error).await,
            Blame::Server | Blame::Content => StoreError::Outage(self.error),
        }
    }
}

/// A collection that takes no writes is blocked where the server takes others; else all is an outage.
pub(super) async fn blame(db: &Database, collection: &str, code: i32, cause: String) -> StoreError {
    match probe(db, "ld_blame").await {
        Ok(()) => StoreError::Blocked(Blocked { collection: collection.to_owned(), cause, remedy: remedy(code) }),
        Err(_) => StoreError::Outage(cause),
    }
}

/// Writes something that the majority has to acknowledge and journal.
pub(super) async fn probe(db: &Database, who: &str) -> Result<(), StoreError> {
    let statement = doc! { "q": { "_id": who }, "u": { "$currentDate": { "at": true } }, "upsert": true };
    let command = doc! { "update": "ld_probe", "updates": [statement], "writeConcern": write_concern() };
    let failures = patiently(async {
        let reply = db.run_command(command).await?;
        read_reply(&reply, 0)
    });
    none_failed(failures.await?)
}

/// Sends `update` commands, unordered, majority and journalled. Returns the statements that failed.
pub(super) async fn update(
    db: &Database,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<Vec<Failure>, StoreError> {
    Ok(update_counting(db, collection, statements).await?.0)
}

/// The same, and how many documents matched.
pub(super) async fn update_counting(
    db: &Database,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<(Vec<Failure>, i64), StoreError> {
    send(db, Verb::Update, collection, statements).await
}

/// The same for `insert`, of whole documents.
pub(super) async fn insert(
    db: &Database,
    collection: &str,
    documents: &[RawDocumentBuf],
) -> Result<Vec<Failure>, StoreError> {
    Ok(send(db, Verb::Insert, collection, documents).await?.0)
}

/// The same for `delete`; a failed statement is an error, because none of ours can fail by itself.
pub(super) async fn delete(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> Result<(), StoreError> {
    match send(db, Verb::Delete, collection, statements).await?.0.into_iter().next() {
        Some(failure) => Err(failure.into_error(db, collection).await),
        None => Ok(()),
    }
}

/// For statements that cannot fail by themselves: any failure is an outage.
pub(super) fn none_failed(failures: Vec<Failure>) -> Result<(), StoreError> {
    failures.into_iter().next().map_or(Ok(()), |failure| Err(StoreError::Outage(failure.error)))
}

/// Reads documents from the primary, as they are there now.
pub(super) async fn find(
    db: &Database,
    collection: &str,
    filter: Document,
    projection: Document,
) -> Result<Vec<Document>, StoreError> {
    find_as(ReadConcern::local(), db, collection, filter, projection).await
}

/// Reads what the majority has: for whoever goes without a write of his own because of what he finds. What
/// only the primary has may be rolled back, and then nobody would write it again.
pub(super) async fn find_durable(
    db: &Database,
    collection: &str,
    filter: Document,
    projection: Document,
) -> Result<Vec<Document>, StoreError> {
    find_as(ReadConcern::majority(), db, collection, filter, projection).await
}

async fn find_as(
    concern: ReadConcern,
    db: &Database,
    collection: &str,
    filter: Document,
    projection: Document,
) -> Result<Vec<Document>, StoreError> {
    patiently(async {
        let documents = db.collection::<Document>(collection);
        let cursor = documents.find(filter).projection(projection).read_concern(concern).await?;
        Ok(cursor.try_collect().await?)
    })
    .await
}

/// Puts [`PATIENCE`] around a command: a frozen server neither answers nor closes the connection.
pub(super) async fn patiently<T>(command: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, command)
        .await
        .unwrap_or_else(|_| Err(StoreError::Outage(format!("no answer within {} s", PATIENCE.as_secs()))))
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Insert,
    Update,
    Delete,
}

async fn send(
    db: &Database,
    verb: Verb,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<(Vec<Failure>, i64), StoreError> {
    let (mut failures, mut matched) = (Vec::new(), 0);
    let mut start = 0;
    while start < statements.len() {
        let mut array = RawArrayBuf::new();
        let mut bytes = 0;
        let mut end = start;
        for statement in statements.iter().skip(start).take(STATEMENTS) {
            bytes += statement.as_bytes().len();
            if bytes > BYTES && end > start {
                break;
            }
            array.push(statement.as_ref());
            end += 1;
        }
        let mut command = RawDocumentBuf::new();
        match verb {
            Verb::Insert => {
                command.append(cstr!("insert"), collection);
                command.append(cstr!("documents"), array);
            }
            Verb::Update => {
                command.append(cstr!("update"), collection);
                command.append(cstr!("updates"), array);
            }
            Verb::Delete => {
                command.append(cstr!("delete"), collection);
                command.append(cstr!("deletes"), array);
            }
        }
        command.append(cstr!("ordered"), false);
        command.append(cstr!("writeConcern"), raw(&write_concern())?);
        let reply = patiently(async { Ok(db.run_raw_command(command).await) }).await?;
        match reply {
            Ok(reply) => {
                failures.extend(read_reply(&reply, start)?);
                matched += reply.get_i32("n").map(i64::from).unwrap_or(0);
            }
            Err(error) => return Err(refused(db, collection, &error).await),
        }
        start = end;
    }
    Ok((failures, matched))
}

/// What the refusal of a whole command means.
pub(super) async fn refused(db: &Database, collection: &str, error: &mongodb::error::Error) -> StoreError {
    let (code, text) = (code(error), sentence(error));
    match of_command(error) {
        Blame::Content => StoreError::Unstorable { code, error: text },
        Blame::Collection => blame(db, collection, code, text).await,
        Blame::Server => StoreError::Outage(text),
    }
}

fn write_concern() -> Document {
    doc! { "w": "majority", "j": true, "wtimeout": MAJORITY_MS }
}

/// A reply with `ok: 1` can still say that statements failed, or that the majority did not follow.
fn read_reply(reply: &Document, offset: usize) -> Result<Vec<Failure>, StoreError> {
    let text = |document: &Document| document.get_str("errmsg").unwrap_or("no text").to_owned();
    if let Ok(concern) = reply.get_document("writeConcernError") {
        return Err(StoreError::Outage(text(concern)));
    }
    let Ok(errors) = reply.get_array("writeErrors") else { return Ok(Vec::new()) };
    let fields = |error: &Document| {
        let pattern = error.get_document("keyPattern").ok();
        pattern.map(|pattern| pattern.keys().cloned().collect()).unwrap_or_default()
    };
    let failure = |error: &Document| Failure {
        index: offset + usize::try_from(error.get_i32("index").unwrap_or(0)).unwrap_or(0),
        code: error.get_i32("code").unwrap_or(0),
        fields: fields(error),
        error: text(error),
    };
    Ok(errors.iter().filter_map(bson::Bson::as_document).map(failure).collect())
}
