//! The endpoints: the order in which a request is checked, and its answers.
//!
//! The modules stand in that order. What differs by source is in [`source`].

// In the order of the checks.
pub mod framing;
pub mod query;
pub mod body;
pub mod memory;
pub mod signature;
pub mod inspect;
pub mod form;
pub mod source;

// The answers.
pub mod refusal;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Request, StatusCode, header};
use shared::credentials::{Courses, DefaultKeys, Handle, SigningKeys};
use shared::envelope::{Envelope, header as envelope_header};
use shared::facts::{FactPublisher, WebhookRefused};
use shared::ids::Project;
use shared::publish::{Outgoing, Published};
use shared::source::Source;
use shared::throttle::Throttle;
use shared::topology::Topology;
use shared::trace;
use tokio::time::Instant;

use crate::limits::{HEAVY_BODY, PUBLISH_DEADLINE};
use crate::metrics::Meters;
use crate::publish::{Gate, Publish};
use inspect::Inspected;
use memory::Memory;
use query::Query;
use refusal::{Refusal, json, quoted};
use signature::{Claim, Signed};

/// How often refused signatures are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the endpoints.
#[derive(Debug)]
pub struct Webhooks<P> {
    gate: Gate<P>,
    topology: Topology,
    defaults: Arc<DefaultKeys>,
    courses: Handle,
    memory: Memory,
    meters: Meters,
    bad_signatures: Throttle,
    facts: Arc<FactPublisher>,
}

impl<P: Publish> Webhooks<P> {
    #[must_use]
    pub fn new(gate: Gate<P>, topology: Topology, defaults: DefaultKeys, courses: Handle, memory: Memory) -> Self {
        Self {
            gate,
            topology,
            defaults: Arc::new(defaults),
            courses,
            memory,
            meters: Meters::new(),
            bad_signatures: Throttle::new(LOG_INTERVAL),
            facts: Arc::default(),
        }
    }

    /// What publishes refusals for the status page; it has to be run.
    #[must_use]
    pub fn facts(&self) -> Arc<FactPublisher> {
        self.facts.clone()
    }
}

/// All routes. The time limits of head and connection are in [`crate::server`], those of the body in [`body`], that of
/// publishing in [`Gate`].
pub fn router<P: Publish>(webhooks: Arc<Webhooks<P>>) -> Router {
    Source::ALL
        .into_iter()
        .fold(Router::new(), |router, source| router.route(&format!("/webhook/{source}"), endpoint(source)))
        .method_not_allowed_fallback(|State(webhooks): State<Arc<Webhooks<P>>>, request| async move {
            webhooks.refuse_other(None, request, Refusal::Method)
        })
        .fallback(|State(webhooks): State<Arc<Webhooks<P>>>, request| async move {
            webhooks.refuse_other(None, request, Refusal::NotFound)
        })
        .with_state(webhooks)
}

fn endpoint<P: Publish>(source: Source) -> MethodRouter<Arc<Webhooks<P>>> {
    post(move |State(webhooks): State<Arc<Webhooks<P>>>, request: Request<Body>| async move {
        match AssertUnwindSafe(webhooks.receive(source, request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                // The panic hook has written where; the payload could quote the body.
                tracing::error!(
                    source = source.as_str(),
                    "a webhook could not be processed because of a bug; its sender got 503"
                );
                webhooks.count(Some(source), &Refusal::Panic);
                Refusal::Panic.into_response()
            }
        }
    })
}

