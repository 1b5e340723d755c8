//! When each team's sources sent something: read from the headers of the event stream, and only what came since the
//! last look.
//!
//! Names in unsigned sheets can be invented by anyone, so they get a small number of places of their own; listed teams and
//! projects that signed an event never compete with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use shared::envelope::header;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology};

use crate::read::{Pass, Unreadable, since};

/// How many hours the picture has.
pub const HOURS: usize = 24;

/// One hour, in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// One day, in milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// From how many days a source's rhythm is known.
const RHYTHM_DAYS: i64 = 28;

/// How long one look counts events; the next look continues. Ten thousand events and more.
const COUNTING: Duration = Duration::from_secs(1);

/// How many messages one look reads at most.
const MESSAGES: u64 = 30_000;

/// How many rows projects have that are not listed and signed an event.
const SIGNED_ROWS: usize = 3_000;

/// How many rows projects have that only sent unsigned sheets.
const UNSIGNED_ROWS: usize = 200;

/// How many teams one consumer filters by: the server compares each filter with each other.
const FILTERS: usize = 400;

/// What one team's source sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// When the last event was accepted, in milliseconds since 1970.
    pub last: i64,
    /// How many events in which hour since 1970.
    pub hours: BTreeMap<i64, u32>,
    /// The days since 1970 on which there were events.
    pub days: BTreeSet<i64>,
    /// Whether one of them was signed.
    pub signed: bool,
    /// Whether one of them was not.
    pub unsigned: bool,
}

impl Heard {
    /// How many in each of the last [`HOURS`] hours, the present one last.
    pub fn by_hour(&self, now: i64) -> [u32; HOURS] {
        let first = first_hour(now);
        std::array::from_fn(|i| self.hours.get(&(first + i as i64)).copied().unwrap_or(0))
    }
}

const fn first_hour(now: i64) -> i64 {
    now.div_euclid(HOUR) - HOURS as i64 + 1
}

/// What everyone sent.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    pub heard: BTreeMap<(Source, Project), Heard>,
    /// How many events of the last day are not counted yet.
    pub behind: u64,
    /// When the stream was created: one that was deleted and created again counts from one.
    created: Option<i64>,
    /// The next sequence to count from.
    next: Option<u64>,
    older: Older,
    /// The listed teams whose newest events were read.
    read: BTreeSet<Project>,
}

/// How far the days before the picture's are read.
#[derive(Debug, Clone, Default)]
enum Older {
    #[default]
    NotBegun,
    Left {
        next: Option<u64>,
        end: u64,
    },
    Read,
}

/// An event, as far as it matters here.
struct Event {
    key: (Source, Project),
    at: i64,
    signed: bool,
}

impl Activity {
    /// Whether the rhythms are known.
    pub const fn has_rhythms(&self) -> bool {
        matches!(self.older, Older::Read)
    }

