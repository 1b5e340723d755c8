//! Publishes differences as events: in the shape of webhooks, dated at the time of reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use shared::envelope::{self, Envelope};
use shared::hash::short_sha256;
use shared::publish::Outgoing;
use shared::source::Source;
use worker_event::normalise::BACKFILL;
use worker_event::privacy::Rules;

use crate::client::Halt;
use crate::parts::Parts;
use crate::report::{Counts, Finding, Line, Report};
use crate::scope::Scope;

/// How many events are published together.
const TOGETHER: usize = 200;

/// The events of one place, and its findings.
#[derive(Debug)]
pub struct Feed<'a> {
    pub scope: &'a Scope,
    /// Forgotten people: what is compared passes this filter, as what is stored does.
    pub forgotten: Arc<Rules>,
    parts: &'a Parts,
    source: Source,
    place: String,
    waiting: Vec<Outgoing>,
    counts: BTreeMap<&'static str, Counts>,
    findings: Vec<String>,
}

impl<'a> Feed<'a> {
    /// For a repository or a project's slug.
    ///
    /// # Errors
    /// When the forgotten people cannot be read from MongoDB.
    pub async fn open(parts: &'a Parts, scope: &'a Scope, source: Source, place: &str) -> Result<Self, Halt> {
        let forgotten = parts.forgotten().await?;
        let (waiting, counts, findings) = Default::default();
        Ok(Self { scope, forgotten, parts, source, place: place.to_owned(), waiting, counts, findings })
    }

    /// The counts of a kind.
    pub fn counts(&mut self, kind: &'static str) -> &mut Counts {
        self.counts.entry(kind).or_default()
    }

    /// Adds a finding for an operator.
    pub fn finding(&mut self, finding: String) {
        self.findings.push(finding);
    }

    /// The event in the shape of a webhook.
    #[must_use]
    pub fn event(&self, event: &str, as_of: i64, webhook: &Value) -> Envelope {
        let Scope { prj, quality_model, .. } = self.scope;
        let payload = webhook.to_string();
        // The same state read at another time is another event, so that a repetition is never a duplicate.
        let hash = short_sha256(format!("{event}\0{payload}"));
        Envelope {
            source: self.source,
            project: prj.clone(),
            event: event.to_owned(),
            delivery: format!("{BACKFILL}-{as_of}-{hash}"),
            quality_model: quality_model.clone(),
            received_at: as_of,
            traceparent: None,
            origin_sequence: None,
            read_at: Some(as_of),
            payload: payload.into(),
        }
    }

    /// Publishes an event, in a batch.
    ///
    /// # Errors
    /// When JetStream does not take them.
    pub async fn publish(&mut self, event: &Envelope) -> Result<(), Halt> {
        if self.scope.dry_run {
            return Ok(());
        }
        let (headers, payload) = envelope::encode(event);
        let subject = self.parts.topology.event_subject(event.source, &event.project, &event.event);
        self.waiting.push(Outgoing { subject, headers, payload });
        if self.waiting.len() >= TOGETHER { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Halt> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        // Stored before the first event is published: after a crash another worker notifies LD Eval.
        self.parts.owe_notifications(&self.scope.prj, self.scope.quality_model.as_ref()).await?;
        self.parts.publisher.publish_all(waiting).await.map_err(|error| {
            let what = format_args!("LD_EVENTS does not take what was read: {error}");
            Halt::down(what, "Run the same command again when it does")
        })
    }

    /// Publishes the rest, and returns the report.
    ///
    /// # Errors
    /// When JetStream does not take them.
    pub async fn finish(mut self) -> Result<Report, Halt> {
        self.flush().await?;
        let (prj, source) = (&self.scope.prj, self.source);
        let lines = self.counts.into_iter().map(|(kind, counts)| Line {
            prj: prj.clone(),
            source,
            place: self.place.clone(),
            kind,
            counts,
            dry_run: self.scope.dry_run,
        });
        let findings = self.findings.into_iter().map(|finding| Finding { prj: prj.clone(), source, finding });
        Ok(Report { lines: lines.collect(), findings: findings.collect(), calls: 0 })
    }
}
