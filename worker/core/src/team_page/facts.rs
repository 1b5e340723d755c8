//! What ingress noted of one team: refusals, and authentic webhooks that are not stored, such as a `ping`.

use std::collections::BTreeMap;

use async_nats::jetstream::{Context, Message};
use shared::facts::{WebhookIgnored, WebhookRefused};
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology, source_of};

use crate::read::{Pass, Unreadable};

/// More than there are of a team: one for each source and reason.
const MOST: u64 = 200;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The newest of each reason, with whether the sender was verified.
    pub refused: Vec<(Source, WebhookRefused, bool)>,
    pub ignored: BTreeMap<Source, WebhookIgnored>,
}

impl Facts {
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn read(jetstream: &Context, topology: &Topology, prj: &Project) -> Result<Self, Unreadable> {
        let name = topology.stream(StreamName::Status);
        let stream = jetstream.get_stream(&name).await.map_err(|error| Unreadable::new(&name, error))?;
        // A team that ingress does not know yet may be the last unknown one.
        let unknown = Source::ALL.map(|source| topology.refused_subject(source, None, "", false));
        let filters = [topology.refused_filter(prj), topology.ignored_filter(prj)].into_iter().chain(unknown);
        let (messages, _) = Pass::newest(filters.collect(), MOST).read(&stream).await?;
        let mut facts = Self::default();
        for message in &messages {
            facts.record(topology, message, prj);
        }
        Ok(facts)
    }

    fn record(&mut self, topology: &Topology, message: &Message, prj: &Project) {
        match topology.words(StreamName::Status, message.subject.as_str())[..] {
            ["refused", source, ..] => {
                let (source, is_verified) = source_of(source);
                let refused: Option<WebhookRefused> = serde_json::from_slice(&message.payload).ok();
                if let (Ok(source), Some(refused)) = (source.parse(), refused.filter(|of| of.prj.as_ref() == Some(prj)))
                {
                    self.refused.push((source, refused, is_verified));
                }
            }
            ["ignored", source, _] => {
                if let (Ok(source), Ok(ignored)) = (source.parse(), serde_json::from_slice(&message.payload)) {
                    self.ignored.insert(source, ignored);
                }
            }
            _ => {}
        }
    }
}
