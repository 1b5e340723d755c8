//! Commands: how they are sent, and whose fault a failure is.

use std::time::Duration;

use bson::raw::cstr;
use bson::{Document, RawArrayBuf, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::ReadConcern;

/// How many statements one command carries at most, and how many bytes of them: the server's limits
/// are 100,000 and 48 MB, but a smaller command blocks others for a shorter time.
const STATEMENTS: usize = 1_000;
const BYTES: usize = 16 * 1024 * 1024;

/// How long a command may take before MongoDB counts as away.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the majority may take; less than [`PATIENCE`], so that the server says what is wrong.
const MAJORITY_MS: i32 = 20_000;

/// MongoDB's "E11000 duplicate key".
const DUPLICATE_KEY: i32 = 11_000;

/// Codes that say "this statement can never work", whatever the server's condition: BadValue,
/// FailedToParse, TypeMismatch, Overflow, InvalidLength, InvalidBSON, PathNotViable, DollarPrefixedFieldName,
/// InvalidIdField, EmptyFieldName, DottedFieldName, DocumentValidationFailure, a document or key that is
/// too large, nesting that is too deep. Every other code is taken for an outage: it spends no message's
/// budget and stops the pulling instead.
const STATEMENTS_FAULT: [i32; 16] = [2, 9, 14, 15, 16, 22, 28, 52, 53, 56, 57, 121, 10_334, 17_280, 17_419, 17_420];

/// Why a batch could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// MongoDB is away, failing over, full, or refuses us. Not the events' fault: wait and apply again.
    #[error("MongoDB does not take writes: {0}")]
    Outage(String),
    /// A whole command was refused for what is in it: apply the events one by one to find which.
    #[error("MongoDB refused a command: {error} ({code})")]
    Command {
        /// MongoDB's code.
        code: i32,
        /// Its text.
        error: String,
    },
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match *error.kind {
            ErrorKind::Command(ref command) if STATEMENTS_FAULT.contains(&command.code) => {
                Self::Command { code: command.code, error: command.message.clone() }
            }
            ErrorKind::Bson(_) | ErrorKind::BsonSerialization(_) => Self::Command { code: 0, error: error.to_string() },
            _ => Self::Outage(super::sentence(&error)),
        }
    }
}

/// One statement of a command that was not applied.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Index among the statements given.
    pub(super) index: usize,
    code: i32,
    /// MongoDB's text.
    pub(super) error: String,
}

impl Failure {
    pub(super) const fn is_duplicate_key(&self) -> bool {
        self.code == DUPLICATE_KEY
    }

    pub(super) fn is_statements_fault(&self) -> bool {
        STATEMENTS_FAULT.contains(&self.code)
    }
}

/// Sends `update` commands, unordered, majority and journalled. Returns the statements that failed.
pub(super) async fn update(
    db: &Database,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<Vec<Failure>, StoreError> {
    send(db, Verb::Update, collection, statements).await
}

/// The same for `insert`, of whole documents.
pub(super) async fn insert(
    db: &Database,
    collection: &str,
    documents: &[RawDocumentBuf],
) -> Result<Vec<Failure>, StoreError> {
    send(db, Verb::Insert, collection, documents).await
}

/// The same for `delete`; a failed statement is an error, because none of ours can fail by itself.
pub(super) async fn delete(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> Result<(), StoreError> {
    none_failed(send(db, Verb::Delete, collection, statements).await?)
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
) -> Result<Vec<Failure>, StoreError> {
    let mut failures = Vec::new();
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
        command.append(cstr!("writeConcern"), write_concern()?);
        let reply = patiently(async { Ok(db.run_raw_command(command).await?) }).await?;
        failures.extend(read_reply(&reply, start)?);
        start = end;
    }
    Ok(failures)
}

fn write_concern() -> Result<RawDocumentBuf, StoreError> {
    super::statement::raw(&doc! { "w": "majority", "j": true, "wtimeout": MAJORITY_MS })
}

/// A reply with `ok: 1` can still say that statements failed, or that the majority did not follow.
fn read_reply(reply: &Document, offset: usize) -> Result<Vec<Failure>, StoreError> {
    let text = |document: &Document| document.get_str("errmsg").unwrap_or("no text").to_owned();
    if let Ok(concern) = reply.get_document("writeConcernError") {
        return Err(StoreError::Outage(text(concern)));
    }
    let Ok(errors) = reply.get_array("writeErrors") else { return Ok(Vec::new()) };
    let failure = |error: &Document| Failure {
        index: offset + usize::try_from(error.get_i32("index").unwrap_or(0)).unwrap_or(0),
        code: error.get_i32("code").unwrap_or(0),
        error: text(error),
    };
    Ok(errors.iter().filter_map(bson::Bson::as_document).map(failure).collect())
}
