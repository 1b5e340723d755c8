//! The endpoints: the order in which a request is checked, and what it is answered (CONTRACT §1's table).

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
use shared::envelope::Envelope;
use shared::ids::{Project, Source};
use shared::publish::{Outgoing, Published};
use shared::status::{Herald, Refused};
use shared::telemetry::Throttle;
use shared::topology::Topology;
use shared::trace;
use tokio::time::Instant;

use crate::body;
use crate::error::{Refusal, json, quoted};
use crate::framing;
use crate::inspect::{Found, inspect};
use crate::limits::{HEAVY_BODY, Memory, PUBLISH_DEADLINE};
use crate::meters::Meters;
use crate::publish::{Gate, Publish};
use crate::signature::{self, Claim, Signed};
use crate::target::Target;

/// How often are refused signatures told in the log?
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What the endpoints work with.
#[derive(Debug)]
pub struct Webhooks<P> {
    gate: Gate<P>,
    topology: Topology,
    defaults: Arc<DefaultKeys>,
    courses: Handle,
    memory: Memory,
    meters: Meters,
    forgeries: Throttle,
    herald: Arc<Herald>,
}

impl<P: Publish> Webhooks<P> {
    /// Puts the parts together.
    #[must_use]
    pub fn new(gate: Gate<P>, topology: Topology, defaults: DefaultKeys, courses: Handle, memory: Memory) -> Self {
        Self {
            gate,
            topology,
            defaults: Arc::new(defaults),
            courses,
            memory,
            meters: Meters::new(),
            forgeries: Throttle::new(TELL_EVERY),
            herald: Arc::default(),
        }
    }

    /// What tells the status page of refusals; somebody has to run it.
    #[must_use]
    pub fn herald(&self) -> Arc<Herald> {
        self.herald.clone()
    }
}

/// Everything a request can meet. The time limits of head and connection are [`crate::server`]'s, those of the
/// body [`body`]'s, that of publishing [`Gate`]'s.
pub fn router<P: Publish>(webhooks: Arc<Webhooks<P>>) -> Router {
    Router::new()
        .route("/webhook/github", endpoint(Source::Github))
        .route("/webhook/taiga", endpoint(Source::Taiga))
        .route("/webhook/excel", endpoint(Source::Excel))
        .method_not_allowed_fallback(|State(webhooks): State<Arc<Webhooks<P>>>, request| async move {
            webhooks.turn_down(None, request, Refusal::Method)
        })
        .fallback(|State(webhooks): State<Arc<Webhooks<P>>>, request| async move {
            webhooks.turn_down(None, request, Refusal::NotFound)
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
                webhooks.meters.refused(Some(source), &Refusal::Panic);
                Refusal::Panic.into_response()
            }
        }
    })
}

impl<P: Publish> Webhooks<P> {
    async fn receive(&self, source: Source, request: Request<Body>) -> Response {
        let (head, mut body) = request.into_parts();
        let mut span = trace::begin("webhook", trace::Kind::Server, traceparent(&head.headers));
        span.set("source", source.as_str());
        let framing = framing::check(head.version, &head.headers);
        let asked = Asked {
            source,
            traceparent: span.traceparent(),
            target: Target::parse(head.uri.query()),
            headers: head.headers,
            defaults: self.defaults.clone(),
            courses: self.courses.courses(),
        };
        let project = asked.target.as_ref().ok().map(|target| target.project.clone());
        let expects = asked.headers.contains_key(header::EXPECT);
        let team = project.as_ref().is_some_and(|project| asked.courses.course_of(project).is_some());
        let answer = match framing {
            Ok(()) => self.answer(asked, &mut body, team, &mut span).await,
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(response) => response,
            Err(refusal) => {
                span.failed(refusal.reason());
                // Reading on would tell a client to send that waits for permission.
                if !expects && refusal != Refusal::Broken && refusal != Refusal::Slow {
                    body::drain(body);
                }
                self.meters.refused(Some(source), &refusal);
                self.note(source, project.clone(), team, &refusal);
                self.tell(source, team.then_some(project).flatten(), &refusal);
                refusal.into_response()
            }
        }
    }

