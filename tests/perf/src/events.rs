//! A mixture of events like a term's, the same in every run: half of them new entities, half of them
//! updates of entities that an earlier event made. A task belongs to a story of its project, and its event contains the story.

use std::collections::HashMap;

use bson::{Document, doc};
use bytes::Bytes;
use harness::sender::{github, sheets, taiga};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::envelope::{self, Envelope};
use shared::ids::{Project, QualityModel};
use shared::publish::Outgoing;
use shared::source::Source;
use shared::topology::Topology;

use crate::http::unique_id;

/// What an entity is. The first two are never updated: a commit stays, a row is new each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Row,
    Issue,
    PullRequest,
    Story,
    Task,
    TaigaIssue,
    Epic,
}

/// Of a hundred new entities, how many are of each kind.
const SHARES: [(Kind, u32); 8] = [
    (Kind::Commit, 30),
    (Kind::Row, 10),
    (Kind::Issue, 15),
    (Kind::PullRequest, 10),
    (Kind::Story, 10),
    (Kind::Task, 15),
    (Kind::TaigaIssue, 5),
    (Kind::Epic, 5),
];

/// The first event's time: milliseconds since 1970, each event a second later than the one before.
const BEGIN: i64 = 1_790_000_000_000;

/// One event, and the document it ends in.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// What travels.
    pub(crate) envelope: Envelope,
    /// The document's collection.
    pub(crate) collection: String,
    pub(crate) key: Document,
}

impl Event {
    /// As ingress would publish it.
    pub(crate) fn outgoing(&self, topology: &Topology) -> Outgoing {
        let (headers, payload) = envelope::encode(&self.envelope);
        let Envelope { source, project, event, .. } = &self.envelope;
        Outgoing { subject: topology.event_subject(*source, project, event), headers, payload }
    }
}

/// A task belongs to one of so many stories that its project made last.
const CURRENT: usize = 10;

/// An entity, named by its project and its number.
#[derive(Debug, Clone, Copy)]
struct Entity {
    kind: Kind,
    project: usize,
    id: u64,
    /// Tasks: their story.
    story: u64,
}

/// An endless mixture.
#[derive(Debug)]
pub(crate) struct Mix {
    random: SmallRng,
    /// Each project's stories, the newest last.
    stories: Vec<Vec<u64>>,
    /// By number: the last event of each story. Its tasks' events contain the story as it left it.
    changed: HashMap<u64, u64>,
    /// Entities that can be updated.
    pool: Vec<Entity>,
    n: u64,
}

impl Mix {
    /// Over this many projects, each of which has eight collections.
    pub(crate) fn new(projects: usize) -> Self {
        Self {
            random: SmallRng::seed_from_u64(7),
            stories: vec![Vec::new(); projects],
            changed: HashMap::new(),
            pool: Vec::new(),
            n: 0,
        }
    }

    fn fresh(&mut self) -> Entity {
        let mut share: u32 = self.random.random_range(0..100);
        let mut kind = Kind::Commit;
        for (candidate, size) in SHARES {
            kind = candidate;
            match share.checked_sub(size) {
                Some(rest) => share = rest,
                None => break,
            }
        }
        let project = self.random.random_range(0..self.stories.len());
        let stories = &mut self.stories[project];
        if kind == Kind::Task && stories.is_empty() {
            kind = Kind::Story;
        }
        if kind == Kind::Story {
            stories.push(self.n);
        }
        let current = &stories[stories.len().saturating_sub(CURRENT)..];
        let story = if kind == Kind::Task { current[self.random.random_range(0..current.len())] } else { 0 };
        let entity = Entity { kind, project, id: self.n, story };
        if !matches!(kind, Kind::Commit | Kind::Row) {
            self.pool.push(entity);
        }
        entity
    }
}

