//! Reads everything the page shows: streams, facts, queues. One look at a time, kept for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use futures::StreamExt as _;
use shared::credentials::Handle;
use shared::ids::Project;
use shared::source::Source;
use shared::time::now_ms;
use shared::topology::{EnsureError, StreamName, Topology, source_of};
use tokio::sync::Mutex;

use super::activity::Activity;
use super::findings::Finding;
use super::model::Status;
use super::observations::{DeadKey, Observations, Queues};
use super::reconciled::Reconciled;
use crate::problem::Problems;
use crate::read::{Pass, Unreadable};
use crate::readiness::waiting_since;

/// How long a look is shown again.
const CACHE_TTL: Duration = Duration::from_secs(2);

/// How long a look may take; then the page says that NATS does not answer.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How many facts are read at most.
const FACTS: u64 = 20_000;

/// How many teams one consumer filters by: the server compares each filter with each other.
const FILTERS: usize = 400;

/// How many subjects of dead letters are read at most.
const DEAD_SUBJECTS: usize = 20_000;

/// How many looks count all events of a month.
const LOOKS: usize = 120;

#[derive(Debug)]
pub struct StatusCollector {
    jetstream: Context,
    topology: Topology,
    courses: Handle,
    problems: Problems,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    activity: Activity,
    last: Option<(Instant, Arc<Status>)>,
}

impl StatusCollector {
    pub fn new(jetstream: Context, topology: Topology, courses: Handle, problems: Problems) -> Self {
        Self { jetstream, topology, courses, problems, kept: Mutex::default() }
    }

    /// The state of everything, at most two seconds old.
    pub async fn status(&self) -> Arc<Status> {
        let mut kept = self.kept.lock().await;
        if let Some((at, status)) = &kept.last
            && at.elapsed() < CACHE_TTL
        {
            return Arc::clone(status);
        }
        self.look(&mut kept).await
    }

    /// The state of everything once all events are counted, or once NATS fails: for a command that looks once.
    pub async fn complete_status(&self) -> Arc<Status> {
        let mut kept = self.kept.lock().await;
        let mut status = self.look(&mut kept).await;
        for _ in 1..LOOKS {
            let is_complete = kept.activity.behind == 0 && kept.activity.has_rhythms();
            if is_complete || status.findings.iter().any(|found| matches!(found, Finding::Nats { .. })) {
                break;
            }
            status = self.look(&mut kept).await;
        }
        status
    }

    async fn look(&self, kept: &mut Kept) -> Arc<Status> {
        let courses = self.courses.courses();
        let listed: BTreeSet<Project> = courses.iter().flat_map(|course| course.teams.iter().cloned()).collect();
        let mut activity = kept.activity.clone();
        let mut observed = match tokio::time::timeout(TIMEOUT, self.read(&mut activity, &listed)).await {
            Ok(Ok(observed)) => {
                kept.activity = activity;
                observed
            }
            Ok(Err(error)) => Observations { nats: Some(error.to_string()), ..Observations::default() },
            Err(_) => Observations {
                nats: Some(format!("no answer within {} s", TIMEOUT.as_secs())),
                ..Observations::default()
            },
        };
        observed.heard = kept.activity.heard.clone();
        observed.has_rhythms = kept.activity.has_rhythms();
        observed.behind = kept.activity.behind;
        observed.problems.clone_from(&self.problems.borrow());
        observed.credentials_file = self.courses.problem().map(|problem| problem.to_string());
        let status = Arc::new(Status::of(observed, &courses, now_ms()));
        kept.last = Some((Instant::now(), Arc::clone(&status)));
        status
    }

    async fn read(&self, activity: &mut Activity, listed: &BTreeSet<Project>) -> Result<Observations, Unreadable> {
        let (mut observed, queues, dead, reconciled, ()) = futures::try_join!(
            self.facts(listed),
            self.queues(),
            self.dead(listed),
            self.reconciled(),
            activity.catch_up(&self.jetstream, &self.topology, listed),
        )?;
        (observed.queues, observed.dead, observed.reconciled) = (queues, dead, reconciled);
        Ok(observed)
    }

