//! The endpoints: the order in which a request is checked, and its answers.
//!
//! The modules stand in that order. What differs by source is in [`source`].

// In the order of the checks.
pub mod framing;
pub mod query;
pub mod body;
pub mod memory;
pub mod access;
pub mod signature;
pub mod inspect;
pub mod form;
pub mod source;

// The answers.
pub mod refusal;
pub mod refused;
pub mod tally;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Method, Request, StatusCode, header};
use shared::credentials::{Handle, Key};
use shared::envelope::{self, COMPRESS_OVER, Envelope, Packed};
use shared::facts::{FactPublisher, WebhookIgnored, WebhookRefused};
use shared::ids::Project;
use shared::publish::{Outgoing, Published};
use shared::server::{Answer, Client, Peer};
use shared::source::Source;
use shared::topology::Topology;
use shared::trace;
use tokio::time::Instant;

use crate::client::Clients;
use crate::limits::{HEAVY_BODY, PUBLISH_DEADLINE};
use crate::metrics::Meters;
use crate::publish::{Gate, Publish};
use access::Access;
use inspect::Inspected;
use memory::{Memory, Work};
use query::Query;
use refusal::{Refusal, json, quoted};
use refused::{RefusalLog, Refused};
use signature::{Claim, SignedWith};
use tally::Tally;

/// The state of the endpoints.
#[derive(Debug)]
pub struct Webhooks<P> {
    gate: Gate<P>,
    topology: Topology,
    access: Access,
    courses: Handle,
    clients: Arc<Clients>,
    memory: Memory,
    meters: Meters,
    refusals: RefusalLog,
    tally: Tally,
    facts: Arc<FactPublisher>,
}

impl<P: Publish> Webhooks<P> {
    #[must_use]
    pub fn new(
        gate: Gate<P>,
        topology: Topology,
        access: Access,
        courses: Handle,
        clients: Arc<Clients>,
        memory: Memory,
    ) -> Self {
        Self {
            gate,
            topology,
            access,
            courses,
            clients,
            memory,
            meters: Meters::new(),
            refusals: RefusalLog::new(),
            tally: Tally::default(),
            facts: Arc::default(),
        }
    }

    /// What publishes refusals for the status page; it has to be run.
    #[must_use]
    pub fn facts(&self) -> Arc<FactPublisher> {
        self.facts.clone()
    }
}

/// The time limits of head and connection are in [`crate::server`], those of the body in [`body`], that of publishing in
/// [`Gate`].
impl<P: Publish> Answer for Webhooks<P> {
    async fn answer(&self, request: Request<Body>) -> Response {
        let path = request.uri().path().strip_prefix("/webhook/");
        let Some(source) = path.and_then(|name| name.parse::<Source>().ok()) else {
            return self.refuse_other(request, Refusal::NotFound);
        };
        if request.method() != Method::POST {
            return self.refuse_other(request, Refusal::Method);
        }
        match AssertUnwindSafe(self.receive(source, request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                self.refusals.bug(source);
                self.count(Some(source), &Refusal::Panic);
                Refusal::Panic.into_response()
            }
        }
    }
}

