//! What both commands share: options, connections, what is printed, and the project of a message.

use clap::Args;
use serde_json::{Value, json};
use shared::config::LogArgs;
use shared::ids::Project;
use worker_core::config::MongoArgs;
use worker_core::pipeline::dead_letter;
use worker_core::store::Store;

use crate::args::InvalidArg;
use crate::streams::scan::Stored;
use crate::streams::{ConnectArgs, Connection};
use crate::terminal::{CommandError, Interrupt, Output, print, print_json};

/// What to forget.
#[derive(Debug, Args)]
pub struct Options {
    /// The project.
    #[arg(long)]
    pub(super) prj: Project,
    /// Only this person of it, by any name that documents show: a login at GitHub, a user name at Taiga, a name
    /// in commits or in the sheet. May be repeated. Without it the whole project is removed.
    #[arg(long, value_parser = name)]
    pub(super) login: Vec<String>,
    /// Also delete the processed messages that name the person from LD_EVENTS and LD_DEAD, now and not when they
    /// are too old. A replay into an empty database will lack those events.
    #[arg(long, requires = "login")]
    pub(super) erase_messages: bool,
    /// Really do it; without it the numbers are printed and nothing is changed.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) yes: bool,
    /// Print the numbers and change nothing; the same as leaving out --yes.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) mongo: MongoArgs,
    #[command(flatten)]
    pub(super) logs: LogArgs,
}

fn name(text: &str) -> Result<String, InvalidArg> {
    let name = text.trim();
    if name.is_empty() { Err(InvalidArg("write a name, such as mduran")) } else { Ok(name.to_owned()) }
}

pub(super) struct ForgetCommand {
    pub(super) options: Options,
    pub(super) connection: Connection,
    pub(super) store: Store,
    pub(super) interrupt: Interrupt,
}

impl ForgetCommand {
    pub(super) fn print(&self, verb: &str, things: &str, of: &str, count: u64) {
        let done = self.options.yes;
        match self.options.output {
            Output::Json => {
                print_json(&json!({ "in": of, "what": things, "count": count, "verb": verb, "done": done }))
            }
            Output::Table if done => print(format_args!("{verb} {count} {things} of {of}")),
            Output::Table => print(format_args!("{count} {things} of {of} would be {verb}")),
        }
    }
}

/// A failure of MongoDB.
pub(super) fn mongo(error: impl std::fmt::Display) -> CommandError {
    CommandError::mongo("Not everything was forgotten", error).advise("Run the same command again")
}

/// The JSON of a message, if it is JSON.
pub(super) fn payload(message: &Stored) -> Option<Value> {
    let bytes = shared::envelope::payload(&message.headers, &message.payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a message is of the project: a fact, a notification, a look-up, or a dead letter.
pub(super) fn is_of(message: &Stored, prj: &Project) -> bool {
    let payload = payload(message).unwrap_or_default();
    let named = [&payload["prj"], &payload["asker"]["prj"]].into_iter().find_map(Value::as_str);
    // A dead letter of an event names it in its subject: `….<prj>.<event>`.
    let from = || message.headers.get(dead_letter::SUBJECT)?.as_str().rsplit('.').nth(1);
    named.or_else(from) == Some(prj.as_str())
}