impl Iterator for Mix {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.n += 1;
        let entity = match self.pool.len() {
            held if held > 0 && self.n.is_multiple_of(2) => self.pool[self.random.random_range(0..held)],
            _ => self.fresh(),
        };
        let author = self.random.random_range(0..5);
        if entity.kind == Kind::Story {
            self.changed.insert(entity.id, self.n);
        }
        let story = self.changed.get(&entity.story).map_or_else(Value::default, |at| story(entity.story, *at));
        Some(event(entity, story, self.n, author))
    }
}

/// A story as its event number `n` left it.
fn story(id: u64, n: u64) -> Value {
    let number = id as i64;
    let mut story = taiga::userstory(number, &format!("userstory {number} as of {n}"));
    story["milestone"] = taiga::milestone(number % 5, &format!("Sprint {}", number % 5));
    story
}

/// The event that says of an entity what it is as of `n`.
fn event(Entity { kind, project, id, .. }: Entity, of: Value, n: u64, author: u32) -> Event {
    let prj = format!("Team{project:04}");
    let (at, number) = (shared::time::rfc3339(BEGIN + n as i64 * 1000), id as i64);
    let login = format!("student{author}");
    let from_taiga = |kind: &str, data: Value| {
        let mut event = taiga::event(kind, if id == n { "create" } else { "change" }, &at, data);
        event["by"]["username"] = json!(login);
        event
    };
    let from_github = |mut body: Value| {
        body["sender"]["login"] = json!(login);
        body
    };
    let subject = |kind: &str| format!("{kind} {number} as of {n}");
    let keyed = |field: &str| doc! { field: number };
    let repo = |field: &str| doc! { "repo_name": github::REPO, field: number };
    let (source, event, suffix, key, body) = match kind {
        Kind::Commit => {
            let sha = github::sha(id);
            let commit = github::commit(&sha, &format!("Task #{}: change number {id}", id % 100));
            let push = github::push(1_790_000_000 + number, [commit]);
            (Source::Github, "push", "commits", doc! { "sha": sha }, from_github(push))
        }
        Kind::Row => {
            let mut row = sheets::row(id);
            row["comment"] = json!(format!("Fila {id} de {prj}"));
            let sha = harness::sender::sign::sha256(row.to_string().as_bytes());
            (Source::Excel, "sheets_activity", "sheets", doc! { "activity_id": sha }, row)
        }
        Kind::Issue => {
            let body = github::issue(id, if id == n { "opened" } else { "edited" }, &at);
            (Source::Github, "issues", "issues", repo("issue_id"), from_github(body))
        }
        Kind::PullRequest => {
            let body = github::pull_request(id, "closed", &at);
            (Source::Github, "pull_request", "pull_requests", repo("pr_number"), from_github(body))
        }
        Kind::Story => {
            let body = from_taiga("userstory", story(id, n));
            (Source::Taiga, "userstory", "userstories", keyed("userstory_id"), body)
        }
        Kind::Task => {
            let milestone = of["milestone"].clone();
            let mut task = taiga::task(number, &subject("task"), of);
            // A task's is its story's, and Taiga sends both.
            task["milestone"] = milestone;
            (Source::Taiga, "task", "tasks", keyed("task_id"), from_taiga("task", task))
        }
        Kind::TaigaIssue => {
            let body = from_taiga("issue", taiga::issue(number, &subject("issue")));
            (Source::Taiga, "issue", "issues", keyed("issue_id"), body)
        }
        Kind::Epic => {
            // Its name stays: an epic's events are about its status and its stories.
            let mut epic = taiga::epic(number, &format!("epic {number}"));
            epic["status"]["name"] = json!(format!("as of {n}"));
            (Source::Taiga, "epic", "epics", keyed("epic_id"), from_taiga("epic", epic))
        }
    };
    let envelope = Envelope {
        source,
        project: Project::new(&prj).expect("a number is within the alphabet"),
        event: event.to_owned(),
        delivery: unique_id(),
        quality_model: QualityModel::new("AMEP").ok(),
        received_at: shared::time::now_ms(),
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload: Bytes::from(body.to_string()),
    };
    Event { envelope, collection: format!("{source}_{prj}.{suffix}"), key }
}