impl<P: Publish> Webhooks<P> {
    async fn receive(&self, source: Source, request: Request<Body>) -> Response {
        let (head, mut body) = request.into_parts();
        let mut span = trace::begin("webhook", trace::StepKind::Server, traceparent(&head.headers));
        span.set("source", source.as_str());
        let framing = framing::check(head.version, &head.headers);
        let request = RequestHead {
            source,
            traceparent: span.traceparent(),
            query: Query::parse(head.uri.query()),
            headers: head.headers,
            defaults: self.defaults.clone(),
            courses: self.courses.courses(),
        };
        let project = request.query.as_ref().ok().map(|query| query.project.clone());
        let expects_continue = request.headers.contains_key(header::EXPECT);
        let team = project.as_ref().is_some_and(|project| request.courses.course_of(project).is_some());
        let has_secret = request.keys().is_some();
        let answer = match framing {
            Ok(()) => self.answer(request, &mut body, team, &mut span).await,
            Err(refusal) => Err(refusal),
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
                self.note(source, project.clone(), team, verified, &refusal);
                self.log(source, team.then_some(project).flatten(), &refusal);
                refusal.into_response()
            }
        }
    }

    /// The checks, in their order.
    async fn answer(
        &self,
        request: RequestHead,
        body: &mut Body,
        team: bool,
        span: &mut trace::Span,
    ) -> Result<Response, Refusal> {
        let source = request.source;
        let max = source.description().max_body;
        let claim = match request.claim() {
            Ok(claim) => claim,
            Err(refusal) => {
                body::discard(body, max).await?;
                return Err(refusal);
            }
        };
        let mut share = self.memory.share();
        let bytes = body::read(body, max, &mut share).await?;
        let deadline = Instant::now() + PUBLISH_DEADLINE;
        self.meters.body(source, bytes.len());
        let topology = self.topology.clone();
        let check = move || request.check(&claim, bytes, &topology);
        let (signed, checked) = if share.is_heavy(HEAVY_BODY) {
            tokio::task::spawn_blocking(check)
                .await
                .unwrap_or_else(|error| resume_unwind(Box::new(error.to_string())))?
        } else {
            check()?
        };
        if signed == Signed::Previous {
            self.meters.previous_secret(source);
        }
        match checked {
            Checked::Ignored { event } => {
                self.meters.ignored(source);
                Ok(json(StatusCode::OK, format!(r#"{{"status":"ignored","event":{}}}"#, quoted(&event))))
            }
            Checked::Publish { project, delivery, message } => {
                let start = Instant::now();
                span.set("delivery.id", delivery.clone());
                span.set("prj", project.to_string());
                let published = {
                    let _publishing = trace::begin("publish", trace::StepKind::Producer, span.traceparent().as_deref());
                    self.gate.pass(message, deadline).await?
                };
                self.meters.publish_seconds.record(start.elapsed());
                let known = team || signed != Signed::Unsigned;
                self.meters.accepted(source, &project, published == Published::Duplicate, known);
                tracing::debug!(
                    source = source.as_str(),
                    prj = project.as_str(),
                    delivery.id = delivery,
                    "stored a webhook"
                );
                Ok(json(StatusCode::OK, format!(r#"{{"status":"ok","delivery":{}}}"#, quoted(&delivery))))
            }
        }
    }

    /// Refuses a request for another path or method.
    fn refuse_other(&self, source: Option<Source>, request: Request<Body>, refusal: Refusal) -> Response {
        self.count(source, &refusal);
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

    /// For metrics and the status page. All unknown projects share one fact.
    fn note(&self, source: Source, project: Option<Project>, team: bool, verified: bool, refusal: &Refusal) {
        if project.is_none() && matches!(refusal, Refusal::Signature | Refusal::NoSecret) {
            // The documented sign of life (`?ping=1`), or an unauthenticated client: no team's.
            return;
        }
        let known = project.as_ref().is_some_and(|project| self.meters.last_rejected(source, project, team));
        let subject = self.topology.refused_subject(source, project.as_ref().filter(|_| known), verified);
        let at = shared::time::now_ms();
        self.facts.note(subject, &WebhookRefused { at, prj: project, reason: refusal.reason().to_owned() });
    }

    /// A wrong secret needs a person to fix it, so it is a warning, but not one a request.
    fn log(&self, source: Source, team: Option<Project>, refusal: &Refusal) {
        tracing::debug!(source = source.as_str(), reason = refusal.reason(), "refused a webhook");
        if !matches!(refusal, Refusal::Signature | Refusal::NoSecret) {
            return;
        }
        if let Some(more) = self.bad_signatures.open() {
            let prj = team.as_ref().map_or("not a team of the credentials file", Project::as_str);
            let reason = refusal.reason();
            tracing::warn!(
                source = source.as_str(),
                prj,
                reason,
                more,
                "refused a webhook: compare the sender's secret with ours"
            );
        }
    }
}

/// A request without its body.
struct RequestHead {
    source: Source,
    traceparent: Option<String>,
    query: Result<Query, Refusal>,
    headers: HeaderMap,
    defaults: Arc<DefaultKeys>,
    courses: Arc<Courses>,
}

/// A body whose signature is right.
enum Checked {
    Ignored { event: String },
    Publish { project: Project, delivery: String, message: Outgoing },
}

impl RequestHead {
    /// The keys in force: the course's own, else the defaults. Without a valid `prj` the defaults, because the
    /// signature is checked first.
    fn keys(&self) -> Option<&SigningKeys> {
        let course = self.query.as_ref().ok().and_then(|query| self.courses.course_of(&query.project));
        course.and_then(|course| course.signing_keys(self.source)).or_else(|| self.defaults.of(self.source))
    }

    /// What the signature headers claim, when there is a secret to check it with.
    fn claim(&self) -> Result<Claim, Refusal> {
        let keys = self.keys();
        if keys.is_none() && !self.source.description().may_be_unsigned {
            return Err(Refusal::NoSecret);
        }
        source::claim(self.source, &self.headers, keys.is_some()).ok_or(Refusal::Signature)
    }

    /// Checks signature, query and body, in this order, and makes the message. Without input or output.
    fn check(self, claim: &Claim, body: Bytes, topology: &Topology) -> Result<(Signed, Checked), Refusal> {
        let signed = signature::verify(claim, &body, self.keys()).ok_or(Refusal::Signature)?;
        let query = self.query?;
        if !has_identity_encoding(&self.headers) {
            return Err(Refusal::Encoding);
        }
        let (event, delivery, payload) = match source::inspect(self.source, &self.headers, body)? {
            Inspected::Ignored { event } => return Ok((signed, Checked::Ignored { event })),
            Inspected::Event { event, delivery, payload } => (event, delivery, payload),
        };
        let envelope = Envelope {
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
        let (mut headers, payload) = envelope.encode();
        if signed == Signed::Unsigned {
            headers.insert(envelope_header::UNSIGNED, "1");
        }
        let message = Outgoing { subject, headers, payload };
        Ok((signed, Checked::Publish { project: envelope.project, delivery: envelope.delivery, message }))
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
