//! What a command writes: its answer on standard output, notices on standard error, both escaped.
//!
//! A progress bar stays the last line of the terminal: everything else is written above it.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use serde_json::Value;

use super::escape;

/// The bar that is on the terminal.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes something above the bar.
pub(super) fn aside(write: impl FnOnce()) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Sets the bar that is on the terminal.
pub(super) fn show(bar: ProgressBar) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
}

/// The bar is no longer on the terminal.
pub(super) fn hide() {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// A count with its noun.
///
/// ```
/// use worker_admin::terminal::counted;
///
/// assert_eq!(counted(1, "hook", "hooks"), "1 hook");
/// assert_eq!(counted(0, "delivery", "deliveries"), "0 deliveries");
/// ```
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Writes a line of the answer.
pub fn print(line: impl Display) {
    write_answer(&escape::line(&line.to_string()));
}

/// Writes a text of the answer, which may have several lines.
pub fn print_block(text: &str) {
    write_answer(&escape::block(text));
}

/// Writes a line of the answer for scripts.
pub fn print_json(value: &Value) {
    write_answer(&escape::json(&value.to_string()));
}

/// Writes a line beside the answer: progress, or what went wrong.
pub fn notice(line: impl Display) {
    let line = line.to_string();
    // A closed stderr must not end what was asked for.
    aside(|| drop(writeln!(std::io::stderr(), "{}", escape::line(&line))));
}

/// Writes text that is already escaped.
pub(super) fn write_answer(text: &str) {
    // A reader that has closed the pipe (`
    // head`) needs no more; the command goes on all the same.
    aside(|| drop(writeln!(std::io::stdout(), "{text}")));
}
