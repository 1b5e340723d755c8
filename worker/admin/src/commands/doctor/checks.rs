//! The results of checks, and the exit code.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use crate::terminal::{Exit, Output, print, print_json};

/// How long a server may take to answer one request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How old a message is, in whole seconds.
#[must_use]
pub fn ago(published_nanos: i128) -> Duration {
    let published = i64::try_from(published_nanos / 1_000_000).unwrap_or(i64::MAX);
    let ms = shared::time::now_ms().saturating_sub(published).max(0);
    Duration::from_secs(ms as u64 / 1_000)
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    NotOk,
    /// Worth knowing, or not checked.
    Note,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "NOT OK",
            Self::Note => "note",
        }
    }
}

/// Prints each check as it is made, and counts.
#[derive(Debug)]
pub struct Checks {
    output: Output,
    made: usize,
    not_ok: usize,
}

impl Checks {
    /// None made yet.
    #[must_use]
    pub const fn new(output: Output) -> Self {
        Self { output, made: 0, not_ok: 0 }
    }

    /// This is as it should be.
    pub fn ok(&mut self, name: &str, found: impl Display) {
        self.add(State::Ok, name, found, "");
    }

    /// This is not, and what to do about it.
    pub fn bad(&mut self, name: &str, found: impl Display, to_do: impl Display) {
        self.not_ok += 1;
        self.add(State::NotOk, name, found, to_do);
    }

    /// This is worth knowing, or could not be looked at.
    pub fn note(&mut self, name: &str, found: impl Display) {
        self.add(State::Note, name, found, "");
    }

    fn add(&mut self, state: State, name: &str, found: impl Display, to_do: impl Display) {
        self.made += 1;
        let to_do = to_do.to_string();
        match self.output {
            Output::Table => {
                print(format_args!("{:<6}  {name:<16}  {found}", state.word()));
                if !to_do.is_empty() {
                    print(format_args!("{:<6}  {:<16}  → {to_do}", "", ""));
                }
            }
            Output::Json => print_json(&json!({
                "check": name, "state": state.word().to_lowercase().replace(' ', "_"), "found": found.to_string(),
                "to_do": (!to_do.is_empty()).then_some(to_do),
            })),
        }
    }

    /// The exit code.
    #[must_use]
    pub fn end(self) -> Exit {
        let Self { output, made, not_ok } = self;
        if output == Output::Table {
            print("");
            print(match not_ok {
                0 => format!("all is well ({made} checks)"),
                _ => format!("{not_ok} of {made} checks are not ok"),
            });
        }
        if not_ok == 0 { Exit::Done } else { Exit::Failed }
    }
}
