//! Removes selected messages of a stream, one by one: the server overwrites their bytes.

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::connection::delete;
use super::scan::{Scan, Stored};
use crate::terminal::{CommandError, Interrupt, Progress, counted};

/// How many deletions are in flight at once.
const AT_ONCE: usize = 32;

/// Deletes (or counts) the messages that match the filter and the test, up to a sequence.
///
/// # Errors
/// When the stream cannot be read or changed; when it is interrupted, with how many are left to look at.
pub async fn delete_where(
    stream: &Stream,
    filter: &str,
    up_to: u64,
    yes: bool,
    interrupt: &Interrupt,
    wanted: impl Fn(&Stored) -> bool,
) -> Result<u64, CommandError> {
    let mut scan = Scan::open(stream, filter, DeliverPolicy::All, false).await?;
    let mut progress = Progress::new("looked at", "messages", scan.total());
    let mut found = 0;
    loop {
        let batch = scan.next().await?;
        if batch.is_empty() {
            return Ok(found);
        }
        let mut left = scan.left() + batch.len() as u64;
        for portion in batch.chunks(AT_ONCE) {
            if interrupt.is_stopping() {
                let name = &stream.cached_info().config.name;
                let verb = if yes { "removed from" } else { "found in" };
                return Err(CommandError::interrupted().going_on(format!(
                    "{} {verb} {name}, {left} still to be looked at; run the same command again for the rest",
                    counted(found, "message was", "messages were"),
                )));
            }
            let sequences: Vec<u64> = portion
                .iter()
                .filter(|message| message.sequence <= up_to && wanted(message))
                .map(|message| message.sequence)
                .collect();
            found += match yes {
                false => sequences.len() as u64,
                // An acknowledged message of a work queue is already gone.
                true => {
                    let deleted = futures::stream::iter(sequences).map(|sequence| delete(stream, sequence));
                    let deleted: Vec<bool> = deleted.buffer_unordered(AT_ONCE).try_collect().await?;
                    deleted.into_iter().filter(|deleted| *deleted).count() as u64
                }
            };
            progress.add(portion.len() as u64);
            left -= portion.len() as u64;
        }
        if batch.last().is_some_and(|message| message.sequence >= up_to) {
            return Ok(found);
        }
    }
}
