//! The credentials file, and how a process stops.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Where the credentials file is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Credentials file")]
pub struct CredentialsArgs {
    /// The credentials file; when it is absent no course has settings of its own.
    #[arg(long, env = "CREDENTIALS_FILE", default_value = "config_files/credentials_config.json")]
    pub credentials_file: PathBuf,
}

/// How long a process may take to stop.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Stopping")]
pub struct ShutdownArgs {
    /// How long what is in flight may take after SIGTERM, such as 20s.
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "20s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,
}
