//! Finds a delivery by what a person has: the id that the sender shows, a sequence, or a `Nats-Msg-Id`.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::DeliverPolicy;
use serde::Serialize;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::StreamName;

use super::delivery::Delivery;
use super::list::Wanted;
use super::reader::Reader;
use super::refused::Refusal;
use crate::read::{Pass, Unreadable};

/// How many of the newest events are looked at first; then four times as many, and so on.
const FIRST_LOOK: u64 = 20_000;

/// The longest id that is searched for.
const ID_MAX: usize = 300;

/// What is known of an id.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// Oldest first: a delivery that was sent again is several events.
    pub events: Vec<Delivery>,
    pub refusals: Vec<Refusal>,
    /// Whether the whole stream was searched.
    pub complete: bool,
}

impl Found {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.refusals.is_empty()
    }
}

/// What an id can be.
#[derive(Debug, PartialEq, Eq)]
enum Id<'a> {
    Sequence(u64),
    /// With the source and the project of a `Nats-Msg-Id`.
    Delivery(Option<(Source, Project)>, &'a str),
}

impl<'a> Id<'a> {
    fn of(text: &'a str) -> Self {
        if let Ok(sequence) = text.parse() {
            return Self::Sequence(sequence);
        }
        if let [source, prj, identity] = text.splitn(3, ':').collect::<Vec<_>>()[..]
            && let (Ok(source), Ok(prj)) = (source.parse(), Project::new(prj))
        {
            return Self::Delivery(Some((source, prj)), identity);
        }
        Self::Delivery(None, text)
    }
}

impl Reader {
    /// What is known of a delivery. Looks at the newest events first, and no longer than `time`.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn find(&self, id: &str, time: Duration) -> Result<Found, Unreadable> {
        let until = Instant::now() + time;
        let id = id.trim();
        if id.is_empty() || id.len() > ID_MAX {
            return Ok(Found { complete: true, ..Found::default() });
        }
        match Id::of(id) {
            Id::Sequence(sequence) => {
                if let Some(event) = self.event(sequence).await? {
                    return Ok(Found { events: vec![event], complete: true, ..Found::default() });
                }
                // A sender's id may be digits, too.
                self.of_delivery(None, id, until).await
            }
            Id::Delivery(of, identity) => self.of_delivery(of, identity, until).await,
        }
    }

    /// The event of a sequence.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn event(&self, sequence: u64) -> Result<Option<Delivery>, Unreadable> {
        let stream = self.stream(StreamName::Events).await?;
        let state = &stream.cached_info().state;
        if !(state.first_sequence..=state.last_sequence).contains(&sequence) {
            return Ok(None);
        }
        let filters = vec![self.topology.event_filter(None, None, None)];
        let pass = Pass { filters, from: at(sequence), headers_only: true, most: 1, until: None };
        let (messages, _) = pass.read(&stream).await?;
        let event = messages.first().and_then(|message| Delivery::of(&self.topology, message));
        // It was removed, and this is the next one.
        Ok(event.filter(|event| event.sequence == sequence))
    }

    async fn of_delivery(
        &self,
        of: Option<(Source, Project)>,
        delivery: &str,
        until: Instant,
    ) -> Result<Found, Unreadable> {
        let (source, prj) = of.unzip();
        let (mut events, complete) = self.events_of(source, prj.as_ref(), delivery, until).await?;
        // The first of an event that was sent again may be further back than was looked.
        for origin in events.iter().filter_map(|event| event.again_of).collect::<Vec<_>>() {
            if !events.iter().any(|event| event.sequence == origin) {
                events.extend(self.event(origin).await?.filter(|first| first.id == delivery));
            }
        }
        events.sort_by_key(|event| event.sequence);
        let mut refusals = self.refusals(&Wanted { source, prj, ..Wanted::default() }).await?;
        refusals.retain(|refusal| refusal.delivery.as_deref() == Some(delivery));
        Ok(Found { events, refusals, complete })
    }

    /// Looks at more and more of the newest events, until one is of the delivery.
    async fn events_of(
        &self,
        source: Option<Source>,
        prj: Option<&Project>,
        delivery: &str,
        until: Instant,
    ) -> Result<(Vec<Delivery>, bool), Unreadable> {
        let stream = self.stream(StreamName::Events).await?;
        let filter = self.topology.event_filter(source, prj, None);
        let state = &stream.cached_info().state;
        let (mut end, mut portion) = (state.last_sequence + 1, FIRST_LOOK);
        while end > state.first_sequence {
            let start = end.saturating_sub(portion).max(state.first_sequence);
            let pass = Pass {
                filters: vec![filter.clone()],
                from: at(start),
                headers_only: true,
                most: end - start,
                until: Some(until),
            };
            let (messages, _) = pass.read(&stream).await?;
            let events = messages.iter().filter_map(|message| Delivery::of(&self.topology, message));
            let mut events: Vec<_> = events.filter(|event| event.id == delivery).collect();
            events.dedup_by_key(|event| event.sequence);
            if !events.is_empty() {
                return Ok((events, true));
            }
            if Instant::now() > until {
                return Ok((Vec::new(), false));
            }
            (end, portion) = (start, portion.saturating_mul(4));
        }
        Ok((Vec::new(), true))
    }
}

const fn at(sequence: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence { start_sequence: if sequence == 0 { 1 } else { sequence } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_sequence_a_message_id_or_what_the_sender_shows() {
        let team = Project::new("A").unwrap();
        for (text, id) in [
            ("17", Id::Sequence(17)),
            ("github:A:72d3-x", Id::Delivery(Some((Source::Github, team)), "72d3-x")),
            ("72d3162e-cc78", Id::Delivery(None, "72d3162e-cc78")),
            ("a:b:c", Id::Delivery(None, "a:b:c")),
        ] {
            assert_eq!(Id::of(text), id, "{text}");
        }
    }
}
