//! Queues notifications durably.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use futures::TryStreamExt as _;
use shared::envelope::header;
use shared::hash::short_sha256;
use shared::ids::Project;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::topology::{StreamName, Topology};
use worker_event::effect::Notification;

use crate::origin::Origin;

/// Notifications that wait for one project. A team of ten has some 50 different ones; more come of invented authors or
/// quality models. Beyond it there is one for each event type, in which the newest replaces the one before.
const WAITING_MAX: usize = 64;

/// Keys of one project that are queued without asking the server how many wait.
const UNCHECKED_MAX: usize = 16;

/// With more projects than this, what is known of them is dropped and learned again.
const PROJECTS_MAX: usize = 10_000;

/// Queues notifications, at most `WAITING_MAX` and one for each event type of a project, with several workers a few more.
#[derive(Debug)]
pub struct NotificationQueue {
    publisher: Publisher,
    topology: Topology,
    jetstream: Context,
    /// Keys of each project that wait, at least those that this process queued.
    waiting: Mutex<HashMap<Project, HashSet<String>>>,
}

/// The key of a project with many notifications: one for each event type.
fn crowded(notification: &Notification) -> String {
    format!("any-{}", notification.event_type)
}

/// A struct of strings always is JSON.
fn payload(notification: &Notification) -> Vec<u8> {
    serde_json::to_vec(notification).unwrap_or_default()
}

/// A notification that is to be queued.
struct Due<'a> {
    notification: &'a Notification,
    origin: &'a Origin,
    own_key: String,
    payload: Vec<u8>,
}

/// The subjects under which a notification may wait.
#[must_use]
pub fn subjects_of(topology: &Topology, project: &Project, notification: &Notification) -> [String; 2] {
    [short_sha256(payload(notification)), crowded(notification)].map(|key| topology.notify_subject(project, &key))
}

impl NotificationQueue {
    #[must_use]
    pub fn new(publisher: Publisher, topology: Topology, jetstream: Context) -> Self {
        Self { publisher, topology, jetstream, waiting: Mutex::default() }
    }

    /// Queues notifications, which come in the order of their events: a newer one replaces an unsent older one with the
    /// same key.
    ///
    /// # Errors
    /// When they are not known to be stored.
    pub async fn put(&self, due: &[(&Notification, &Origin)]) -> Result<(), PublishError> {
        let mut seen = HashSet::new();
        let mut projects: HashMap<&str, Vec<Due<'_>>> = HashMap::new();
        for (notification, origin) in due.iter().rev() {
            if seen.insert(*notification) {
                let payload = payload(notification);
                let due = Due { notification, origin, own_key: short_sha256(&payload), payload };
                projects.entry(&notification.prj).or_default().push(due);
            }
        }
        let mut outgoing = Vec::with_capacity(seen.len());
        let mut queued = Vec::with_capacity(projects.len());
        for (prj, newest_first) in projects {
            // Ingress accepts no other project.
            let Ok(project) = Project::new(prj) else { continue };
            let mut keys = self.keys(&project, newest_first.iter().map(|due| &due.own_key)).await;
            let mut newest = HashSet::new();
            for Due { notification, origin, own_key, payload } in newest_first {
                let key = match keys.len() < WAITING_MAX || keys.contains(&own_key) {
                    true => own_key,
                    false => crowded(notification),
                };
                if !newest.insert(key.clone()) {
                    continue;
                }
                keys.insert(key.clone());
                let mut headers = HeaderMap::new();
                // Its subject in `LD_DEAD` is made from this header.
                headers.insert(header::PROJECT, project.as_str());
                origin.mark(&mut headers);
                let subject = self.topology.notify_subject(&project, &key);
                outgoing.push(Outgoing { subject, headers, payload: payload.into() });
            }
            queued.push((project, keys));
        }
        self.publisher.publish_all(outgoing).await?;
        for (project, keys) in queued {
            self.known(&project, |known| known.extend(keys));
        }
        Ok(())
    }

    fn known<T>(&self, project: &Project, read: impl FnOnce(&mut HashSet<String>) -> T) -> T {
        let mut projects = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if projects.len() > PROJECTS_MAX {
            projects.clear();
        }
        read(projects.entry(project.clone()).or_default())
    }

    /// The keys of a project that wait. Asks the server when they become many with these.
    async fn keys(&self, project: &Project, wanted: impl Iterator<Item = &String>) -> HashSet<String> {
        let known = self.known(project, |keys| keys.clone());
        let new = wanted.filter(|key| !known.contains(*key)).count();
        if new == 0 || known.len() + new < UNCHECKED_MAX {
            return known;
        }
        let asked = async {
            let stream = self.jetstream.get_stream_no_info(self.topology.stream(StreamName::Notify)).await.ok()?;
            let subjects = stream.info_with_subjects(self.topology.notify_filter(project)).await.ok()?;
            let subjects: Vec<(String, usize)> = subjects.try_collect().await.ok()?;
            let key = |(subject, _): &(String, usize)| subject.rsplit('.').next().map(str::to_owned);
            Some(subjects.iter().filter_map(key).collect::<HashSet<String>>())
        };
        // Without an answer the publish that follows fails as well.
        let waiting = asked.await.unwrap_or(known);
        self.known(project, |keys| keys.clone_from(&waiting));
        waiting
    }
}
