//! What every reconciliation uses: streams, documents, and its state in NATS.
//!
//! ```text
//! ld.reconcile.owed.<prj>              {"quality_model":"AMEP"}     events were published, LD Eval is not notified yet
//! ld.reconcile.done.<source>.<prj>     {"at":1795455723511}         when a team was last reconciled
//! ld.reconcile.gaps                    {…}                          up to where beats were read, and the gap in recovery
//! ld.reconcile.page.<hash>             a page of a list (`kept`)
//! ```

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::credentials::Handle;
use shared::envelope::header;
use shared::ids::{Project, QualityModel};
use shared::publish::{Outgoing, Publisher};
use shared::topology::{StreamName, Topology};
use worker_core::store::{RulesCache, Store};
use worker_event::normalise::Settings;
use worker_event::privacy::Rules;

use crate::client::Halt;

/// Streams and documents.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Documents, which are only read here.
    pub store: Store,
    /// To `LD_EVENTS`.
    pub publisher: Publisher,
    /// To all other streams: a batch is of one stream.
    pub others: Publisher,
    /// For streams and consumers.
    pub jetstream: Context,
    /// Names.
    pub topology: Topology,
    /// How events are read.
    pub settings: Settings,
    forgotten: Arc<RulesCache>,
}

impl Parts {
    #[must_use]
    pub fn new(store: Store, client: async_nats::Client, jetstream: Context, topology: Topology) -> Self {
        let (publisher, others) = (Publisher::new(client.clone()), Publisher::new(client));
        Self { store, publisher, others, jetstream, topology, settings: Settings::default(), forgotten: Arc::default() }
    }

    /// Reads events so.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Forgotten people.
    pub(crate) async fn forgotten(&self) -> Result<Arc<Rules>, Halt> {
        self.forgotten.current(&self.store).await.map_err(Halt::mongo)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When NATS cannot be read.
    pub async fn remembered<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Halt> {
        let subject = self.topology.reconcile_subject(key);
        let stream = self.jetstream.get_stream_no_info(self.topology.stream(StreamName::Reconcile)).await;
        let stream = stream.map_err(Halt::nats)?;
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(serde_json::from_slice(&message.payload).ok()),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Halt::nats(error)),
        }
    }

    /// Stores the value of a key.
    ///
    /// # Errors
    /// When NATS does not take it.
    pub async fn remember(&self, key: &str, what: &impl Serialize) -> Result<(), Halt> {
        let payload = serde_json::to_vec(what).map_err(Halt::nats)?;
        let subject = self.topology.reconcile_subject(key);
        let message = Outgoing { subject, headers: HeaderMap::new(), payload: payload.into() };
        self.others.publish(message).await.map(drop).map_err(Halt::nats)
    }

    /// Records that events of a project were published of which LD Eval is not notified yet.
    ///
    /// # Errors
    /// When NATS does not take it.
    pub async fn owe_notifications(&self, prj: &Project, model: Option<&QualityModel>) -> Result<(), Halt> {
        let owed = serde_json::json!({ "quality_model": model.map(QualityModel::as_str) });
        self.remember(&owed_key(prj), &owed).await
    }

    /// The quality model of a project's course, else that of its newest event.
    ///
    /// # Errors
    /// When NATS cannot be read.
    pub async fn quality_model(&self, courses: &Handle, prj: &Project) -> Result<Option<QualityModel>, Halt> {
        let courses = courses.courses();
        match courses.course_of(prj).and_then(|course| course.quality_model.clone()) {
            Some(model) => Ok(Some(model)),
            None => self.newest_quality_model(prj).await,
        }
    }

    /// The quality model of a project's newest event.
    ///
    /// # Errors
    /// When NATS cannot be read.
    pub async fn newest_quality_model(&self, prj: &Project) -> Result<Option<QualityModel>, Halt> {
        let subject = self.topology.event_filter(None, Some(prj), None);
        let stream = self.jetstream.get_stream_no_info(self.topology.stream(StreamName::Events)).await;
        let stream = stream.map_err(Halt::nats)?;
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(message.headers.get(header::QUALITY_MODEL).and_then(|model| model.as_str().parse().ok())),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Halt::nats(error)),
        }
    }

    /// Whether LD Eval is still to be notified of a project, and with which quality model.
    pub(crate) async fn owed(&self, prj: &Project) -> Result<Option<Option<String>>, Halt> {
        let owed: Option<Value> = self.remembered(&owed_key(prj)).await?;
        let model = |owed: Value| owed.get("quality_model").and_then(Value::as_str).map(str::to_owned);
        Ok(owed.filter(Value::is_object).map(model))
    }

    /// Records that LD Eval is notified.
    pub(crate) async fn paid(&self, prj: &Project) -> Result<(), Halt> {
        self.remember(&owed_key(prj), &Value::Null).await
    }
}

fn owed_key(prj: &Project) -> String {
    format!("owed.{prj}")
}
