//! What the page says, without how: of each source whether webhooks arrive, and what became of the last deliveries.
//!
//! It holds no stream sequence: those of two deliveries say how much other teams sent between them.

use serde::Serialize;
use shared::facts::WebhookRefused;
use shared::ids::Project;
use shared::source::Source;

use super::facts::Facts;
use crate::deliveries::{Contents, Delivery, Document, Notified, Outcome, State};

/// For how long a refusal is shown, in milliseconds.
const REFUSED_AGE: i64 = 7 * 24 * 3_600_000;

/// How many refusals of a source are shown.
const REFUSALS: usize = 3;

/// Times are in milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Team {
    pub prj: Project,
    /// When this was read.
    pub at: i64,
    /// Whether it could be read: without NATS nothing is known.
    pub is_known: bool,
    pub sources: Vec<SourceSeen>,
    /// The newest first.
    pub deliveries: Vec<Shown>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourceSeen {
    pub source: Source,
    /// Whether an authentic webhook came; `null` where nothing could be read.
    pub connected: Option<bool>,
    pub last_accepted: Option<i64>,
    /// The last test, such as GitHub's `ping`: authentic, and nothing to store.
    pub last_test: Option<i64>,
    pub last_stored: Option<Stored>,
    /// The newest first.
    pub refused: Vec<Refused>,
    pub payload_url: String,
}

/// Documents of a delivery that was processed.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    pub at: i64,
    pub documents: Vec<Document>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub at: i64,
    /// One word, as metrics name it.
    pub reason: String,
    pub times: u32,
    pub since: i64,
    /// Whether the signature was right: anyone can cause the others.
    pub is_verified: bool,
    /// Whether nothing was accepted since.
    pub is_open: bool,
    /// Its id, where the sender is verified.
    pub delivery: Option<String>,
}

/// A delivery and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    pub at: i64,
    pub source: Source,
    pub event: String,
    pub delivery: String,
    pub became: Became,
    /// What it says; `null` where it was not looked into.
    pub documents: Option<Vec<Document>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    Waiting,
    Processing,
    Stored(IsNotified),
    /// It says nothing that is stored.
    Nothing,
    /// It is a dead letter, for this reason.
    Dead(String),
}

/// Whether LD Eval was notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IsNotified {
    /// There is nothing to notify.
    No,
    Waiting,
    Refused,
    Yes,
}

impl Shown {
    pub fn new(delivery: &Delivery, outcome: Outcome, contents: Option<&Contents>) -> Self {
        let is_nothing = contents.is_some_and(|contents| contents.documents.is_empty() && !contents.is_notified);
        let became = match (outcome.state, outcome.notified) {
            (State::Waiting, _) => Became::Waiting,
            (State::Processing, _) => Became::Processing,
            (State::Dead(letter), _) => Became::Dead(letter.reason),
            (State::Processed, _) if is_nothing => Became::Nothing,
            (State::Processed, Notified::Waiting) => Became::Stored(IsNotified::Waiting),
            (State::Processed, Notified::Refused(_)) => Became::Stored(IsNotified::Refused),
            (State::Processed, Notified::Done) => Became::Stored(IsNotified::Yes),
            (State::Processed, Notified::NotYet | Notified::NotOfItself) => Became::Stored(IsNotified::No),
        };
        Self {
            at: delivery.received_at,
            source: delivery.source,
            event: delivery.event.clone(),
            delivery: delivery.id.clone(),
            became,
            documents: contents.map(|contents| contents.documents.clone()),
        }
    }
}

impl SourceSeen {
    /// `last_accepted` and `shown` are what is in the event stream; of `facts`, ingress noted what is not.
    pub fn new(
        source: Source,
        last_accepted: Option<i64>,
        shown: &[Shown],
        facts: &Facts,
        payload_url: String,
        now: i64,
    ) -> Self {
        let last_test = facts.ignored.get(&source).map(|ignored| ignored.at);
        let seen = last_accepted.max(last_test);
        let of_source = facts.refused.iter().filter(|(of, refused, _)| *of == source && now - refused.at < REFUSED_AGE);
        let mut refused: Vec<_> =
            of_source.map(|(_, refused, is_verified)| Refused::new(refused, *is_verified, seen)).collect();
        refused.sort_by_key(|refused| std::cmp::Reverse(refused.at));
        refused.truncate(REFUSALS);
        let is_stored = |shown: &&Shown| shown.source == source && matches!(shown.became, Became::Stored(_));
        let last_stored = shown.iter().filter(is_stored).find_map(|shown| {
            let documents = shown.documents.clone().filter(|documents| !documents.is_empty())?;
            Some(Stored { at: shown.at, documents })
        });
        Self { source, connected: Some(seen.is_some()), last_accepted, last_test, last_stored, refused, payload_url }
    }

    /// While nothing can be read.
    pub const fn unknown(source: Source, payload_url: String) -> Self {
        let (last_accepted, last_test, last_stored) = (None, None, None);
        Self { source, connected: None, last_accepted, last_test, last_stored, refused: Vec::new(), payload_url }
    }
}

impl Refused {
    fn new(refused: &WebhookRefused, is_verified: bool, accepted: Option<i64>) -> Self {
        Self {
            at: refused.at,
            reason: refused.reason.clone(),
            times: refused.times,
            since: refused.since,
            is_verified,
            is_open: accepted.is_none_or(|at| at < refused.at),
            delivery: refused.delivery.clone().filter(|_| is_verified),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::facts::WebhookIgnored;

    use super::*;

    fn refused(at: i64, reason: &str, is_verified: bool) -> (Source, WebhookRefused, bool) {
        let delivery = Some("d".to_owned());
        let (reason, earlier) = (reason.to_owned(), Vec::new());
        let fact = WebhookRefused { at, prj: None, reason, times: 1, since: at, delivery, earlier };
        (Source::Github, fact, is_verified)
    }

    fn seen(last_accepted: Option<i64>, facts: &Facts) -> SourceSeen {
        SourceSeen::new(Source::Github, last_accepted, &[], facts, String::new(), 1_000)
    }

    #[test]
    fn a_test_of_the_provider_is_enough_to_be_connected() {
        let test = WebhookIgnored { at: 5, prj: "A".parse().unwrap(), event: "ping".to_owned() };
        let facts = Facts { ignored: BTreeMap::from([(Source::Github, test)]), ..Facts::default() };
        assert_eq!(seen(None, &facts).connected, Some(true));
        assert_eq!(seen(None, &Facts::default()).connected, Some(false));
    }

    #[test]
    fn a_forged_request_does_not_disconnect_a_team_and_shows_no_id() {
        let facts = Facts { refused: vec![refused(20, "signature", false)], ..Facts::default() };
        let github = seen(Some(10), &facts);
        assert_eq!(github.connected, Some(true));
        assert_eq!((github.refused[0].is_open, &github.refused[0].delivery), (true, &None));
        assert!(!seen(Some(30), &facts).refused[0].is_open);
    }

    #[test]
    fn the_newest_refusals_are_shown_for_a_week() {
        let refused = [10, 30, 20, 40].map(|at| refused(at, "json", true)).into();
        let facts = Facts { refused, ..Facts::default() };
        let at = |now| {
            let seen = SourceSeen::new(Source::Github, None, &[], &facts, String::new(), now);
            seen.refused.iter().map(|refused| refused.at).collect::<Vec<_>>()
        };
        assert_eq!(at(100), [40, 30, 20]);
        assert_eq!(at(35 + REFUSED_AGE), [40]);
    }
}
