//! Metrics. Handles of the hot path are made once; labels are bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use shared::credentials::KeyKind;
use shared::ids::Project;
use shared::source::{PerSource, Source};

const REQUESTS: &str = "ldconnect_ingest_requests_total";
const BODY_BYTES: &str = "ldconnect_ingest_body_bytes_total";
const SIGNED: &str = "ldconnect_ingest_signed_total";
const PUBLISH_SECONDS: &str = "ldconnect_ingest_publish_seconds";
const LAST_ACCEPTED: &str = "ldconnect_ingest_last_accepted_timestamp_seconds";
const LAST_REJECTED: &str = "ldconnect_ingest_last_rejected_timestamp_seconds";
const CONNECTIONS: &str = "ldconnect_ingest_connections";
const CONNECTIONS_REFUSED: &str = "ldconnect_ingest_connections_turned_away_total";

/// How many projects have time series of their own. Names come from unauthenticated clients.
const MAX_PROJECTS: usize = 2_000;

#[derive(Debug)]
pub struct Meters {
    sources: PerSource<SourceMeters>,
    /// From a complete body to JetStream's acknowledgement.
    pub publish_seconds: Histogram,
    projects: Mutex<HashMap<(Source, Project), LastSeen>>,
}

#[derive(Debug)]
struct SourceMeters {
    accepted: Counter,
    duplicate: Counter,
    ignored: Counter,
    body_bytes: Counter,
    team_key: Counter,
    course_key: Counter,
    previous_key: Counter,
    no_key: Counter,
}

#[derive(Debug, Default)]
struct LastSeen {
    accepted: Option<Gauge>,
    /// With a right signature, and without.
    rejected: [Option<Gauge>; 2],
}

impl Meters {
    /// Registers everything with the recorder that is installed now.
    #[must_use]
    pub fn new() -> Self {
        describe_counter!(
            REQUESTS,
            "Webhooks by source, outcome (accepted, duplicate, ignored, rejected, failed) and reason"
        );
        describe_counter!(BODY_BYTES, "Bytes of bodies that were read");
        describe_counter!(
            SIGNED,
            "Authentic webhooks by the key that signed them: team (derived for the team), course (the secret itself, of the course or the default), previous (a predecessor: change the sender), none (an unsigned sheet)"
        );
        describe_histogram!(PUBLISH_SECONDS, "From a complete body to JetStream's acknowledgement");
        describe_gauge!(LAST_ACCEPTED, "When a webhook of this project was last accepted, in Unix time");
        describe_gauge!(
            LAST_REJECTED,
            "When a webhook of this known project was last refused, in Unix time; verified=false: before its signature was found right, which anybody can cause"
        );
        describe_gauge!(CONNECTIONS, "Open connections");
        describe_counter!(CONNECTIONS_REFUSED, "Connections answered 503 or dropped because too many were open");
        counter!(CONNECTIONS_REFUSED).increment(0);
        Self {
            sources: PerSource::new(SourceMeters::new),
            publish_seconds: histogram!(PUBLISH_SECONDS),
            projects: Mutex::default(),
        }
    }

    /// A body was read.
    pub fn body(&self, source: Source, bytes: usize) {
        self.sources.of(source).body_bytes.increment(bytes as u64);
    }

    /// A webhook is authentic: signed with this key, or `None` was needed.
    pub fn signed(&self, source: Source, key: Option<KeyKind>) {
        let of = self.sources.of(source);
        let counter = match key {
            Some(KeyKind::Team) => &of.team_key,
            Some(KeyKind::Course) => &of.course_key,
            Some(KeyKind::Previous) => &of.previous_key,
            None => &of.no_key,
        };
        counter.increment(1);
    }

    /// A webhook is in JetStream. `known` when its project may have time series of its own.
    pub fn accepted(&self, source: Source, project: &Project, duplicate: bool, known: bool) {
        let of = self.sources.of(source);
        if duplicate { &of.duplicate } else { &of.accepted }.increment(1);
        if !known {
            return;
        }
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        // Cloning an id is counting a reference.
        let key = (source, project.clone());
        if !projects.contains_key(&key) && projects.len() >= MAX_PROJECTS {
            return;
        }
        let last = projects.entry(key).or_default();
        last.accepted.get_or_insert_with(|| last_seen(LAST_ACCEPTED, source, project)).set(now());
    }

