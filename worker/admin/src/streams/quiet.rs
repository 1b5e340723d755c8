//! A time in which no worker (and no replay) has an event in flight, so that no worker writes again what a command
//! removes.
//!
//! A purge alone would hide messages in flight: the server forgets which consumer has a purged message.

use std::time::{Duration, Instant};

use async_nats::datetime;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::Stream;
use futures::TryStreamExt as _;
use shared::topology::{ACK_WAIT, StreamName};

use super::connection::Connection;
use crate::terminal::{CommandError, Interrupt, notice};

/// How long to wait for messages in flight: those of a dead worker are redelivered after the ack wait.
const IN_FLIGHT_TIMEOUT: Duration = ACK_WAIT.saturating_mul(3);

/// How long the consumers are paused at most, if this command dies before it resumes them.
const PAUSE: Duration = ACK_WAIT.saturating_mul(8);

/// How often the consumers are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs `work` while the consumers of `LD_EVENTS` are paused and nothing is in flight.
///
/// # Errors
/// An error of `work`; and, before it, when the command was interrupted or the consumers cannot be paused.
pub async fn while_quiet<T>(
    connection: &Connection,
    interrupt: &Interrupt,
    work: impl AsyncFnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    // Once before the pause, too: a paused consumer does not redeliver what a dead worker had in flight.
    in_flight_is_settled(connection, interrupt).await?;
    let events = connection.stream(StreamName::Events).await?;
    let names: Vec<String> = events.consumer_names().try_collect().await.map_err(unread)?;
    let done = match pause(&events, &names).await {
        Ok(()) => match in_flight_is_settled(connection, interrupt).await {
            Ok(()) => work().await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    for name in &names {
        // A replay may have ended meanwhile, and its consumer with it.
        if let Err(error) = events.resume_consumer(name).await
            && events.consumer_info(name).await.is_ok()
        {
            notice(format_args!("{name} stays paused for {} s more: {error}", PAUSE.as_secs()));
        }
    }
    done
}

async fn pause(events: &Stream, names: &[String]) -> Result<(), CommandError> {
    let until = datetime::add_std_duration(datetime::now(), PAUSE).map_err(|error| {
        CommandError::failed(format_args!("the clock cannot be read: {error}"), "Set this machine's clock")
    })?;
    for name in names {
        events.pause_consumer(name, until).await.map_err(|error| {
            CommandError::nats(format_args!("Nothing was removed, because {name} cannot be paused"), error)
                .advise("Pausing needs nats-server 2.11 or later")
        })?;
    }
    Ok(())
}

/// Waits until what workers (and replays) have in flight now is processed.
///
/// # Errors
/// When it was interrupted, or a worker takes too long.
pub async fn in_flight_is_settled(connection: &Connection, interrupt: &Interrupt) -> Result<(), CommandError> {
    let events = connection.stream(StreamName::Events).await?;
    let in_flight: Vec<Info> = events.consumers().try_collect().await.map_err(unread)?;
    let began = Instant::now();
    for before in in_flight.iter().filter(|info| info.num_ack_pending > 0) {
        loop {
            interrupt.check()?;
            // A consumer that is gone has nothing in flight.
            let Ok(info) = events.consumer_info(&before.name).await else { break };
            let settled = info.ack_floor.stream_sequence >= before.delivered.stream_sequence;
            if settled || info.num_ack_pending == 0 {
                break;
            }
            if began.elapsed() > IN_FLIGHT_TIMEOUT {
                let waited = IN_FLIGHT_TIMEOUT.as_secs();
                return Err(CommandError::failed(
                    format_args!(
                        "a worker has had events in flight for {waited} s ({}); nothing was removed yet",
                        info.name
                    ),
                    "Look at the workers' logs, then run the same command again",
                ));
            }
            interrupt.pause(POLL_INTERVAL).await;
        }
    }
    interrupt.check()
}

fn unread(error: impl std::fmt::Display) -> CommandError {
    CommandError::nats("The consumers of LD_EVENTS cannot be read", error)
}
