//! `worker send-test`: one delivery as a team's sender would send it, followed to LD Eval, and taken away again.

mod follow;
mod options;
mod remove;
mod samples;
mod send;

use std::process::ExitCode;
use std::time::Instant;

use shared::time::now_ms;
use worker_core::deliveries::Reader;

pub use self::options::Options;
use crate::terminal::{CommandError, Exit, finish, notice};
use follow::Report;

pub async fn run(options: Options) -> ExitCode {
    finish(async move { test(options).await.map(|()| Exit::Done) }).await
}

async fn test(options: Options) -> Result<(), CommandError> {
    let sender = send::Sender::new(&options)?;
    let connection = options.connect.open().await?;
    let store = options.mongo.open().await.map_err(CommandError::usage)?;
    let reader = Reader::new(connection.jetstream.clone(), connection.topology.clone(), store.clone());
    let number = number();
    let mut report = Report::new(options.output);
    let deadline = Instant::now() + options.timeout;

    let made = sender.send(&samples::made(options.source, number, now_ms()), number).await?;
    report.station("accepted", format_args!("{} answered 200, delivery {made}", sender.url()));
    let notified = follow::to_ld_eval(&reader, &options, &made, deadline, &mut report).await;

    // What was accepted is taken away, however far it came.
    let removed = remove::all(&connection, &reader, &store, &sender, &options, &made, number).await;
    match (notified, removed) {
        (Ok(()), Ok(())) => {
            report.station("removed", "its document and its events are gone again");
            Ok(())
        }
        (Err(stuck), removed) => {
            if let Err(error) = removed {
                notice(&error);
            }
            Err(stuck)
        }
        (Ok(()), Err(error)) => Err(error),
    }
}

/// A number of this test alone. Taiga's and GitHub's own numbers are far from it.
fn number() -> u32 {
    let seconds = u32::try_from(now_ms() / 1_000 % 100_000_000).unwrap_or(0);
    2_000_000_000 + seconds
}
