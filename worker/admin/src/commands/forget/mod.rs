//! `worker forget`: removes a project, or removes a person from one.
//!
//! A project (`project`): its messages and documents are removed while no worker has an event in flight, so nothing
//! that was under way brings them back. A person (`person`): the name is remembered as forgotten first; once every
//! worker applies that, documents are changed. docs/privacy.md lists what this does not reach.

mod person;
mod project;

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use shared::config::LogArgs;
use shared::ids::Project;

use crate::args::InvalidArg;
use crate::streams::scan::Stored;
use crate::streams::{ConnectArgs, Connection};
use crate::terminal::{CommandError, Exit, Interrupt, Output, finish, init_logs, print, print_json};
use worker_core::config::MongoArgs;
use worker_core::pipeline::dead_letter;
use worker_core::store::Store;

/// What to forget.
#[derive(Debug, Args)]
pub struct Options {
    /// The project.
    #[arg(long)]
    prj: Project,
    /// Only this person of it, by any name that documents show: a login at GitHub, a user name at Taiga, a name
    /// in commits or in the sheet. May be repeated. Without it the whole project is removed.
    #[arg(long, value_parser = name)]
    login: Vec<String>,
    /// Also delete the processed messages that name the person from LD_EVENTS and LD_DEAD, now and not when they
    /// are too old. A replay into an empty database will lack those events.
    #[arg(long, requires = "login")]
    erase_messages: bool,
    /// Really do it; without it the numbers are printed and nothing is changed.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Print the numbers and change nothing; the same as leaving out --yes.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    logs: LogArgs,
}

fn name(text: &str) -> Result<String, InvalidArg> {
    let name = text.trim();
    if name.is_empty() { Err(InvalidArg("write a name, such as mduran")) } else { Ok(name.to_owned()) }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    init_logs(&options.logs);
    finish(async move {
        let interrupt = Interrupt::listen();
        let connection = options.connect.open().await?;
        let store = options.mongo.open().await.map_err(CommandError::usage)?;
        let command = ForgetCommand { options, connection, store, interrupt };
        match command.options.login.is_empty() {
            true => command.project().await?,
            false => command.person().await?,
        }
        Ok(Exit::Done)
    })
    .await
}

struct ForgetCommand {
    options: Options,
    connection: Connection,
    store: Store,
    interrupt: Interrupt,
}

impl ForgetCommand {
    fn print(&self, verb: &str, things: &str, of: &str, count: u64) {
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

/// MongoDB did not do it.
fn mongo(error: impl std::fmt::Display) -> CommandError {
    CommandError::mongo("Not everything was forgotten", error).advise("Run the same command again")
}

/// The JSON of a message, if it is any.
fn payload(message: &Stored) -> Option<Value> {
    let bytes = shared::envelope::payload(&message.headers, &message.payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a message is of the project: a fact, a notification, a look-up, or a dead letter.
fn is_of(message: &Stored, prj: &Project) -> bool {
    let payload = payload(message).unwrap_or_default();
    let named = [&payload["prj"], &payload["asker"]["prj"]].into_iter().find_map(Value::as_str);
    // A dead letter of an event names it in its subject: `….<prj>.<event>`.
    let from = || message.headers.get(dead_letter::SUBJECT)?.as_str().rsplit('.').nth(1);
    named.or_else(from) == Some(prj.as_str())
}
