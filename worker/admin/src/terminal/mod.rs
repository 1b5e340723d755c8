//! The output of a command: its answer, notices, tables, progress, errors and exit codes.
//!
//! All output goes through here, because text from outside is escaped here ([`escape`]).

pub mod colour;
pub mod error;
pub mod escape;
pub mod exit;
pub mod interrupt;
pub mod print;
pub mod progress;
pub mod table;

use std::process::ExitCode;

use clap::ValueEnum;
use shared::config::{LogArgs, LogLevel};

pub use self::colour::{Colour, is_terminal, print_coloured};
pub use self::error::{CommandError, Tally};
pub use self::exit::Exit;
pub use self::interrupt::Interrupt;
pub use self::print::{counted, notice, print, print_block, print_json};
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
