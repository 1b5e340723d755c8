//! What a person sees of a command: its answer, notices, tables, progress, errors and exit codes.
//!
//! Everything goes through here, because here what came from outside is escaped ([`escape`]).

pub mod error;
pub mod escape;
pub mod exit;
pub mod interrupt;
pub mod progress;
pub mod table;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;
use shared::config::{LogArgs, LogLevel};

pub use self::error::{CommandError, Tally};
pub use self::exit::Exit;
pub use self::interrupt::Interrupt;
pub use self::progress::Progress;
pub use self::table::{Column, Table};

/// How a command writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON object a line, for scripts.
    Json,
}

/// Starts logging for a person who watches: INFO lines are left out, unless more than the default is asked for.
pub fn init_logs(args: &LogArgs) {
    let log_level = if args.log_level == LogLevel::Info { LogLevel::Warn } else { args.log_level };
    shared::telemetry::init_logs(&LogArgs { log_level, ..args.clone() });
}

/// So many of something, as people say it.
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
    progress::aside(|| drop(writeln!(std::io::stderr(), "{}", escape::line(&line))));
}

/// Writes what is escaped already.
fn write_answer(text: &str) {
    // A reader that has gone (`| head`) has seen enough; what was asked for is done all the same.
    progress::aside(|| drop(writeln!(std::io::stdout(), "{text}")));
}

/// Runs a command's body and turns an error into a line and an exit code.
pub async fn finish(body: impl Future<Output = Result<Exit, CommandError>>) -> ExitCode {
    match body.await {
        Ok(exit) => exit.into(),
        Err(error @ CommandError::Interrupted(_)) => {
            notice(&error);
            error.exit().into()
        }
        Err(error) => {
            notice(format_args!("error: {error}"));
            error.exit().into()
        }
    }
}