    /// Whether a project is one of the bounded number that is known here; `may_be` when it becomes one.
    pub fn is_known(&self, source: Source, project: &Project, may_be: bool) -> bool {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source, project.clone());
        if may_be && projects.len() < MAX_PROJECTS {
            projects.entry(key.clone()).or_default();
        }
        projects.contains_key(&key)
    }

    /// An event of a kind that is not stored.
    pub fn ignored(&self, source: Source) {
        self.sources.of(source).ignored.increment(1);
    }

    /// A webhook was refused, or failed; `source` when its path named one.
    pub fn refused(&self, source: Option<Source>, failed: bool, reason: &'static str) {
        let outcome = if failed { "failed" } else { "rejected" };
        let source = source.map_or("none", Source::as_str);
        counter!(REQUESTS, "source" => source, "outcome" => outcome, "reason" => reason).increment(1);
    }

    /// A webhook for a project was refused; `verified` when its signature was right. Only a team of the credentials file
    /// (`team`) or a project that has been
    /// accepted before gets a time series: a client can invent others. Returns whether it has one.
    pub fn last_rejected(&self, source: Source, project: &Project, team: bool, verified: bool) -> bool {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source, project.clone());
        if team && !projects.contains_key(&key) && projects.len() < MAX_PROJECTS {
            let accepted = Some(last_seen(LAST_ACCEPTED, source, project));
            projects.insert(key.clone(), LastSeen { accepted, ..LastSeen::default() });
        }
        let known = projects.get_mut(&key);
        known.is_some_and(|last| {
            let word = if verified { "true" } else { "false" };
            let [right, wrong] = &mut last.rejected;
            let gauge = if verified { right } else { wrong };
            let (source, prj) = (source.as_str(), project.to_string());
            let make = || gauge!(LAST_REJECTED, "source" => source, "prj" => prj, "verified" => word);
            gauge.get_or_insert_with(make).set(now());
            true
        })
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl SourceMeters {
    fn new(source: Source) -> Self {
        let name = source.as_str();
        let outcome =
            |outcome: &'static str| counter!(REQUESTS, "source" => name, "outcome" => outcome, "reason" => "");
        let signed = |key: &'static str| counter!(SIGNED, "source" => name, "key" => key);
        Self {
            accepted: outcome("accepted"),
            duplicate: outcome("duplicate"),
            ignored: outcome("ignored"),
            body_bytes: counter!(BODY_BYTES, "source" => name),
            team_key: signed(KeyKind::Team.as_str()),
            course_key: signed(KeyKind::Course.as_str()),
            previous_key: signed(KeyKind::Previous.as_str()),
            no_key: signed("none"),
        }
    }
}

/// The gauge of open connections.
pub fn connections() -> Gauge {
    gauge!(CONNECTIONS)
}

/// A connection over the limit was refused.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

fn last_seen(name: &'static str, source: Source, project: &Project) -> Gauge {
    gauge!(name, "source" => source.as_str(), "prj" => project.to_string())
}

fn now() -> f64 {
    shared::time::now_ms() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_projects_cannot_fill_the_memory() {
        let meters = Meters::new();
        let count = |meters: &Meters| meters.projects.lock().unwrap().len();
        assert!(!meters.last_rejected(Source::Github, &Project::new("invented").unwrap(), false, false));
        assert_eq!(count(&meters), 0);
        meters.accepted(Source::Excel, &Project::new("unsigned").unwrap(), false, false);
        assert_eq!(count(&meters), 0);
        for i in 0..MAX_PROJECTS + 10 {
            meters.accepted(Source::Github, &Project::new(&format!("p{i}")).unwrap(), false, true);
        }
        assert_eq!(count(&meters), MAX_PROJECTS);
    }
}
