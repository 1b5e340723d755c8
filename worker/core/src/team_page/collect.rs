//! Reads what a team's page shows. Nothing is read while nobody looks, and what is read is kept for a moment, so that a
//! page that a class leaves open costs what one costs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use futures::StreamExt as _;
use mongodb::Database;
use shared::credentials::{Courses, Handle};
use shared::ids::Project;
use shared::source::{PerSource, Source};
use shared::time::now_ms;
use shared::topology::{StreamName, Topology};
use tokio::sync::Mutex as AsyncMutex;
use worker_event::normalise::Settings;

use super::facts::Facts;
use super::team::{Shown, SourceSeen, Team};
use crate::deliveries::stored::stored;
use crate::deliveries::{Contents, Delivery, Outcomes, State, Wanted};
use crate::read::{Pass, Unreadable};

/// How long a look is shown again.
const CACHE_TTL: Duration = Duration::from_secs(2);

/// After how long what is known of a team is read anew, because events can be removed.
const KNOWN_TTL: Duration = Duration::from_secs(60);

/// How long a look may take; then the page says that nothing is known.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How many deliveries the page shows.
pub const DELIVERIES: usize = 20;

/// How many events are looked through for them: reconciliation publishes many that nobody sent.
const EVENTS: usize = 2_000;

/// Teams that are kept. Of more, those that were looked at longest ago are read anew.
const TEAMS: usize = 500;

/// After how long MongoDB is asked whether a delivery is stored that is not settled, in milliseconds.
const UNSETTLED: i64 = 10_000;

/// How many payloads are read at a time.
const REQUESTS: usize = 8;

/// Reads what the pages of teams show.
#[derive(Debug)]
pub struct TeamReader {
    pub jetstream: Context,
    pub topology: Topology,
    pub courses: Handle,
    pub database: Database,
    /// Where senders find ingress; `None` where no setting says so.
    pub public_url: Option<String>,
    pub settings: Settings,
    kept: Mutex<HashMap<Project, Arc<AsyncMutex<Kept>>>>,
}

/// What is known of one team.
#[derive(Debug, Default)]
struct Kept {
    last: Option<(Instant, Arc<Team>)>,
    known: Option<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    since: Instant,
    /// When the event stream was created: another one begins anew.
    created: i64,
    /// The next sequence to read from.
    next: u64,
    accepted: PerSource<Option<i64>>,
    /// The newest deliveries, the newest first.
    recent: VecDeque<Delivery>,
    contents: BTreeMap<u64, Option<Contents>>,
}

impl TeamReader {
    pub fn new(
        jetstream: Context,
        topology: Topology,
        courses: Handle,
        database: Database,
        public_url: Option<String>,
        settings: Settings,
    ) -> Self {
        Self { jetstream, topology, courses, database, public_url, settings, kept: Mutex::default() }
    }

    /// The state of a team, at most two seconds old.
    pub async fn team(&self, prj: &Project) -> Arc<Team> {
        let kept = self.kept(prj);
        let mut kept = kept.lock().await;
        if let Some((at, team)) = &kept.last
            && at.elapsed() < CACHE_TTL
        {
            return Arc::clone(team);
        }
        let courses = self.courses.courses();
        let team = match tokio::time::timeout(TIMEOUT, self.read(prj, kept.known.clone(), &courses)).await {
            Ok(Ok((team, known))) => {
                kept.known = Some(known);
                team
            }
            Ok(Err(error)) => self.unknown(prj, &courses, &error.to_string()),
            Err(_) => self.unknown(prj, &courses, "NATS does not answer"),
        };
        let team = Arc::new(team);
        kept.last = Some((Instant::now(), Arc::clone(&team)));
        team
    }

