//! Commands: how they are sent, and what becomes of a failure.

use std::borrow::Cow;
use std::time::Duration;

use bson::raw::cstr;
use bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};

use super::encode::raw;
use super::error::{Blame, Blocked, DUPLICATE_KEY, StoreError, code, of_command, of_statement, remedy};
use super::sentence::{sentence, without_values};

/// How often a write that failed with E11000 is retried.
pub(super) const RETRIES: usize = 10;

/// Commands of one batch in flight. Together they share MongoDB's journal flushes.
pub(super) const COMMANDS: usize = 16;

/// Statements of one command, and their bytes. The server's limits are 100,000 and 48 MB, but a smaller command blocks
/// others for a shorter time.
const STATEMENTS: usize = 1_000;
const BYTES: usize = 16 * 1024 * 1024;

/// A command that takes longer counts as an outage of MongoDB.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// `wtimeout` of a write. Less than [`COMMAND_TIMEOUT`], so that the server's error says what is wrong.
const MAJORITY_MS: i32 = 20_000;

/// A statement of a command that was not applied.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Index among the statements given.
    pub(super) index: usize,
    code: i32,
    /// On E11000, the fields of the index.
    fields: Vec<String>,
    /// MongoDB's text.
    pub(super) error: String,
}

impl Failure {
    /// A document of the same natural key is stored. `E11000` on a foreign index is something else.
    pub(super) fn is_conflict(&self, key: &[&str]) -> bool {
        self.code == DUPLICATE_KEY && (self.fields == key || self.fields == ["_id"])
    }

    /// A document of the same `_id` is stored.
    pub(super) fn is_duplicate_id(&self) -> bool {
        self.is_conflict(&[])
    }

    /// Why it can never be applied, if the statement itself is the cause.
    pub(super) fn fault(&self) -> Option<&str> {
        matches!(of_statement(self.code), Blame::Content).then_some(self.error.as_str())
    }

    /// Otherwise: the collection's fault, or an outage.
    pub(super) async fn into_error(self, db: &Database, collection: &str) -> StoreError {
        match of_statement(self.code) {
            Blame::Collection => blame(db, collection, self.code, self.error).await,
            Blame::Server | Blame::Content => StoreError::Outage(self.error),
        }
    }
}

/// A collection that refuses writes is blocked if the server takes other writes; otherwise it is an outage.
pub(super) async fn blame(db: &Database, collection: &str, code: i32, cause: String) -> StoreError {
    match probe(db, "ld_blame").await {
        Ok(()) => StoreError::Blocked(Blocked { collection: collection.to_owned(), cause, remedy: remedy(code) }),
        Err(_) => StoreError::Outage(cause),
    }
}

