//! What keeps the worker from its work: found by readiness, shown by `/readyz`, the status page and `doctor`.

use std::fmt;

use serde::Serialize;
use tokio::sync::watch;

/// The part that fails. The status page chooses its words by this, so nothing needs to read a text to find it out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Nats,
    Mongo,
    /// One collection that cannot be written: only its events wait.
    Collection(String),
    Eval,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nats => f.write_str("NATS"),
            Self::Mongo => f.write_str("MongoDB"),
            Self::Collection(name) => write!(f, "the collection {name}"),
            Self::Eval => f.write_str("LD Eval"),
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub part: Part,
    /// What happened, without the part and without a full stop: `no answer within 4 s`.
    pub what: String,
    /// What to do, a sentence: `Check NATS_URL and the server.`
    pub advice: String,
}

impl Problem {
    pub fn new(part: Part, what: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { part, what: what.to_string(), advice: advice.into() }
    }

    pub fn nats(what: impl fmt::Display) -> Self {
        Self::new(Part::Nats, what, "Check NATS_URL and the server.")
    }

    pub fn mongo(what: impl fmt::Display) -> Self {
        Self::new(Part::Mongo, what, "Check MONGO_URI and the server.")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, what, advice } = self;
        write!(f, "{part}: {what}. {advice}")
    }
}

/// The problems as of the last check of readiness; none before the first.
pub type Problems = watch::Receiver<Vec<Problem>>;