    fn kept(&self, prj: &Project) -> Arc<AsyncMutex<Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(prj) && kept.len() >= TEAMS {
            // What is being read now stays, because its reader holds it.
            kept.retain(|_, one| Arc::strong_count(one) > 1);
        }
        Arc::clone(kept.entry(prj.clone()).or_default())
    }

    fn unknown(&self, prj: &Project, courses: &Courses, error: &str) -> Team {
        tracing::debug!(prj = prj.as_str(), error, "a team's page shows nothing");
        let sources = Source::ALL.map(|source| SourceSeen::unknown(source, self.payload_url(courses, source, prj)));
        Team { prj: prj.clone(), at: now_ms(), is_known: false, sources: sources.into(), deliveries: Vec::new() }
    }

    fn payload_url(&self, courses: &Courses, source: Source, prj: &Project) -> String {
        let model = courses.course_of(prj).and_then(|course| course.quality_model.as_ref());
        source.payload_url(self.public_url.as_deref().unwrap_or_default(), prj, model)
    }

    async fn read(&self, prj: &Project, known: Option<Known>, courses: &Courses) -> Result<(Team, Known), Unreadable> {
        let name = self.topology.stream(StreamName::Events);
        let events = self.jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))?;
        let created = events.cached_info().created.unix_timestamp();
        let known = known.filter(|known| known.created == created && known.since.elapsed() < KNOWN_TTL);
        let mut known = match known {
            Some(known) => self.read_on(&events, prj, known).await?,
            None => self.read_anew(&events, prj, created).await?,
        };
        let (mut outcomes, facts) = futures::try_join!(
            Outcomes::read(&self.jetstream, &self.topology, Some(prj)),
            Facts::read(&self.jetstream, &self.topology, prj),
        )?;
        self.look_into(&events, &mut known).await;
        self.look_whether_stored(prj, &known, &mut outcomes).await;
        let contents = |delivery: &Delivery| known.contents.get(&delivery.sequence).and_then(Option::as_ref);
        let shown = known.recent.iter().map(|delivery| Shown::new(delivery, outcomes.of(delivery), contents(delivery)));
        let shown: Vec<_> = shown.collect();
        let now = now_ms();
        let sources = Source::ALL.map(|source| {
            let url = self.payload_url(courses, source, prj);
            SourceSeen::new(source, *known.accepted.of(source), &shown, &facts, url, now)
        });
        let team = Team { prj: prj.clone(), at: now, is_known: true, sources: sources.into(), deliveries: shown };
        Ok((team, known))
    }

    async fn read_anew(&self, events: &Stream, prj: &Project, created: i64) -> Result<Known, Unreadable> {
        let mut known = Known {
            since: Instant::now(),
            created,
            next: events.cached_info().state.last_sequence + 1,
            accepted: PerSource::default(),
            recent: VecDeque::new(),
            contents: BTreeMap::new(),
        };
        let all = Wanted { prj: Some(prj.clone()), count: EVENTS, ..Wanted::default() };
        let listed = all.list(&self.jetstream, &self.topology).await?;
        let is_part = listed.len() >= EVENTS;
        for delivery in listed.into_iter().rev() {
            known.add(delivery);
        }
        // Those that came before so many others.
        for source in Source::ALL.into_iter().filter(|_| is_part) {
            if known.accepted.of(source).is_none() {
                let of_source = Wanted { source: Some(source), ..all.clone() };
                let listed = of_source.list(&self.jetstream, &self.topology).await?;
                *known.accepted.of_mut(source) = listed.iter().find(|one| is_sent(one)).map(|one| one.received_at);
            }
        }
        Ok(known)
    }

    async fn read_on(&self, events: &Stream, prj: &Project, mut known: Known) -> Result<Known, Unreadable> {
        let end = events.cached_info().state.last_sequence + 1;
        if end <= known.next {
            return Ok(known);
        }
        let new = Pass {
            filters: vec![self.topology.event_filter(None, Some(prj), None)],
            from: DeliverPolicy::ByStartSequence { start_sequence: known.next.max(1) },
            headers_only: true,
            most: EVENTS as u64,
            until: None,
        };
        let (messages, left) = new.read(events).await?;
        let deliveries: Vec<_> = messages.iter().filter_map(|message| Delivery::of(&self.topology, message)).collect();
        let last = deliveries.last().map(|delivery| delivery.sequence + 1);
        known.next = if left > 0 { last.unwrap_or(end) } else { last.unwrap_or(0).max(end) };
        deliveries.into_iter().for_each(|delivery| known.add(delivery));
        Ok(known)
    }

    /// Asks MongoDB about deliveries that workers took a while ago and have not settled. Others behind a collection that is
    /// blocked are stored.
    async fn look_whether_stored(&self, prj: &Project, known: &Known, outcomes: &mut Outcomes) {
        let old = now_ms() - UNSETTLED;
        let is_unsettled = |one: &&Delivery| {
            one.received_at < old && outcomes.of(one).state == State::Processing && !one.id.is_empty()
        };
        let unsettled: Vec<_> = known.recent.iter().filter(is_unsettled).collect();
        if unsettled.is_empty() {
            return;
        }
        let ids: BTreeSet<_> = unsettled.iter().map(|delivery| delivery.id.as_str()).collect();
        let found = stored(&self.database, prj, &ids).await;
        for delivery in unsettled.into_iter().filter(|delivery| found.contains(&delivery.id)) {
            outcomes.is_stored(delivery);
        }
    }

    /// Reads what the shown deliveries say, each once.
    async fn look_into(&self, events: &Stream, known: &mut Known) {
        let new = known.recent.iter().filter(|delivery| !known.contents.contains_key(&delivery.sequence));
        let new: Vec<_> = new.cloned().collect();
        let read = futures::stream::iter(new)
            .map(|delivery| async move { (delivery.sequence, Contents::read(events, &delivery, &self.settings).await) })
            .buffer_unordered(REQUESTS);
        let read: Vec<_> = read.collect().await;
        known.contents.extend(read);
        let recent = &known.recent;
        known.contents.retain(|sequence, _| recent.iter().any(|delivery| delivery.sequence == *sequence));
    }
}

impl Known {
    fn add(&mut self, delivery: Delivery) {
        if delivery.read_at.is_some() {
            return;
        }
        // A repetition stands for the delivery that it repeats.
        if let Some(again) = delivery.again_of
            && let Some(first) = self.recent.iter_mut().find(|one| one.sequence == again || one.again_of == Some(again))
        {
            *first = Delivery { received_at: first.received_at, ..delivery };
            return;
        }
        if is_sent(&delivery) {
            let last = self.accepted.of_mut(delivery.source);
            *last = (*last).max(Some(delivery.received_at));
        }
        self.recent.push_front(delivery);
        self.recent.truncate(DELIVERIES);
    }
}

/// Whether a sender sent it.
const fn is_sent(delivery: &Delivery) -> bool {
    delivery.read_at.is_none() && delivery.again_of.is_none()
}