/// Runs a write that must be acknowledged by the majority and journalled.
pub(super) async fn probe(db: &Database, who: &str) -> Result<(), StoreError> {
    let statement = doc! { "q": { "_id": who }, "u": { "$currentDate": { "at": true } }, "upsert": true };
    let command = doc! { "update": "ld_probe", "updates": [statement], "writeConcern": write_concern() };
    let failures = with_timeout(async {
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

/// As [`update`], with how many documents matched.
pub(super) async fn update_counting(
    db: &Database,
    collection: &str,
    statements: &[RawDocumentBuf],
) -> Result<(Vec<Failure>, i64), StoreError> {
    send(db, Verb::Update, collection, ready(statements)).await
}

/// The same for statements that are not encoded yet.
pub(super) async fn update_each(
    db: &Database,
    collection: &str,
    statements: Encoded<'_>,
) -> Result<Vec<Failure>, StoreError> {
    Ok(send(db, Verb::Update, collection, statements.map(owned)).await?.0)
}

/// The same for `insert`, of whole documents.
pub(super) async fn insert_each(
    db: &Database,
    collection: &str,
    documents: Encoded<'_>,
) -> Result<Vec<Failure>, StoreError> {
    Ok(send(db, Verb::Insert, collection, documents.map(owned)).await?.0)
}

fn owned<'a>(statement: Result<RawDocumentBuf, StoreError>) -> Result<Cow<'a, RawDocument>, StoreError> {
    statement.map(Cow::Owned)
}

fn ready(statements: &[RawDocumentBuf]) -> impl Iterator<Item = Result<Cow<'_, RawDocument>, StoreError>> {
    statements.iter().map(|statement| Ok(Cow::Borrowed(statement.as_ref())))
}

/// As [`update`], for `delete` commands. A failed statement is an error: none of our deletes can fail by itself.
pub(super) async fn delete(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> Result<(), StoreError> {
    match send(db, Verb::Delete, collection, ready(statements)).await?.0.into_iter().next() {
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

/// Majority read, for a result that makes us *skip* a write. A document that only the primary has could be rolled back,
/// and our write would be lost.
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
    with_timeout(async {
        let documents = db.collection::<Document>(collection);
        let cursor = documents.find(filter).projection(projection).read_concern(concern).await?;
        Ok(cursor.try_collect().await?)
    })
    .await
}

/// Bounds a command by [`COMMAND_TIMEOUT`]: a frozen server neither answers nor closes the connection.
pub(super) async fn with_timeout<T>(command: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(COMMAND_TIMEOUT, command)
        .await
        .unwrap_or_else(|_| Err(StoreError::Outage(format!("no answer within {} s", COMMAND_TIMEOUT.as_secs()))))
}

/// Statements or documents, each encoded when it is asked for.
pub(super) type Encoded<'a> = Box<dyn Iterator<Item = Result<RawDocumentBuf, StoreError>> + Send + 'a>;

#[derive(Debug, Clone, Copy)]
enum Verb {
    Insert,
    Update,
    Delete,
}

/// Statements are encoded as they are needed, so that a large one is in memory as few times as possible.
async fn send<'a>(
    db: &Database,
    verb: Verb,
    collection: &str,
    statements: impl Iterator<Item = Result<Cow<'a, RawDocument>, StoreError>> + Send,
) -> Result<(Vec<Failure>, i64), StoreError> {
    let (mut failures, mut matched) = (Vec::new(), 0);
    let mut start = 0;
    let mut statements = statements.peekable();
    while statements.peek().is_some() {
        let mut array = RawArrayBuf::new();
        let (mut bytes, mut count) = (0, 0);
        let size = |statement: &Result<Cow<'a, RawDocument>, StoreError>| {
            statement.as_ref().map_or(0, |statement| statement.as_bytes().len())
        };
        while let Some(statement) =
            statements.next_if(|next| count == 0 || (count < STATEMENTS && bytes + size(next) <= BYTES))
        {
            let statement = statement?;
            bytes += statement.as_bytes().len();
            count += 1;
            array.push(statement.as_ref());
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
        let reply = with_timeout(async { Ok(db.run_raw_command(command).await) }).await?;
        match reply {
            Ok(reply) => {
                failures.extend(read_reply(&reply, start)?);
                matched += reply.get_i32("n").map(i64::from).unwrap_or(0);
            }
            Err(error) => return Err(refused(db, collection, &error).await),
        }
        start += count;
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

/// For the driver's own methods: acknowledged by the majority and journalled, without a time limit.
#[must_use]
pub fn majority() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

/// The same with the time limit of our commands.
pub(super) fn majority_in_time() -> WriteConcern {
    let mut concern = majority();
    concern.w_timeout = Some(Duration::from_millis(MAJORITY_MS.unsigned_abs().into()));
    concern
}

/// A reply with `ok: 1` can still report failed statements, or a write concern error.
fn read_reply(reply: &Document, offset: usize) -> Result<Vec<Failure>, StoreError> {
    let text = |document: &Document| without_values(document.get_str("errmsg").unwrap_or("no text")).to_owned();
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
