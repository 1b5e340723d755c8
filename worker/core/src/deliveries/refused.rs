//! Deliveries that were refused: each project's last ones, as ingress published them.

use async_nats::jetstream::Message;
use serde::Serialize;
use shared::facts::WebhookRefused;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology, source_of};

use super::list::Wanted;
use super::reader::Reader;
use crate::read::{Pass, Unreadable};

/// How many facts are read at most.
const FACTS: u64 = 20_000;

/// A delivery that ingress refused, or could not make durable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// When, in milliseconds since 1970.
    pub at: i64,
    pub source: Source,
    /// The project of its URL, where that is a valid name.
    pub prj: Option<Project>,
    /// The reason as metrics name it, such as `signature`.
    pub reason: String,
    /// The sender's id of it. What a request says of itself whose signature is wrong.
    pub delivery: Option<String>,
    /// Whether its signature was right.
    pub verified: bool,
}

impl Refusal {
    /// Those that one message of `LD_STATUS` says, oldest first.
    #[must_use]
    pub fn of(topology: &Topology, message: &Message) -> Vec<Self> {
        let words = topology.words(StreamName::Status, message.subject.as_str());
        let ["refused", source, ..] = words[..] else { return Vec::new() };
        let (source, verified) = source_of(source);
        let Ok(source) = source.parse::<Source>() else { return Vec::new() };
        let Ok(fact) = serde_json::from_slice::<WebhookRefused>(&message.payload) else { return Vec::new() };
        let prj = fact.prj.clone();
        let reason = fact.reason.clone();
        let one = |at, delivery| Self { at, source, prj: prj.clone(), reason: reason.clone(), delivery, verified };
        let mut all: Vec<_> = fact.earlier.into_iter().map(|earlier| one(earlier.at, earlier.delivery)).collect();
        all.push(one(fact.at, fact.delivery));
        all
    }

    fn is_wanted(&self, wanted: &Wanted) -> bool {
        wanted.event.is_none()
            && wanted.source.is_none_or(|source| source == self.source)
            && wanted.prj.as_ref().is_none_or(|prj| self.prj.as_ref() == Some(prj))
            && wanted.since.is_none_or(|since| self.at >= since)
            && wanted.until.is_none_or(|until| self.at <= until)
    }
}

impl Reader {
    /// The last refusals of each project, as far as they are remembered, oldest first.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn refusals(&self, wanted: &Wanted) -> Result<Vec<Refusal>, Unreadable> {
        let stream = self.stream(StreamName::Status).await?;
        let filters = match &wanted.prj {
            Some(prj) => vec![self.topology.refused_filter(prj), self.topology.refused_unknown_filter()],
            None => vec![self.topology.all_refused_filter()],
        };
        let (messages, _) = Pass::newest(filters, FACTS).read(&stream).await?;
        let mut all: Vec<_> = messages.iter().flat_map(|message| Refusal::of(&self.topology, message)).collect();
        all.retain(|refusal| refusal.is_wanted(wanted));
        all.sort();
        Ok(all)
    }
}
