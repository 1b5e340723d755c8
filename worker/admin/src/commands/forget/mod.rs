//! `worker forget`: removes a project, or removes a person from one.
//!
//! A project (`project`): its messages and documents are removed while no worker has an event in flight, so that no
//! worker writes them again. A person (`person`): the name is stored as forgotten first; once every worker applies
//! that, documents are changed. docs/privacy.md lists what this does not reach.

mod command;
mod person;
mod project;

use std::process::ExitCode;

use self::command::ForgetCommand;
pub use self::command::Options;
use crate::terminal::{CommandError, Exit, Interrupt, finish, init_logs};

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
