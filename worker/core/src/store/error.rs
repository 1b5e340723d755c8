//! How a write can fail, and what is at fault.

use std::fmt;

use mongodb::error::{Error, ErrorKind};

use super::sentence::sentence;

/// MongoDB's "E11000 duplicate key".
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// MongoDB's "document failed validation": an operator has added a validator to the collection.
pub(super) const FAILED_VALIDATION: i32 = 121;

/// Too large or too deep. With such a code, the content is at fault, also in the refusal of a whole command.
const TOO_LARGE: [i32; 4] = [10_334, 17_280, 17_419, 17_420];

/// Codes of a *statement* that can never be applied: BadValue, FailedToParse, TypeMismatch, Overflow, InvalidLength,
/// InvalidBSON, PathNotViable, DollarPrefixedFieldName, InvalidIdField, EmptyFieldName, DottedFieldName. For a whole
/// command a server uses the same codes about itself (`--nojournal` is a BadValue), so there they count as an outage.
const STATEMENTS_FAULT: [i32; 11] = [2, 9, 14, 15, 16, 22, 28, 52, 53, 56, 57];

/// Codes of a server that fails over, stops or is too busy: HostUnreachable, HostNotFound, MaxTimeMSExpired,
/// WriteConcernFailed, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, ExceededTimeLimit, SocketException,
/// NotWritablePrimary, InterruptedAtShutdown, Interrupted, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
/// NotPrimaryOrSecondary.
const PASSES: [i32; 15] = [6, 7, 50, 64, 89, 91, 189, 262, 9001, 10_107, 11_600, 11_601, 11_602, 13_435, 13_436];

/// Why a batch could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// MongoDB is away, failing over, full, or refuses this worker as a whole. Not the events' fault: apply the
    /// batch again later.
    #[error("MongoDB does not take writes: {0}")]
    Outage(String),
    /// MongoDB takes writes, but none to this collection. Not the events' fault: apply them again later.
    #[error(transparent)]
    Blocked(Blocked),
    /// A command or document is too large, too deep or cannot be encoded: apply the events one by one to find which.
    #[error("MongoDB cannot hold it: {error} ({code})")]
    Unstorable {
        /// MongoDB's code; 0 when it was not asked.
        code: i32,
        /// Its text.
        error: String,
    },
}

/// A collection that MongoDB does not write to while it writes to others: a view, a time series, a validator, a foreign
/// unique index. Its events are written as soon as an operator has corrected it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocked {
    /// Its full name.
    pub collection: String,
    /// What MongoDB says.
    pub cause: String,
    /// What an operator can do.
    pub remedy: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collection, cause, remedy } = self;
        write!(f, "the collection {collection} cannot be written: {cause}. {remedy} Its events wait until then.")
    }
}

impl std::error::Error for Blocked {}

/// What else is at fault, by the code of a whole command or of a statement that is not at fault.
#[derive(Debug)]
pub(super) enum Blame {
    /// The server, or the connection to it.
    Server,
    /// The content of the command.
    Content,
    /// The collection, if the server takes writes to another one.
    Collection,
}

/// What is at fault when a whole command fails.
pub(super) fn of_command(error: &Error) -> Blame {
    match *error.kind {
        ErrorKind::Command(ref command) if TOO_LARGE.contains(&command.code) => Blame::Content,
        ErrorKind::Bson(_) | ErrorKind::BsonSerialization(_) => Blame::Content,
        ErrorKind::Command(ref command) if !PASSES.contains(&command.code) => Blame::Collection,
        _ => Blame::Server,
    }
}

/// What is at fault when one statement fails.
pub(super) fn of_statement(code: i32) -> Blame {
    if TOO_LARGE.contains(&code) || STATEMENTS_FAULT.contains(&code) {
        Blame::Content
    } else if PASSES.contains(&code) {
        Blame::Server
    } else {
        Blame::Collection
    }
}

/// What to do about a collection that answers with this code.
pub(super) const fn remedy(code: i32) -> &'static str {
    match code {
        DUPLICATE_KEY => "Drop this unique index: LD Connect needs only its own.",
        FAILED_VALIDATION => "Remove the collection's validator: `db.runCommand({collMod: <name>, validator: {}})`.",
        166 => "Drop the view, or rename it: LD Connect makes a collection of that name.",
        72 => "Drop the time series, or rename it: LD Connect makes an ordinary collection of that name.",
        _ => "Look at the collection's options and at the worker's privileges on it.",
    }
}

/// MongoDB's code; 0 when it gave none.
pub(super) fn code(error: &Error) -> i32 {
    if let ErrorKind::Command(command) = &*error.kind { command.code } else { 0 }
}

/// A failed read, or a failed command of an operator: no event is at fault.
impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::Outage(sentence(&error))
    }
}
