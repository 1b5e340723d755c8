//! The newest messages that match a filter. JetStream reads forwards only: so a time is searched after which there are
//! enough of them, and not many more.

use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Stream;
use shared::time::now_ms;

use super::pass::{Opened, Pass, Unreadable, since};

/// The first time that is tried is this long ago, in milliseconds. Each further one is [`LONGER`] times as long ago.
const FIRST: i64 = 600_000;
const LONGER: i64 = 8;

/// As many messages more than wanted are read rather than searching on.
const MORE: u64 = 1_000;

/// How often the search halves the time.
const HALVES: usize = 10;

/// Messages that are read at most. More than this, published in one moment, leave out older ones.
const MOST: u64 = 50_000;

/// Which messages.
#[derive(Debug, Clone)]
pub struct Newest {
    pub filters: Vec<String>,
    /// Published at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Published at this time or earlier.
    pub until: Option<i64>,
    pub headers_only: bool,
    /// How many at most.
    pub count: usize,
}

impl Newest {
    /// Reads them, in their order.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn read(self, stream: &Stream) -> Result<Vec<Message>, Unreadable> {
        let wanted = self.count as u64;
        let later = match self.until {
            Some(until) => self.pending(stream, until.saturating_add(1)).await?,
            None => 0,
        };
        let (from, there) = self.search(stream, wanted.saturating_add(later)).await?;
        let all = Pass {
            filters: self.filters,
            from: since(from),
            headers_only: self.headers_only,
            most: there.min(MOST),
            until: None,
        };
        let (mut messages, _) = all.read(stream).await?;
        let until = self.until.unwrap_or(i64::MAX);
        messages.retain(|message| published(message).is_some_and(|at| at <= until));
        messages.drain(..messages.len().saturating_sub(self.count));
        Ok(messages)
    }

    /// A time from which there are at least so many messages, where there are so many, and how many there are.
    async fn search(&self, stream: &Stream, wanted: u64) -> Result<(i64, u64), Unreadable> {
        let first = i64::try_from(stream.cached_info().state.first_timestamp.unix_timestamp_nanos() / 1_000_000);
        let oldest = self.since.unwrap_or(i64::MIN).max(first.unwrap_or(0));
        // Mostly there are few of a project at all.
        let all = self.pending(stream, oldest).await?;
        if all <= wanted.saturating_add(MORE) {
            return Ok((oldest, all));
        }
        let end = self.until.unwrap_or_else(now_ms).max(oldest);
        let (mut span, mut too_late) = (FIRST, end);
        let (mut from, mut there) = loop {
            let from = end.saturating_sub(span).max(oldest);
            let there = self.pending(stream, from).await?;
            if there >= wanted || from <= oldest {
                break (from, there);
            }
            too_late = from;
            span = span.saturating_mul(LONGER);
        };
        for _ in 0..HALVES {
            if there <= wanted.saturating_add(MORE) {
                break;
            }
            let middle = from + (too_late - from) / 2;
            match self.pending(stream, middle).await? {
                enough if enough >= wanted => (from, there) = (middle, enough),
                _ => too_late = middle,
            }
        }
        Ok((from, there))
    }

    async fn pending(&self, stream: &Stream, from: i64) -> Result<u64, Unreadable> {
        let opened = Opened::new(stream, self.filters.clone(), since(from), true).await?;
        let pending = opened.pending();
        opened.close().await;
        Ok(pending)
    }
}

/// When a message was published, in milliseconds since 1970.
fn published(message: &Message) -> Option<i64> {
    i64::try_from(message.info().ok()?.published.unix_timestamp_nanos() / 1_000_000).ok()
}
