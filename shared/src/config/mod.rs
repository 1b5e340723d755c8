//! Settings: flags, environment, files. The only module that reads the environment.
//!
//! Precedence of a setting `NAME`, highest first: the flag `--name`, the variable `NAME`, the file that
//! `NAME_FILE` names, the same two in `.env` of the working folder, the default. An empty variable is unset.

// What there is to set, one concern a file.
mod nats;
mod logs;
mod traces;
mod signatures;
mod process;
mod team_pages;

// How it is read.
mod origin;
mod dotenv;
mod environment;
mod command_line;
mod unchecked;

pub use command_line::{parse, parse_or};
pub use dotenv::DotenvError;
pub use environment::{EnvironmentError, ServiceManager};
pub use logs::{LogArgs, LogFormat, LogLevel};
pub use nats::{NatsArgs, StreamArgs};
pub use origin::Origin;
pub use process::{CredentialsArgs, ShutdownArgs};
pub use signatures::{SignatureArgs, SigningSecrets, TeamSecrets};
pub use team_pages::TeamPageArgs;
pub use traces::TraceArgs;
pub use unchecked::{Checked, Setting, Unchecked};