    /// Reads what is new in the event stream.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn catch_up(
        &mut self,
        jetstream: &Context,
        topology: &Topology,
        listed: &BTreeSet<Project>,
    ) -> Result<(), Unreadable> {
        let name = topology.stream(StreamName::Events);
        let stream = jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))?;
        let created = stream.cached_info().created.unix_timestamp();
        if self.created != Some(created) {
            *self = Self { created: Some(created), ..Self::default() };
        }
        let now = shared::time::now_ms();
        let until = Instant::now() + COUNTING;
        self.read_recent(&stream, topology, now, until).await?;
        self.read_newest(&stream, topology, listed).await?;
        self.read_older(&stream, topology, now, until).await?;
        self.forget(now);
        self.bound(listed);
        Ok(())
    }

    /// Counts the events of the last day, or since the last look.
    async fn read_recent(
        &mut self,
        stream: &Stream,
        topology: &Topology,
        now: i64,
        until: Instant,
    ) -> Result<(), Unreadable> {
        if self.next.is_none() {
            let newest =
                Pass { headers_only: true, ..Pass::newest(vec![topology.event_filter(None, None, None)], MESSAGES) };
            for message in newest.read(stream).await?.0 {
                self.record(topology, &message, Counts::No);
            }
        }
        let from = match self.next {
            Some(next) => DeliverPolicy::ByStartSequence { start_sequence: next.max(1) },
            None => since(first_hour(now) * HOUR),
        };
        let (new, left) = events(topology, from, until).read(stream).await?;
        for message in &new {
            self.record(topology, message, Counts::Hour);
        }
        if matches!(self.older, Older::NotBegun) {
            let end = new.first().and_then(sequence).unwrap_or(stream.cached_info().state.last_sequence + 1);
            self.older = Older::Left { next: None, end };
        }
        let behind_the_last = stream.cached_info().state.last_sequence + 1;
        let next = new.last().and_then(sequence).map(|last| last + 1);
        self.next = Some(next.unwrap_or_else(|| self.next.unwrap_or(0).max(behind_the_last)));
        self.behind = left;
        Ok(())
    }

    /// Reads the newest events of listed teams by name where counting has not come to them, so that no flood of other
    /// names delays what is shown of them.
    async fn read_newest(
        &mut self,
        stream: &Stream,
        topology: &Topology,
        listed: &BTreeSet<Project>,
    ) -> Result<(), Unreadable> {
        let behind = self.behind > 0;
        let teams: Vec<_> = listed.iter().filter(|team| behind || !self.read.contains(*team)).cloned().collect();
        for teams in teams.chunks(FILTERS) {
            let filters = teams.iter().map(|team| topology.event_filter(None, Some(team), None)).collect();
            let pass = Pass { headers_only: true, ..Pass::newest(filters, MESSAGES) };
            for message in pass.read(stream).await?.0 {
                self.record(topology, &message, Counts::No);
            }
        }
        self.read = listed.clone();
        Ok(())
    }

    /// Reads on which days before the picture's there were events.
    async fn read_older(
        &mut self,
        stream: &Stream,
        topology: &Topology,
        now: i64,
        until: Instant,
    ) -> Result<(), Unreadable> {
        let Older::Left { next, end } = self.older else { return Ok(()) };
        if self.behind > 0 {
            return Ok(());
        }
        let from = match next {
            Some(next) => DeliverPolicy::ByStartSequence { start_sequence: next.max(1) },
            None => since(now - RHYTHM_DAYS * DAY),
        };
        let (messages, left) = events(topology, from, until).read(stream).await?;
        let mut ended = left == 0;
        let mut reached = next;
        for message in &messages {
            let Some(sequence) = sequence(message) else { continue };
            if sequence >= end {
                ended = true;
                break;
            }
            self.record(topology, message, Counts::Day);
            reached = Some(sequence + 1);
        }
        // Nothing came although something is left: it was removed meanwhile.
        ended |= messages.is_empty();
        self.older = if ended { Older::Read } else { Older::Left { next: reached, end } };
        Ok(())
    }

    fn record(&mut self, topology: &Topology, message: &Message, counts: Counts) {
        let Some(Event { key, at, signed }) = event(topology, message) else { return };
        let heard = self.heard.entry(key).or_default();
        heard.last = heard.last.max(at);
        heard.signed |= signed;
        heard.unsigned |= !signed;
        if counts != Counts::No {
            heard.days.insert(at.div_euclid(DAY));
        }
        if counts == Counts::Hour {
            let count = heard.hours.entry(at.div_euclid(HOUR)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Removes hours and days that nothing shows any more.
    fn forget(&mut self, now: i64) {
        for heard in self.heard.values_mut() {
            heard.hours = heard.hours.split_off(&first_hour(now));
            heard.days = heard.days.split_off(&(now.div_euclid(DAY) - 2 * RHYTHM_DAYS));
        }
    }

    /// Keeps every listed team, and of the others the newest rows, signed and unsigned apart.
    fn bound(&mut self, listed: &BTreeSet<Project>) {
        let signed = signed_projects(&self.heard);
        for (is_signed, most) in [(true, SIGNED_ROWS), (false, UNSIGNED_ROWS)] {
            let rows =
                self.heard.iter().filter(|((_, prj), _)| !listed.contains(prj) && signed.contains(prj) == is_signed);
            let mut rows: Vec<_> = rows.map(|(key, heard)| (heard.last, key.clone())).collect();
            if rows.len() > most {
                rows.sort_unstable();
                for (_, key) in rows.drain(..rows.len() - most) {
                    self.heard.remove(&key);
                }
            }
        }
    }
}

/// Projects of which at least one event was signed.
pub fn signed_projects(heard: &BTreeMap<(Source, Project), Heard>) -> BTreeSet<Project> {
    heard.iter().filter(|(_, heard)| heard.signed).map(|((_, prj), _)| prj.clone()).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    No,
    Day,
    Hour,
}

fn events(topology: &Topology, from: DeliverPolicy, until: Instant) -> Pass {
    let filters = vec![topology.event_filter(None, None, None)];
    Pass { filters, from, headers_only: true, most: MESSAGES, until: Some(until) }
}

fn sequence(message: &Message) -> Option<u64> {
    message.info().ok().map(|info| info.stream_sequence)
}

/// Whose event it is and when it came. What was replayed, redriven or backfilled does not count: no sender sent it then.
fn event(topology: &Topology, message: &Message) -> Option<Event> {
    let has = |name| message.headers.as_ref().is_some_and(|headers| headers.get(name).is_some());
    if has(header::BACKFILL) || has(header::ORIGIN_SEQUENCE) {
        return None;
    }
    let words = topology.words(StreamName::Events, message.subject.as_str());
    let [source, prj, _] = words[..] else { return None };
    let at = message.info().ok()?.published.unix_timestamp_nanos() / 1_000_000;
    let key = (source.parse().ok()?, Project::new(prj).ok()?);
    Some(Event { key, at: i64::try_from(at).ok()?, signed: !has(header::UNSIGNED) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_hour_is_the_last_of_the_picture() {
        let now = 500_000 * HOUR + 1;
        let hours = BTreeMap::from([(500_000, 3), (499_977, 2), (499_976, 9)]);
        let by_hour = Heard { last: now, hours, ..Heard::default() }.by_hour(now);
        assert_eq!((by_hour[HOURS - 1], by_hour[0], by_hour.iter().sum::<u32>()), (3, 2, 5));
    }

    #[test]
    fn invented_names_take_no_place_of_listed_and_signed_teams() {
        let team = |name: &str| Project::new(name).unwrap();
        let heard = |last, signed| Heard { last, signed, ..Heard::default() };
        let mut activity = Activity::default();
        for n in 0..10_000 {
            activity.heard.insert((Source::Excel, team(&format!("Invented{n}"))), heard(1_000 + n, false));
        }
        activity.heard.insert((Source::Excel, team("Listed")), heard(1, false));
        activity.heard.insert((Source::Github, team("Signed")), heard(2, true));
        // Its sheet is unsigned, but the project signs elsewhere.
        activity.heard.insert((Source::Excel, team("Signed")), heard(2, false));
        activity.bound(&BTreeSet::from([team("Listed")]));
        for key in [(Source::Excel, "Listed"), (Source::Github, "Signed"), (Source::Excel, "Signed")] {
            assert!(activity.heard.contains_key(&(key.0, team(key.1))), "{key:?}");
        }
        assert_eq!(activity.heard.len(), 3 + UNSIGNED_ROWS);
        assert!(activity.heard.contains_key(&(Source::Excel, team("Invented9999"))), "the newest are kept");
    }
}
