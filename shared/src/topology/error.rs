//! Why streams and consumers are not as they must be.

use std::fmt;

/// The name when it is no stream that cannot be reached.
pub(super) const NATS: &str = "NATS";

/// Why the streams or consumers are not as they must be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnsureError {
    /// The server did not answer, or refused.
    #[error("cannot {what} {name}: {error}")]
    Failed {
        /// Verb and kind: `create stream`.
        what: &'static str,
        /// Which one.
        name: String,
        /// What the server says.
        error: String,
    },
    /// Streams are there already, with settings that break a promise and that NATS cannot change.
    #[error("{}", list(.0))]
    Unfit(Vec<Unfit>),
}

/// A setting of a stream that breaks a promise and that NATS cannot change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The stream's full name.
    pub stream: String,
    /// What is wrong, to follow the name: `is stored in memory`.
    pub what: String,
}

impl Unfit {
    /// What to do about it, a sentence.
    #[must_use]
    pub fn advice(&self) -> String {
        format!(
            "NATS cannot change that. Once nothing in it waits for a worker, delete it with `nats stream rm {}`: it is \
             created again within seconds",
            self.stream
        )
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream {} {}. {}", self.stream, self.what, self.advice())
    }
}

fn list(unfit: &[Unfit]) -> String {
    unfit.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl EnsureError {
    /// Whether it is this stream (or NATS as a whole) that is not as it must be.
    #[must_use]
    pub fn concerns(&self, stream: &str) -> bool {
        match self {
            Self::Failed { name, .. } => name == stream || name == NATS,
            Self::Unfit(unfit) => unfit.iter().any(|unfit| unfit.stream == stream),
        }
    }

    pub(super) fn new(what: &'static str, name: &str, error: impl ToString) -> Self {
        Self::Failed { what, name: name.to_owned(), error: error.to_string() }
    }
}
