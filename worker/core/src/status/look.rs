//! One look at everything: streams, facts, the consumer's place. Kept for a moment, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, Message};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use shared::credentials::Handle;
use shared::ids::Project;
use shared::time::now_ms;
use shared::topology::{StreamName, Topology};
use tokio::sync::Mutex;

use super::activity::{Activity, read_newest};
use super::model::{Seen, Status};
use crate::problem::Problems;
use crate::readiness::waiting_since;

/// How long what was read is shown again.
const FRESH: Duration = Duration::from_secs(2);

/// How long reading may take; then the page says that NATS does not answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// How many facts are read at most.
const FACTS_MOST: u64 = 20_000;

/// How many subjects of dead letters are read at most.
const DEAD_MOST: usize = 20_000;

/// Looks when asked.
#[derive(Debug)]
pub struct Watchtower {
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

impl Watchtower {
    /// With the worker's own connection, and what it says of its readiness.
    #[must_use]
    pub fn new(jetstream: Context, topology: Topology, courses: Handle, problems: Problems) -> Self {
        Self { jetstream, topology, courses, problems, kept: Mutex::default() }
    }

    /// The state of everything, at most two seconds old.
    pub async fn status(&self) -> Arc<Status> {
        let mut kept = self.kept.lock().await;
        if let Some((at, status)) = &kept.last
            && at.elapsed() < FRESH
        {
            return Arc::clone(status);
        }
        let mut activity = kept.activity.clone();
        let mut seen = match tokio::time::timeout(PATIENCE, self.look(&mut activity)).await {
            Ok(Ok(seen)) => {
                kept.activity = activity;
                seen
            }
            Ok(Err(error)) => Seen { nats: Some(error), ..Seen::default() },
            Err(_) => Seen { nats: Some(format!("no answer within {} s", PATIENCE.as_secs())), ..Seen::default() },
        };
        seen.heard = kept.activity.heard.clone();
        seen.behind = kept.activity.behind;
        seen.problems.clone_from(&self.problems.borrow());
        seen.teachers_file = self.courses.problem().map(|problem| problem.to_string());
        let status = Arc::new(Status::of(seen, &self.courses.courses(), now_ms()));
        kept.last = Some((Instant::now(), Arc::clone(&status)));
        status
    }

    async fn look(&self, activity: &mut Activity) -> Result<Seen, String> {
        let mut seen = Seen::default();
        let (facts, queues, dead, ()) = futures::try_join!(
            self.facts(),
            self.queues(),
            self.dead(),
            activity.catch_up(&self.jetstream, &self.topology),
        )?;
        for message in facts {
            self.take_in(&mut seen, &message);
        }
        seen.dead = dead;
        Ok(Seen {
            events: queues.events,
            events_since: queues.events_since,
            notifications: queues.notifications,
            lookups: queues.lookups,
            bytes: queues.bytes,
            max_bytes: queues.max_bytes,
            ..seen
        })
    }

    async fn facts(&self) -> Result<Vec<Message>, String> {
        let stream = self.stream(StreamName::Status).await?;
        read_newest(&stream, &self.topology.all_of(StreamName::Status), FACTS_MOST).await
    }

    fn take_in(&self, seen: &mut Seen, message: &Message) {
        fn fact<T: DeserializeOwned>(message: &Message) -> Option<T> {
            serde_json::from_slice(&message.payload).ok()
        }
        match self.topology.words(StreamName::Status, message.subject.as_str())[..] {
            ["told"] => seen.told = fact(message),
            ["untold"] => seen.untold = fact(message),
            ["token", ..] => seen.tokens.extend(fact(message)),
            ["refused", source] => {
                if let (Ok(source), Some(refused)) = (source.parse(), fact(message)) {
                    seen.strangers.insert(source, refused);
                }
            }
            ["refused", source, prj] => {
                if let (Ok(source), Ok(prj), Some(refused)) = (source.parse(), Project::new(prj), fact(message)) {
                    seen.refused.insert((source, prj), refused);
                }
            }
            _ => {}
        }
    }

    async fn queues(&self) -> Result<Queues, String> {
        let events = self.stream(StreamName::Events).await?;
        let consumer = self.topology.consumer(&self.jetstream, StreamName::Events).await;
        let consumer = consumer.map_err(|error| error.to_string())?;
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
        })
    }

    /// Dead letters by reason, source and project.
    async fn dead(&self) -> Result<BTreeMap<(String, String, String), u64>, String> {
        let stream = self.stream(StreamName::Dead).await?;
        let subjects = stream.info_with_subjects(self.topology.all_of(StreamName::Dead)).await;
        let mut subjects = subjects.map_err(|error| error.to_string())?.take(DEAD_MOST);
        let mut dead = BTreeMap::new();
        while let Some(subject) = subjects.next().await {
            let (subject, letters) = subject.map_err(|error| error.to_string())?;
            let words = self.topology.words(StreamName::Dead, &subject);
            let word = |i: usize| (*words.get(i).unwrap_or(&"unknown")).to_owned();
            *dead.entry((word(0), word(1), word(2))).or_default() += letters as u64;
        }
        Ok(dead)
    }

    async fn stream(&self, stream: StreamName) -> Result<async_nats::jetstream::stream::Stream, String> {
        let name = self.topology.stream(stream);
        if let Ok(stream) = self.jetstream.get_stream(&name).await {
            return Ok(stream);
        }
        // Somebody deleted it; of this one nobody else might take notice.
        self.topology.ensure(&self.jetstream).await.map_err(|error| error.to_string())?;
        self.jetstream.get_stream(&name).await.map_err(|error| format!("{name} cannot be read: {error}"))
    }
}

/// What waits, and how full the event stream is.
struct Queues {
    events: u64,
    events_since: Option<i64>,
    notifications: u64,
    lookups: u64,
    bytes: u64,
    max_bytes: i64,
}
