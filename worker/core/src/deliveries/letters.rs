//! Dead letters, the newest of them.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use serde::Serialize;
use shared::envelope::header;
use shared::ids::Project;
use shared::topology::StreamName;

use super::reader::Reader;
use crate::pipeline::dead_letter;
use crate::read::{Newest, Unreadable};

/// How many are looked through for one that was redriven and failed again.
const LOOKED_THROUGH: usize = 20_000;

/// A dead letter, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub id: u64,
    /// Where it is in `LD_DEAD`.
    #[serde(skip)]
    pub stored_as: u64,
    /// When it was given up, in milliseconds since 1970.
    pub at: Option<i64>,
    pub reason: String,
    pub error: String,
    pub attempts: Option<u64>,
    pub source: String,
    pub prj: String,
    pub event: String,
    pub delivery: String,
}

impl DeadLetter {
    fn read(sequence: u64, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map_or("", |value| value.as_str());
        Self {
            id: dead_letter::id(sequence, headers),
            stored_as: sequence,
            at: shared::time::parse_instant(text(dead_letter::AT)),
            reason: text(dead_letter::REASON).to_owned(),
            error: text(dead_letter::ERROR).to_owned(),
            attempts: text(dead_letter::ATTEMPTS).parse().ok(),
            source: text(header::SOURCE).to_owned(),
            prj: text(header::PROJECT).to_owned(),
            event: text(header::EVENT).to_owned(),
            delivery: text(header::DELIVERY).to_owned(),
        }
    }
}

impl Reader {
    /// The newest first, of one project or of all, at most so many.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn letters(&self, prj: Option<&Project>, count: usize) -> Result<Vec<DeadLetter>, Unreadable> {
        let stream = self.stream(StreamName::Dead).await?;
        let filters = vec![self.topology.dead_filter(None, prj)];
        let newest = Newest { filters, since: None, until: None, headers_only: true, count };
        let messages = newest.read(&stream).await?;
        let letter = |message: &async_nats::jetstream::Message| {
            Some(DeadLetter::read(message.info().ok()?.stream_sequence, message.headers.as_ref()?))
        };
        Ok(messages.iter().rev().filter_map(letter).collect())
    }

    /// A dead letter by its id, and all of it.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn letter(&self, id: u64) -> Result<Option<(DeadLetter, StreamMessage)>, Unreadable> {
        let stream = self.stream(StreamName::Dead).await?;
        let name = self.topology.stream(StreamName::Dead);
        let read = async |sequence: u64| match stream.get_raw_message(sequence).await {
            Ok(message) => {
                let letter = DeadLetter::read(message.sequence, &message.headers);
                Ok(Some((letter, message)).filter(|(letter, _)| letter.id == id))
            }
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(Unreadable::new(&name, error)),
        };
        if let Some(found) = read(id).await? {
            return Ok(Some(found));
        }
        match self.letters(None, LOOKED_THROUGH).await?.iter().find(|letter| letter.id == id) {
            Some(letter) => read(letter.stored_as).await,
            None => Ok(None),
        }
    }
}
