//! Sends a delivery again: a dead letter once its cause is fixed, or an event that was processed, so that LD Eval is
//! notified again. Storing it again changes nothing.

use async_nats::HeaderMap;
use shared::envelope::header;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::topology::StreamName;

use super::letters::DeadLetter;
use super::reader::Reader;
use crate::pipeline::dead_letter;
use crate::read::Unreadable;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// It is in its stream again.
    Sent {
        /// The delivery's id.
        delivery: String,
    },
    /// There is no such event or dead letter.
    Absent,
    /// The dead letter holds only the beginning of its event, and the event stream no longer the rest.
    OnlyBeginning,
}

/// It is not known to be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("it was sent again, and the dead letter could not be removed: {0}")]
    NotRemoved(String),
}

impl Reader {
    /// Publishes a dead letter again; it leaves the list once that is durable.
    ///
    /// # Errors
    /// When it is not known to be sent; doing it again is harmless.
    pub async fn redrive(&self, id: u64) -> Result<Again, NotSent> {
        let Some((DeadLetter { delivery, stored_as, .. }, message)) = self.letter(id).await? else {
            return Ok(Again::Absent);
        };
        let Some(outgoing) = dead_letter::revive(&self.jetstream, &self.topology, &message).await else {
            return Ok(Again::OnlyBeginning);
        };
        self.publish(outgoing).await?;
        let stream = self.stream(StreamName::Dead).await?;
        let removed = stream.delete_message(stored_as).await;
        removed.map_err(|error| NotSent::NotRemoved(error.to_string()))?;
        Ok(Again::Sent { delivery })
    }

    /// Publishes an event again, at its place among those of the same instant.
    ///
    /// # Errors
    /// When it is not known to be sent; doing it again is harmless.
    pub async fn resend(&self, sequence: u64) -> Result<Again, NotSent> {
        let Some(event) = self.event(sequence).await? else { return Ok(Again::Absent) };
        let stream = self.stream(StreamName::Events).await?;
        let Ok(message) = stream.get_raw_message(sequence).await else { return Ok(Again::Absent) };
        let mut headers = HeaderMap::new();
        for (name, values) in message.headers.iter().filter(|(name, _)| !name.to_string().starts_with("Nats-")) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
        if headers.get(header::ORIGIN_SEQUENCE).is_none() {
            headers.insert(header::ORIGIN_SEQUENCE, sequence.to_string().as_str());
        }
        // Pressed twice it is sent once.
        let minute = shared::time::now_ms() / 60_000;
        headers.insert(header::MSG_ID, format!("resend:{sequence}:{minute}").as_str());
        let outgoing = Outgoing { subject: message.subject.to_string(), headers, payload: message.payload };
        self.publish(outgoing).await?;
        Ok(Again::Sent { delivery: event.id })
    }

    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        // A batch is of one stream, so each message has a publisher of its own.
        Publisher::new(self.jetstream.client()).publish(message).await.map(drop)
    }
}