    /// Reads the facts: those of listed teams by name, in case there are more than is read of all.
    async fn facts(&self, listed: &BTreeSet<Project>) -> Result<Observations, Unreadable> {
        let stream = self.stream(StreamName::Status).await?;
        let mut observed = Observations::default();
        let (all, left) = Pass::newest(vec![self.topology.all_of(StreamName::Status)], FACTS).read(&stream).await?;
        let mut messages = all;
        if left > 0 {
            messages.extend(Pass::newest(self.topology.general_facts(), FACTS).read(&stream).await?.0);
            for teams in listed.iter().collect::<Vec<_>>().chunks(FILTERS) {
                let filters = teams.iter().map(|team| self.topology.refused_filter(team)).collect();
                messages.extend(Pass::newest(filters, FACTS).read(&stream).await?.0);
            }
        }
        for message in &messages {
            observed.record(&self.topology, message);
        }
        observed.bound(listed);
        Ok(observed)
    }

    async fn reconciled(&self) -> Result<BTreeMap<(Source, Project), Reconciled>, Unreadable> {
        let stream = self.stream(StreamName::Reconcile).await?;
        let (all, _) = Pass::newest(vec![self.topology.reconcile_subject("done.>")], FACTS).read(&stream).await?;
        let of_team = |message: &Message| {
            let [_, source, prj] = self.topology.words(StreamName::Reconcile, message.subject.as_str())[..] else {
                return None;
            };
            let key = (source.parse().ok()?, Project::new(prj).ok()?);
            Some((key, serde_json::from_slice(&message.payload).ok()?))
        };
        Ok(all.iter().filter_map(of_team).collect())
    }

    async fn queues(&self) -> Result<Queues, Unreadable> {
        let events = self.stream(StreamName::Events).await?;
        let consumer = self.topology.consumer(&self.jetstream, StreamName::Events).await;
        let consumer = consumer.map_err(|error| Unreadable::new("the workers’ consumer", error))?;
        let consumer = consumer.cached_info();
        let waiting = consumer.num_pending + consumer.num_ack_pending as u64;
        let since = if waiting > 0 { waiting_since(&events, consumer).await } else { None };
        let info = events.cached_info();
        Ok(Queues {
            events: waiting,
            events_since: since,
            notifications: self.stream(StreamName::Notify).await?.cached_info().state.messages,
            lookups: self.stream(StreamName::Enrich).await?.cached_info().state.messages,
            bytes: info.state.bytes,
            max_bytes: info.config.max_bytes,
            dead: self.stream(StreamName::Dead).await?.cached_info().state.messages,
        })
    }

    /// Dead letters by reason, source and project: those of listed teams by name, in case there are more than is read of
    /// all.
    async fn dead(&self, listed: &BTreeSet<Project>) -> Result<BTreeMap<DeadKey, u64>, Unreadable> {
        let stream = self.stream(StreamName::Dead).await?;
        let mut dead = BTreeMap::new();
        for filter in self.topology.dead_filters_verified() {
            self.dead_of(&stream, filter, &mut dead).await?;
        }
        self.dead_of(&stream, self.topology.all_of(StreamName::Dead), &mut dead).await?;
        if dead.len() >= DEAD_SUBJECTS {
            for team in listed {
                self.dead_of(&stream, self.topology.dead_filter(None, Some(team)), &mut dead).await?;
            }
        }
        Ok(dead)
    }

    async fn dead_of(
        &self,
        stream: &Stream,
        filter: String,
        dead: &mut BTreeMap<DeadKey, u64>,
    ) -> Result<(), Unreadable> {
        let name = &stream.cached_info().config.name;
        let subjects = stream.info_with_subjects(filter).await;
        let mut subjects = subjects.map_err(|error| Unreadable::new(name, error))?.take(DEAD_SUBJECTS);
        while let Some(subject) = subjects.next().await {
            let (subject, letters) = subject.map_err(|error| Unreadable::new(name, error))?;
            let words = self.topology.words(StreamName::Dead, &subject);
            let word = |i: usize| (*words.get(i).unwrap_or(&"unknown")).to_owned();
            let source = word(1);
            let (source, verified) = source_of(&source);
            dead.insert(DeadKey { reason: word(0), source: source.to_owned(), prj: word(2), verified }, letters as u64);
        }
        Ok(())
    }

    async fn stream(&self, stream: StreamName) -> Result<Stream, Unreadable> {
        let name = self.topology.stream(stream);
        if let Ok(stream) = self.jetstream.get_stream(&name).await {
            return Ok(stream);
        }
        // Create one that was deleted: of the stream of facts, no other task might notice.
        if let Err(error @ EnsureError::Failed { .. }) = self.topology.repair(&self.jetstream).await {
            return Err(Unreadable::new(&name, error));
        }
        self.jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))
    }
}
