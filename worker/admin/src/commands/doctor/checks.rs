//! The results of checks, and the exit code.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use crate::terminal::{Exit, Output, counted, print, print_json};

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

    const fn json(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "not_ok",
            Self::Note => "note",
        }
    }
}

/// Prints each check as it is made, and counts.
#[derive(Debug)]
pub struct Checks {
    output: Output,
    problems_only: bool,
    made: usize,
    notes: usize,
    /// What was checked where something is not ok.
    not_ok: Vec<String>,
}

impl Checks {
    /// None made yet.
    #[must_use]
    pub const fn new(output: Output, problems_only: bool) -> Self {
        Self { output, problems_only, made: 0, notes: 0, not_ok: Vec::new() }
    }

    /// This is as it should be.
    pub fn ok(&mut self, name: &str, found: impl Display) {
        self.add(State::Ok, name, found, "");
    }

    /// This is not, and what to do about it.
    pub fn bad(&mut self, name: &str, found: impl Display, to_do: impl Display) {
        self.not_ok.push(name.to_owned());
        self.add(State::NotOk, name, found, to_do);
    }

    /// This is worth knowing, or could not be looked at.
    pub fn note(&mut self, name: &str, found: impl Display) {
        self.notes += 1;
        self.add(State::Note, name, found, "");
    }

    fn add(&mut self, state: State, name: &str, found: impl Display, to_do: impl Display) {
        self.made += 1;
        if self.problems_only && state != State::NotOk {
            return;
        }
        let to_do = to_do.to_string();
        match self.output {
            Output::Table => {
                print(format_args!("{:<6}  {name:<16}  {found}", state.word()));
                if !to_do.is_empty() {
                    print(format_args!("{:<6}  {:<16}  → {to_do}", "", ""));
                }
            }
            Output::Json => print_json(&json!({
                "check": name, "state": state.json(), "found": found.to_string(),
                "to_do": (!to_do.is_empty()).then_some(to_do),
            })),
        }
    }

    /// The summary, which ends every run, and the exit code.
    #[must_use]
    pub fn end(self) -> Exit {
        let Self { output, made, notes, mut not_ok, .. } = self;
        let count = not_ok.len();
        not_ok.dedup();
        let notes = if notes == 0 { String::new() } else { format!(", {}", counted(notes as u64, "note", "notes")) };
        let found = match count {
            0 => format!("all is well ({made} checks{notes})"),
            _ => format!("{count} of {made} checks are not ok: {}{notes}", not_ok.join(", ")),
        };
        let state = if count == 0 { State::Ok } else { State::NotOk };
        match output {
            Output::Table => {
                print("");
                print(found);
            }
            Output::Json => print_json(&json!({
                "check": "summary", "state": state.json(), "found": found, "to_do": null, "checks": made, "not_ok": count,
            })),
        }
        if count == 0 { Exit::Done } else { Exit::Failed }
    }
}
