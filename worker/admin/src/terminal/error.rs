//! Why a command did not do everything: what happened, to what, what to do, and the exit code.

use std::borrow::Cow;
use std::fmt::Display;

use reqwest::StatusCode;

use super::exit::Exit;
use super::print::{counted, notice};

/// Why a command ended early, or did only a part.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// An argument or a setting cannot work. Its text names it and says what would be right.
    #[error("{0}")]
    Usage(String),
    /// NATS cannot be reached, or refused a request.
    #[error("{what}: {cause}. {advice}")]
    Nats {
        /// What was not done.
        what: String,
        /// What the client or the server says.
        cause: String,
        advice: Cow<'static, str>,
    },
    /// MongoDB cannot be reached, or refused a command.
    #[error("{what}: {cause}. {advice}")]
    Mongo {
        /// What was not done.
        what: String,
        /// What the driver or the server says, in a sentence.
        cause: String,
        advice: Cow<'static, str>,
    },
    /// A provider refused a request.
    #[error("{provider} answered {status} to {request}{}. Check that the token or account may do this", words(.said))]
    Refused {
        provider: &'static str,
        status: StatusCode,
        request: String,
        /// The provider's own text, if there was one.
        said: String,
    },
    /// A provider failed at the same request several times in a row.
    #[error("{provider} failed {} at {request}, at last: {cause}. Run the same command again later", times(*.failures))]
    Failing {
        provider: &'static str,
        /// How often in a row.
        failures: u32,
        request: String,
        cause: String,
    },
    /// A provider's answer is not of the shape that its API documents.
    #[error("{provider}'s answer to {request} cannot be read: {cause}. Check {setting}")]
    Unreadable {
        provider: &'static str,
        request: String,
        /// What is wrong with it.
        cause: String,
        /// The setting that says where the provider is.
        setting: &'static str,
    },
    /// The object of an argument does not exist.
    #[error("{what}. {advice}")]
    NotFound {
        /// What is not there.
        what: String,
        advice: Cow<'static, str>,
    },
    /// It failed as a whole.
    #[error("{what}. {advice}")]
    Failed { what: String, advice: Cow<'static, str> },
    /// A part failed; the rest was done.
    #[error("{failed} of {} failed; the others were done. {advice}", counted(*.all, .one, .many))]
    Partial { failed: u64, all: u64, one: &'static str, many: &'static str, advice: Cow<'static, str> },
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted: {0}")]
    Interrupted(Cow<'static, str>),
}

fn words(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times in a row") }
}

/// What to do when NATS does not answer.
const CHECK_NATS: &str = "Check NATS_URL, and that nats-server is up with JetStream on";

/// What to do when MongoDB does not answer.
const CHECK_MONGO: &str = "Check MONGO_URI, and that mongod is up; what was done stays, run the same command again";

impl CommandError {
    /// An argument or setting that cannot work, with the reader's text.
    pub fn usage(problem: impl Display) -> Self {
        Self::Usage(problem.to_string())
    }

    /// A failure of NATS, by what was not done.
    pub fn nats(what: impl Display, cause: impl Display) -> Self {
        Self::Nats { what: what.to_string(), cause: cause.to_string(), advice: CHECK_NATS.into() }
    }

    /// A failure of MongoDB, by what was not done.
    pub fn mongo(what: impl Display, cause: impl Display) -> Self {
        Self::Mongo { what: what.to_string(), cause: cause.to_string(), advice: CHECK_MONGO.into() }
    }

    /// A failure of the whole.
    pub fn failed(what: impl Display, advice: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed { what: what.to_string(), advice: advice.into() }
    }

    /// The object of an argument does not exist.
    pub fn not_found(what: impl Display, advice: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound { what: what.to_string(), advice: advice.into() }
    }

    /// A signal, without what to do next.
    #[must_use]
    pub const fn interrupted() -> Self {
        Self::Interrupted(Cow::Borrowed("run the same command again for the rest"))
    }

    /// The same, with what to do after a signal.
    #[must_use]
    pub fn going_on(self, how: impl Into<Cow<'static, str>>) -> Self {
        match self {
            Self::Interrupted(_) => Self::Interrupted(how.into()),
            other => other,
        }
    }

    /// The same, with other advice.
    #[must_use]
    pub fn advise(mut self, better: impl Into<Cow<'static, str>>) -> Self {
        match &mut self {
            Self::Nats { advice, .. }
            | Self::Mongo { advice, .. }
            | Self::NotFound { advice, .. }
            | Self::Failed { advice, .. }
            | Self::Partial { advice, .. } => *advice = better.into(),
            _ => {}
        }
        self
    }

    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Partial { .. } => Exit::Partial,
            Self::Interrupted(_) => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }

    /// Whether only this object is concerned, so that the others can go on. A wrong token concerns all.
    #[must_use]
    pub fn is_of_one(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status != StatusCode::UNAUTHORIZED,
            Self::Failing { .. } | Self::Unreadable { .. } | Self::NotFound { .. } => true,
            _ => false,
        }
    }
}

