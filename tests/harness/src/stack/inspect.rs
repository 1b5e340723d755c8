//! Looks at what a stack has made: documents, messages, what is left to do.

use anyhow::{Context as _, anyhow, ensure};
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::StreamMessage;
use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;

use super::Stack;
use crate::servers::{mongo, nats};

/// A stream as a test names it, without the prefix: `LD_EVENTS`, `LD_NOTIFY`, `LD_ENRICH`, `LD_DEAD`.
pub type StreamName<'a> = &'a str;

impl Stack {
    /// The database in which the worker writes.
    ///
    /// # Errors
    /// When MongoDB's address cannot be read.
    pub async fn db(&self) -> anyhow::Result<mongodb::Database> {
        Ok(mongo::connect(&self.mongo_uri).await?.database(&self.database))
    }

    /// All documents of a collection, without `_id` and our own `_ld`, sorted by their text.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn documents(&self, collection: &str) -> anyhow::Result<Vec<Document>> {
        let all = self.db().await?.collection::<RawDocumentBuf>(collection);
        let plain = all.find(doc! {}).projection(doc! { "_id": 0, "_ld": 0 }).await?;
        // By way of the raw bytes: read straight into a `Document`, a field named `$oid` would become an ObjectId.
        let raw: Vec<RawDocumentBuf> = plain.try_collect().await?;
        let mut found = raw.iter().map(Document::try_from).collect::<Result<Vec<_>, _>>()?;
        found.sort_by_cached_key(ToString::to_string);
        Ok(found)
    }

    /// The only document of a collection.
    ///
    /// # Errors
    /// When there are none or several.
    pub async fn document(&self, collection: &str) -> anyhow::Result<Document> {
        let mut all = self.documents(collection).await?;
        ensure!(all.len() == 1, "{collection} holds {} documents, not one", all.len());
        all.pop().context("one document")
    }

    /// JetStream, as an operator sees it.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn jetstream(&self) -> anyhow::Result<jetstream::Context> {
        Ok(jetstream::new(nats::connect(&self.nats_url).await?))
    }

    /// One of our streams.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn stream(&self, name: StreamName<'_>) -> anyhow::Result<jetstream::stream::Stream> {
        let name = if self.prefix.is_empty() { name.to_owned() } else { format!("{}_{name}", self.prefix) };
        self.jetstream().await?.get_stream(&name).await.with_context(|| format!("the stream {name}"))
    }

    /// How many messages a stream holds.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn messages(&self, name: StreamName<'_>) -> anyhow::Result<u64> {
        Ok(self.stream(name).await?.cached_info().state.messages)
    }

    /// The dead letters, oldest first.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<StreamMessage>> {
        let stream = self.stream("LD_DEAD").await?;
        let state = &stream.cached_info().state;
        let mut dead_letters = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            dead_letters
                .push(stream.get_raw_message(sequence).await.with_context(|| format!("dead letter {sequence}"))?);
        }
        Ok(dead_letters)
    }

    /// The consumer that workers share: how much of `LD_EVENTS` is in flight, how much came again.
    ///
    /// # Errors
    /// When there is none.
    pub async fn consumer(&self) -> anyhow::Result<PullConsumer> {
        let consumer = self.stream("LD_EVENTS").await?.get_consumer("ld-worker").await;
        consumer.map_err(|error| anyhow!("the workers' consumer: {error}"))
    }

    /// Every event was taken and settled, and every notification was sent.
    ///
    /// # Errors
    /// When something is still to do; the text says what.
    pub async fn nothing_pending(&self) -> anyhow::Result<()> {
        let events = self.stream("LD_EVENTS").await?;
        let consumers: Vec<_> = events.consumers().try_collect().await?;
        ensure!(!consumers.is_empty(), "LD_EVENTS has no consumer");
        for consumer in consumers {
            ensure!(consumer.num_pending == 0, "{} events were not taken yet", consumer.num_pending);
            ensure!(consumer.num_ack_pending == 0, "{} events are not settled", consumer.num_ack_pending);
        }
        let notify = self.messages("LD_NOTIFY").await?;
        ensure!(notify == 0, "{notify} notifications were not sent");
        Ok(())
    }
}