impl<P: Publish> Webhooks<P> {
    async fn receive(&self, source: Source, request: Request<Body>) -> Response {
        let (head, mut body) = request.into_parts();
        let mut span = trace::begin("webhook", trace::StepKind::Server, traceparent(&head.headers));
        span.set("source", source.as_str());
        let framing = framing::check(head.version, &head.headers);
        let client = self.clients.request(head.extensions.get::<Peer>().copied(), &head.headers);
        let delivery = head.headers.get(source::DELIVERY).cloned();
        let request = RequestHead {
            source,
            traceparent: span.traceparent(),
            query: Query::parse(head.uri.query()),
            headers: head.headers,
        };
        let project = request.query.as_ref().ok().map(|query| query.project.clone());
        let expects_continue = request.headers.contains_key(header::EXPECT);
        let courses = self.courses.courses();
        let team = project.as_ref().is_some_and(|project| courses.course_of(project).is_some());
        let keys = self.access.keys(&courses, source, request.query.as_ref());
        let has_secret = keys.as_ref().is_ok_and(|keys| !keys.is_empty());
        let answer = match (framing, &client) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), None) => Err(Refusal::Overloaded),
            (Ok(()), Some((client, _))) => self.accept(request, keys, *client, &mut body, team, &mut span).await,
        };
        match answer {
            Ok(response) => response,
            Err(refusal) => {
                span.failed(refusal.reason());
                // With `Expect: 100-continue`, reading the body makes hyper ask for it. Do not ask for a refused body.
                if !expects_continue && refusal != Refusal::Broken && refusal != Refusal::Slow {
                    body::drain(body);
                }
                self.count(Some(source), &refusal);
                let verified = has_secret && refusal.follows_signature();
                let (project, delivery) = (project.as_ref(), delivery.as_ref());
                let refused = Refused { source, project, delivery, refusal: &refusal };
                let known = self.note(&refused, team, verified);
                self.refusals.refused(&refused, known);
                refusal.into_response()
            }
        }
    }

    /// The checks, in their order.
    async fn accept(
        &self,
        request: RequestHead,
        keys: Result<Vec<Key>, Refusal>,
        client: Client,
        body: &mut Body,
        team: bool,
        span: &mut trace::Span,
    ) -> Result<Response, Refusal> {
        let source = request.source;
        let max = source.description().max_body;
        let (claim, keys) = match keys.and_then(|keys| Ok((request.claim(&keys)?, keys))) {
            Ok(both) => both,
            Err(refusal) => {
                body::discard(body, max).await?;
                return Err(refusal);
            }
        };
        let copies = if source::is_decoded(source, &request.headers) { 2 } else { 1 };
        let bytes = body::read(body, max, self.memory.share(client, copies)).await?;
        let deadline = Instant::now() + PUBLISH_DEADLINE;
        self.meters.body(source, bytes.len());
        let topology = self.topology.clone();
        let is_heavy = bytes.len() > HEAVY_BODY;
        // The memory of what is made of it: decoded if it is a form, and compressed.
        let work = match bytes.len() {
            length if length > COMPRESS_OVER => Some(self.memory.work(client, length * copies).await?),
            _ => None,
        };
        // The bytes hold their memory, also when this future is dropped while a thread still works on them.
        let check = move || request.check(&claim, &keys, bytes, work, &topology);
        let (signed, checked) = if is_heavy {
            tokio::task::spawn_blocking(check)
                .await
                .unwrap_or_else(|error| resume_unwind(Box::new(error.to_string())))?
        } else {
            check()?
        };
        self.meters.signed(source, signed);
        match checked {
            Checked::Ignored { project, event } => {
                self.meters.ignored(source);
                if self.meters.is_known(source, &project, team || signed.is_some()) {
                    let subject = self.topology.ignored_subject(source, &project);
                    let (at, event) = (shared::time::now_ms(), event.chars().take(64).collect());
                    self.facts.note(subject, &WebhookIgnored { at, prj: project, event });
                }
                tracing::debug!(source = source.as_str(), event, "ignored a webhook: its kind is not stored");
                Ok(json(StatusCode::OK, format!(r#"{{"status":"ignored","event":{}}}"#, quoted(&event))))
            }
            Checked::Publish(message) => {
                let start = Instant::now();
                let Envelope { project, delivery, .. } = &message.envelope;
                if trace::is_exporting() {
                    span.set("delivery.id", delivery.clone());
                    span.set("prj", project.to_string());
                }
                let published = {
                    let _publishing = trace::begin("publish", trace::StepKind::Producer, span.traceparent().as_deref());
                    self.gate.pass(|| message.outgoing(), deadline).await?
                };
                self.meters.publish_seconds.record(start.elapsed());
                let known = team || signed.is_some();
                self.meters.accepted(source, project, published == Published::Duplicate, known);
                tracing::debug!(
                    source = source.as_str(),
                    prj = project.as_str(),
                    delivery.id = delivery,
                    "stored a webhook"
                );
                Ok(json(StatusCode::OK, format!(r#"{{"status":"ok","delivery":{}}}"#, quoted(delivery))))
            }
        }
    }

    /// Refuses a request for another path or method.
    fn refuse_other(&self, request: Request<Body>, refusal: Refusal) -> Response {
        self.count(None, &refusal);
        if !request.headers().contains_key(header::EXPECT) {
            body::drain(request.into_body());
        }
        refusal.into_response()
    }

    fn count(&self, source: Option<Source>, refusal: &Refusal) {
        let failed = refusal.status().is_server_error();
        if failed {
            self.gate.missed();
        }
        self.meters.refused(source, failed, refusal.reason());
    }

    /// For metrics and the pages. All unknown projects share one fact. Returns whether the project is known.
    fn note(&self, refused: &Refused<'_>, team: bool, verified: bool) -> bool {
        let Refused { source, project, refusal, .. } = *refused;
        if project.is_none() && matches!(refusal, Refusal::Signature | Refusal::NoSecret | Refusal::Unsigned) {
            // The documented health check (`?ping=1`), or an unauthenticated client: of no team.
            return false;
        }
        if source == Source::Excel && *refusal == Refusal::NoJson {
            // The add-on's "Check the connection" sends nothing on purpose: no row is missing.
            return false;
        }
        let known = project.is_some_and(|project| self.meters.last_rejected(source, project, team, verified));
        let (at, reason) = (shared::time::now_ms(), refusal.reason());
        let (since, times) = match project.filter(|_| known) {
            Some(project) => self.tally.count((source, project.clone(), verified, reason), at),
            None => (at, 1),
        };
        let subject = self.topology.refused_subject(source, project.filter(|_| known), reason, verified);
        let (prj, delivery) = (project.cloned(), refused.delivery_id().map(str::to_owned));
        let earlier = if known { self.refusals.earlier(refused, at, verified) } else { Vec::new() };
        let fact = WebhookRefused { at, prj, reason: reason.to_owned(), times, since, delivery, earlier };
        self.facts.note(subject, &fact);
        known
    }
}

/// A request without its body.
struct RequestHead {
    source: Source,
    traceparent: Option<String>,
    query: Result<Query, Refusal>,
    headers: HeaderMap,
}

/// A body whose signature is right.
enum Checked {
    Ignored { project: Project, event: String },
    Publish(Box<Message>),
}

/// What is published of a webhook.
struct Message {
    subject: String,
    /// Its payload is empty: a large body is not kept beside its compressed copy.
    envelope: Envelope,
    payload: Packed,
    is_unsigned: bool,
}

impl Message {
    fn outgoing(&self) -> Outgoing {
        let mut headers = envelope::headers(&self.envelope, &self.payload);
        if self.is_unsigned {
            headers.insert(envelope::header::UNSIGNED, "1");
        }
        Outgoing { subject: self.subject.clone(), headers, payload: self.payload.bytes.clone() }
    }
}

impl RequestHead {
    /// What the signature headers claim, when there is a key to check it with.
    fn claim(&self, keys: &[Key]) -> Result<Claim, Refusal> {
        if keys.is_empty() {
            return Ok(Claim::Unsigned);
        }
        source::claim(self.source, &self.headers).ok_or(Refusal::Signature)
    }

    /// Checks signature, query and body, in this order, and makes the message. Without input or output.
    fn check(
        self,
        claim: &Claim,
        keys: &[Key],
        body: Bytes,
        work: Option<Work>,
        topology: &Topology,
    ) -> Result<(SignedWith, Checked), Refusal> {
        let signed = signature::verify(claim, &body, keys).ok_or(Refusal::Signature)?;
        let query = self.query?;
        if !has_identity_encoding(&self.headers) {
            return Err(Refusal::Encoding);
        }
        let (event, delivery, payload) = match source::inspect(self.source, &self.headers, body)? {
            Inspected::Ignored { event } => return Ok((signed, Checked::Ignored { project: query.project, event })),
            Inspected::Event { event, delivery, payload } => (event, delivery, payload),
        };
        let mut envelope = Envelope {
            source: self.source,
            project: query.project,
            event: event.to_owned(),
            delivery,
            quality_model: query.quality_model,
            received_at: shared::time::now_ms(),
            traceparent: self.traceparent,
            origin_sequence: None,
            read_at: None,
            payload,
        };
        let subject = topology.event_subject(self.source, &envelope.project, event);
        let mut payload = envelope::pack(&envelope);
        envelope.payload = Bytes::new();
        if let Some(work) = work {
            payload.bytes = work.bind(payload.bytes);
        }
        let message = Message { subject, envelope, payload, is_unsigned: signed.is_none() };
        Ok((signed, Checked::Publish(Box::new(message))))
    }
}

fn has_identity_encoding(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// The request's trace context, when it is one.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    headers.get("traceparent")?.to_str().ok().filter(|text| trace::is_traceparent(text))
}

#[cfg(test)]
mod tests;