    /// The table, in its order.
    async fn answer(
        &self,
        asked: Asked,
        body: &mut Body,
        team: bool,
        span: &mut trace::Span,
    ) -> Result<Response, Refusal> {
        let source = asked.source;
        let claim = match asked.claim() {
            Ok(claim) => claim,
            Err(refusal) => {
                body::discard(body).await?;
                return Err(refusal);
            }
        };
        let mut share = self.memory.share();
        let bytes = body::read(body, &mut share).await?;
        let deadline = Instant::now() + PUBLISH_DEADLINE;
        self.meters.body(source, bytes.len());
        let topology = self.topology.clone();
        let judge = move || asked.judge(&claim, bytes, &topology);
        let (signed, ready) = if share.is_heavy(HEAVY_BODY) {
            tokio::task::spawn_blocking(judge)
                .await
                .unwrap_or_else(|error| resume_unwind(Box::new(error.to_string())))?
        } else {
            judge()?
        };
        if signed == Signed::Previous {
            self.meters.previous_secret(source);
        }
        match ready {
            Ready::Ignored { event } => {
                self.meters.ignored(source);
                Ok(json(StatusCode::OK, format!(r#"{{"status":"ignored","event":{}}}"#, quoted(&event))))
            }
            Ready::Publish { project, delivery, message } => {
                let start = Instant::now();
                span.set("delivery.id", delivery.clone());
                span.set("prj", project.to_string());
                let published = {
                    let _publishing = trace::begin("publish", trace::Kind::Producer, span.traceparent().as_deref());
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

    /// Refuses what is not a webhook at all.
    fn turn_down(&self, source: Option<Source>, request: Request<Body>, refusal: Refusal) -> Response {
        self.meters.refused(source, &refusal);
        if !request.headers().contains_key(header::EXPECT) {
            body::drain(request.into_body());
        }
        refusal.into_response()
    }

    /// For metrics and the status page. A project that nobody here knows shares one place with all such.
    fn note(&self, source: Source, project: Option<Project>, team: bool, refusal: &Refusal) {
        if project.is_none() && matches!(refusal, Refusal::Signature | Refusal::NoSecret) {
            // The documented sign of life (`?ping=1`), or a stranger: of no interest to any team.
            return;
        }
        let known = project.as_ref().is_some_and(|project| self.meters.last_rejected(source, project, team));
        let subject = self.topology.refused_subject(source, project.as_ref().filter(|_| known));
        let at = shared::time::now_ms();
        self.herald.note(subject, &Refused { at, prj: project, reason: refusal.reason().to_owned() });
    }

    /// A wrong secret is somebody's mistake to mend, so it is told, but not once a request.
    fn tell(&self, source: Source, team: Option<Project>, refusal: &Refusal) {
        tracing::debug!(source = source.as_str(), reason = refusal.reason(), "refused a webhook");
        if !matches!(refusal, Refusal::Signature | Refusal::NoSecret) {
            return;
        }
        if let Some(more) = self.forgeries.open() {
            let prj = team.as_ref().map_or("not a team of the teachers' file", Project::as_str);
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
struct Asked {
    source: Source,
    traceparent: Option<String>,
    target: Result<Target, Refusal>,
    headers: HeaderMap,
    defaults: Arc<DefaultKeys>,
    courses: Arc<Courses>,
}

/// A body whose signature is right, and what is to be done with it.
enum Ready {
    Ignored { event: String },
    Publish { project: Project, delivery: String, message: Outgoing },
}

impl Asked {
    /// The keys that count: the course's own, else the defaults. Without a usable `prj` the defaults decide,
    /// because the signature is judged first.
    fn keys(&self) -> Option<&SigningKeys> {
        let course = self.target.as_ref().ok().and_then(|target| self.courses.course_of(&target.project));
        course.and_then(|course| course.signing_keys(self.source)).or_else(|| self.defaults.of(self.source))
    }

    /// What the signature headers claim, when that can be checked at all.
    fn claim(&self) -> Result<Claim, Refusal> {
        let keys = self.keys();
        if keys.is_none() && self.source != Source::Excel {
            return Err(Refusal::NoSecret);
        }
        signature::claim(self.source, &self.headers, keys.is_some()).ok_or(Refusal::Signature)
    }

    /// Checks signature, query and body, in this order, and makes the message. Only computes.
    fn judge(self, claim: &Claim, body: Bytes, topology: &Topology) -> Result<(Signed, Ready), Refusal> {
        let signed = signature::verify(claim, &body, self.keys()).ok_or(Refusal::Signature)?;
        let target = self.target?;
        if !has_identity_encoding(&self.headers) {
            return Err(Refusal::Encoding);
        }
        let (event, delivery, payload) = match inspect(self.source, &self.headers, body)? {
            Found::Ignored { event } => return Ok((signed, Ready::Ignored { event })),
            Found::Event { event, delivery, payload } => (event, delivery, payload),
        };
        let envelope = Envelope {
            source: self.source,
            project: target.project,
            event: event.to_owned(),
            delivery,
            quality_model: target.quality_model,
            received_at: shared::time::now_ms(),
            traceparent: self.traceparent,
            origin_sequence: None,
            backfill: false,
            payload,
        };
        let subject = topology.event_subject(self.source, &envelope.project, event);
        let (headers, payload) = envelope.encode();
        let message = Outgoing { subject, headers, payload };
        Ok((signed, Ready::Publish { project: envelope.project, delivery: envelope.delivery, message }))
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
#[path = "webhook_tests.rs"]
mod tests;