/// After this many failures in a row a provider counts as down.
const DOWN: u32 = 3;

/// Counts objects that are handled one by one: those that failed while the rest went on.
#[derive(Debug)]
pub struct Tally {
    one: &'static str,
    many: &'static str,
    done: u64,
    failed: u64,
    failing_in_a_row: u32,
}

impl Tally {
    /// For objects of this name.
    #[must_use]
    pub const fn of(one: &'static str, many: &'static str) -> Self {
        Self { one, many, done: 0, failed: 0, failing_in_a_row: 0 }
    }

    /// Counts one result: logs a failure, or returns the value.
    ///
    /// # Errors
    /// What concerns the others too: an interruption, NATS or MongoDB down, a provider that fails at everything.
    pub fn tried<T>(&mut self, name: impl Display, result: Result<T, CommandError>) -> Result<Option<T>, CommandError> {
        let error = match result {
            Ok(value) => {
                self.done += 1;
                self.failing_in_a_row = 0;
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        self.failing_in_a_row =
            if matches!(error, CommandError::Failing { .. }) { self.failing_in_a_row + 1 } else { 0 };
        if !error.is_of_one() || self.failing_in_a_row >= DOWN {
            return Err(error);
        }
        self.failed += 1;
        notice(format_args!("{name}: {error}"));
        Ok(None)
    }

    /// Counts a failure that was logged before.
    pub fn count_failed(&mut self, failed: u64) {
        self.failed += failed;
    }

    /// Counts this many as done.
    pub fn count_done(&mut self, done: u64) {
        self.done += done;
    }

    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// The result of all.
    ///
    /// # Errors
    /// When some failed: a partial success, or a failure if nothing was done.
    pub fn end(self, advice: impl Into<Cow<'static, str>>) -> Result<(), CommandError> {
        let Self { one, many, done, failed, .. } = self;
        match (failed, done) {
            (0, _) => Ok(()),
            (_, 0) => Err(CommandError::failed(format_args!("{} failed", counted(failed, one, many)), advice)),
            _ => Err(CommandError::Partial { failed, all: done + failed, one, many, advice: advice.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode) -> Result<(), CommandError> {
        Err(CommandError::Refused { provider: "GitHub", status, request: "/x".into(), said: "no".into() })
    }

    #[test]
    fn one_refusal_stops_no_other_and_a_wrong_token_stops_all() {
        let mut tally = Tally::of("repository", "repositories");
        assert!(tally.tried("a", refused(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS)).is_ok());
        assert!(tally.tried("b", Ok(())).is_ok());
        assert!(tally.tried("c", refused(StatusCode::UNAUTHORIZED)).is_err());
        let error = tally.end("Do this").unwrap_err();
        assert_eq!(error.exit(), Exit::Partial);
        assert_eq!(error.to_string(), "1 of 2 repositories failed; the others were done. Do this");
        let mut none = Tally::of("repository", "repositories");
        assert!(none.tried("a", refused(StatusCode::FORBIDDEN)).is_ok());
        assert_eq!(none.end("Do this").unwrap_err().exit(), Exit::Failed);
    }

    #[test]
    fn a_provider_that_fails_at_three_in_a_row_is_down() {
        let failing = || {
            let (request, cause) = ("/x".to_owned(), "500".to_owned());
            Err::<(), _>(CommandError::Failing { provider: "GitHub", failures: 3, request, cause })
        };
        let mut tally = Tally::of("delivery", "deliveries");
        for result in [failing(), failing(), Ok(()), failing(), failing()] {
            assert!(tally.tried("x", result).is_ok());
        }
        assert!(tally.tried("x", failing()).is_err());
    }
}
