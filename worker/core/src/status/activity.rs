//! Who spoke when: read off the event stream, headers only, and only what is new since the last look.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use futures::StreamExt as _;
use shared::envelope::header;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology};

/// How many hours the picture has.
pub const HOURS: usize = 24;

/// One hour, in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// How long one look counts at most; the next goes on there. Ten thousand events and more.
const COUNTING: Duration = Duration::from_secs(1);

/// How many (team, source) are kept: names of unsigned sheets come from anybody.
const ROWS_MOST: usize = 3_000;

/// How many messages are asked for at once.
const PORTION: u64 = 1_000;

/// What was heard of one team from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// When the last event was accepted, in milliseconds since 1970.
    pub last: i64,
    /// How many in which hour since 1970.
    pub hours: BTreeMap<i64, u32>,
}

impl Heard {
    /// How many in each of the last [`HOURS`] hours, the present one last.
    #[must_use]
    pub fn by_hour(&self, now: i64) -> [u32; HOURS] {
        let first = now.div_euclid(HOUR) - HOURS as i64 + 1;
        std::array::from_fn(|i| self.hours.get(&(first + i as i64)).copied().unwrap_or(0))
    }
}

/// What was heard of everybody.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// By source and team.
    pub heard: BTreeMap<(Source, Project), Heard>,
    /// How many events were not counted yet.
    pub behind: u64,
    /// Which stream it was, by when it was made.
    made: Option<i64>,
    begun: bool,
    next: u64,
}

impl Activity {
    /// Reads what is new in the event stream.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn catch_up(&mut self, jetstream: &Context, topology: &Topology) -> Result<(), String> {
        let name = topology.stream(StreamName::Events);
        let stream = jetstream.get_stream(&name).await.map_err(|error| format!("{name} cannot be read: {error}"))?;
        // One that was deleted and made again counts from one.
        let made = stream.cached_info().created.unix_timestamp();
        if self.made != Some(made) {
            *self = Self { made: Some(made), ..Self::default() };
        }
        let now = shared::time::now_ms();
        let filter = topology.event_filter(None, None, None);
        if !self.begun {
            let (last, _) = read(&stream, &filter, DeliverPolicy::LastPerSubject, None).await?;
            for message in &last {
                self.hear(topology, message, false);
            }
        }
        let policy = match self.begun {
            true => DeliverPolicy::ByStartSequence { start_sequence: self.next.max(1) },
            false => {
                let first = (now.div_euclid(HOUR) - HOURS as i64 + 1) * HOUR;
                let start = async_nats::datetime::from_nanos(i128::from(first) * 1_000_000);
                start.map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time })
            }
        };
        let (new, left) = read(&stream, &filter, policy, Some(Instant::now() + COUNTING)).await?;
        for message in &new {
            self.hear(topology, message, true);
        }
        let seen = new.last().and_then(|message| message.info().ok()).map(|info| info.stream_sequence);
        // Nothing new since an hour that is counted: the next look begins behind what is there now.
        self.next = seen.map_or_else(|| self.next.max(stream.cached_info().state.last_sequence + 1), |seen| seen + 1);
        (self.begun, self.behind) = (true, left);
        self.forget(now);
        Ok(())
    }

    fn hear(&mut self, topology: &Topology, message: &Message, counts: bool) {
        let Some((key, at)) = understand(topology, message) else { return };
        if !self.heard.contains_key(&key) && self.heard.len() >= ROWS_MOST {
            return;
        }
        let heard = self.heard.entry(key).or_default();
        heard.last = heard.last.max(at);
        if counts {
            let count = heard.hours.entry(at.div_euclid(HOUR)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Hours that the picture does not show any more.
    fn forget(&mut self, now: i64) {
        let first = now.div_euclid(HOUR) - HOURS as i64 + 1;
        for heard in self.heard.values_mut() {
            heard.hours = heard.hours.split_off(&first);
        }
    }
}

/// Whose event it is and when it came; none of what was sent again, because nobody spoke then.
fn understand(topology: &Topology, message: &Message) -> Option<((Source, Project), i64)> {
    if let Some(headers) = &message.headers
        && (headers.get(header::BACKFILL).is_some() || headers.get(header::ORIGIN_SEQUENCE).is_some())
    {
        return None;
    }
    let words = topology.words(StreamName::Events, message.subject.as_str());
    let [source, prj, _] = words[..] else { return None };
    let at = message.info().ok()?.published.unix_timestamp_nanos() / 1_000_000;
    Some(((source.parse().ok()?, Project::new(prj).ok()?), i64::try_from(at).ok()?))
}

/// Reads headers of a stream's messages, until a time if there is one, and how many are left.
async fn read(
    stream: &Stream,
    filter: &str,
    deliver_policy: DeliverPolicy,
    until: Option<Instant>,
) -> Result<(Vec<Message>, u64), String> {
    let headers_only = true;
    let config = pull::Config { deliver_policy, filter_subject: filter.to_owned(), headers_only, ..passing() };
    pass(stream, config, ROWS_MOST as u64 * 10, until).await
}

/// Reads the newest message of each subject: of a stream whose messages are small.
///
/// # Errors
/// When NATS does not answer or refuses.
pub(super) async fn read_newest(stream: &Stream, filter: &str, most: u64) -> Result<Vec<Message>, String> {
    let filter_subject = filter.to_owned();
    let config = pull::Config { deliver_policy: DeliverPolicy::LastPerSubject, filter_subject, ..passing() };
    pass(stream, config, most, None).await.map(|(messages, _)| messages)
}

/// A consumer for one look: in memory, without acks, and gone by itself should we die.
fn passing() -> pull::Config {
    pull::Config {
        description: Some("One look at the status page".to_owned()),
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: Duration::from_secs(30),
        ..pull::Config::default()
    }
}

async fn pass(
    stream: &Stream,
    config: pull::Config,
    most: u64,
    until: Option<Instant>,
) -> Result<(Vec<Message>, u64), String> {
    let text = |error: &dyn std::fmt::Display| format!("the streams cannot be read: {error}");
    let consumer = stream.create_consumer(config).await.map_err(|error| text(&error))?;
    let there = consumer.cached_info().num_pending;
    let wanted = there.min(most);
    let mut messages = Vec::new();
    let read = async {
        while (messages.len() as u64) < wanted {
            let portion = (wanted - messages.len() as u64).min(PORTION) as usize;
            let mut batch = consumer.fetch().max_messages(portion).messages().await.map_err(|error| text(&error))?;
            let before = messages.len();
            while let Some(message) = batch.next().await {
                messages.push(message.map_err(|error| text(&error))?);
            }
            // What was counted has been removed meanwhile; or it is enough for one look.
            if messages.len() == before || until.is_some_and(|until| Instant::now() > until) {
                break;
            }
        }
        Ok(())
    };
    let read: Result<(), String> = read.await;
    // It goes by itself otherwise.
    drop(stream.delete_consumer(&consumer.cached_info().name).await);
    read.map(|()| {
        let left = there.saturating_sub(messages.len() as u64);
        (messages, left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_hour_is_the_last_of_the_picture() {
        let now = 500_000 * HOUR + 1;
        let hours = BTreeMap::from([(500_000, 3), (499_977, 2), (499_976, 9)]);
        let by_hour = Heard { last: now, hours }.by_hour(now);
        assert_eq!((by_hour[HOURS - 1], by_hour[0], by_hour.iter().sum::<u32>()), (3, 2, 5));
    }
}
