//! Logs.

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

/// Which log lines are written, and in what format.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// The lowest level that is logged.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", ignore_case = true)]
    pub log_level: LogLevel,
    /// text for people, json for collectors.
    #[arg(long, env = "LOG_FORMAT", default_value = "text", ignore_case = true)]
    pub log_format: LogFormat,
}

/// Levels of log lines; WARNING and CRITICAL are the names the Python service used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Details of a library's work.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// What an operator should look at soon.
    #[value(alias = "WARNING")]
    Warn,
    /// What needs an operator now.
    #[value(alias = "CRITICAL")]
    Error,
}

impl LogLevel {
    /// What lets its lines pass.
    #[must_use]
    pub const fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
        }
    }
}

/// Formats of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}
