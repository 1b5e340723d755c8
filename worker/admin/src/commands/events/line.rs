//! One delivery as one line: of a table, of what is followed, and for scripts.

use serde_json::{Value, json};
use shared::ids::Project;
use shared::source::Source;
use shared::time::rfc3339;
use worker_core::deliveries::refused::Refusal;
use worker_core::deliveries::story::{State, Story};

/// A delivery in a line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub sequence: Option<u64>,
    /// In milliseconds since 1970.
    pub at: i64,
    pub source: Source,
    pub prj: Option<Project>,
    pub event: Option<String>,
    pub delivery: String,
    pub state: State,
    /// It was sent again: the sequence that it had first.
    pub again_of: Option<u64>,
    pub backfill: bool,
    pub notified_at: Option<i64>,
    /// Of a refused or dead one, one word.
    pub reason: Option<String>,
    /// Of a dead one.
    pub error: Option<String>,
    pub dead_letter: Option<u64>,
}

impl Line {
    pub(super) fn of(story: &Story) -> Self {
        let delivery = &story.delivery;
        let letter = story.dead_letter.as_ref();
        Self {
            sequence: Some(delivery.sequence),
            at: delivery.received_at,
            source: delivery.source,
            prj: Some(delivery.prj.clone()),
            event: Some(delivery.event.clone()),
            delivery: delivery.id.clone(),
            state: story.state,
            again_of: delivery.again_of,
            backfill: delivery.read_at.is_some(),
            notified_at: story.notified_at(),
            reason: letter.map(|letter| letter.reason.clone()),
            error: letter.map(|letter| letter.error.clone()),
            dead_letter: letter.map(|letter| letter.id),
        }
    }

    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        Self {
            sequence: None,
            at: refusal.at,
            source: refusal.source,
            prj: refusal.prj.clone(),
            event: None,
            delivery: refusal.delivery.clone().unwrap_or_default(),
            state: State::Refused,
            again_of: None,
            backfill: false,
            notified_at: None,
            reason: Some(refusal.reason.clone()),
            error: None,
            dead_letter: None,
        }
    }

    pub(super) fn prj(&self) -> &str {
        self.prj.as_ref().map_or("-", Project::as_str)
    }

    pub(super) fn event(&self) -> &str {
        self.event.as_deref().unwrap_or("-")
    }

    pub(super) fn delivery(&self) -> &str {
        if self.delivery.is_empty() { "-" } else { &self.delivery }
    }

    /// What there is to say beside the state.
    pub(super) fn detail(&self) -> String {
        let mut said = Vec::new();
        match (&self.reason, self.dead_letter) {
            (Some(reason), Some(id)) => said.push(format!("dead letter {id}, {reason}")),
            (Some(reason), None) => said.push(reason.clone()),
            (None, _) => {}
        }
        said.extend(self.error.clone());
        if let Some(at) = self.notified_at {
            said.push(format!("LD Eval at {}", rfc3339(at)));
        }
        if let Some(origin) = self.again_of {
            said.push(format!("sent again, first as {origin}"));
        }
        if self.backfill {
            said.push("read from the provider's API".to_owned());
        }
        said.join("; ")
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "sequence": self.sequence, "at": rfc3339(self.at), "source": self.source, "prj": self.prj,
            "event": self.event, "delivery": self.delivery, "state": self.state, "again_of": self.again_of,
            "backfill": self.backfill, "notified_at": self.notified_at.map(rfc3339), "reason": self.reason,
            "error": self.error, "dead_letter": self.dead_letter,
        })
    }
}
