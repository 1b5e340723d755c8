//! Traces: a delivery's spans in all processes, exported to an OpenTelemetry collector if one is set.
//!
//! The W3C trace context of a request (`traceparent`) is in the headers of every message that it causes. Without a
//! collector it is passed on unchanged and nothing else happens. With one, each step is a span, and the context that is
//! passed on names that span. No other module uses OpenTelemetry.
//!
//! This is not `tracing-opentelemetry`. A span of `tracing` cannot begin in the past, as the time in the queue does
//! ([`record`]), and our spans must not depend on `LOG_LEVEL`.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::config::TraceArgs;

/// How long exporting the last spans may take when a process stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

tokio::task_local! {
    static CURRENT: Option<String>;
}

/// Exports spans until it is finished.
#[derive(Debug)]
#[must_use = "the last spans are exported by `finish`"]
pub struct Exporter(Option<SdkTracerProvider>);

impl Exporter {
    /// Starts the export of spans, if the settings name a collector. While it does not answer, spans are dropped.
    ///
    /// # Errors
    /// When the settings cannot work; the text names them.
    pub fn start(args: &TraceArgs, service: &'static str) -> Result<Self, TraceError> {
        let Some(endpoint) = args.endpoint() else { return Ok(Self(None)) };
        // The HTTP client needs a TLS provider, also for plain HTTP. One may be installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .build()
            .map_err(|error| TraceError { endpoint: endpoint.clone(), error: error.to_string() })?;
        let name = args.otel_service_name.clone().unwrap_or_else(|| service.to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        // A second exporter of one process exports nothing.
        drop(TRACER.set(provider.tracer("ld-connect")));
        tracing::info!(trace.endpoint = %endpoint, "exporting traces");
        Ok(Self(Some(provider)))
    }

    /// Exports the last spans, for two seconds at most.
    pub async fn finish(self) {
        let Some(provider) = self.0 else { return };
        // It blocks until its thread ends.
        drop(tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)).await);
    }
}

/// The settings of traces cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OTEL_EXPORTER_OTLP_ENDPOINT: traces cannot be sent to {endpoint}: {error}")]
pub struct TraceError {
    endpoint: String,
    error: String,
}

/// Whether spans are exported.
#[must_use]
pub fn is_exporting() -> bool {
    TRACER.get().is_some()
}

/// What kind of step a span is, in OpenTelemetry's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// A request to us.
    Server,
    /// A request that we make.
    Client,
    /// Into a queue.
    Producer,
    /// Out of a queue.
    Consumer,
}

/// A step on the way. Ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    /// Boxed: it is large, and nearly always absent.
    span: Option<Box<opentelemetry_sdk::trace::Span>>,
    parent: Option<String>,
}

/// Begins a step that `parent` (a `traceparent`) caused, or a delivery's first step.
#[must_use]
pub fn begin(name: &'static str, kind: StepKind, parent: Option<&str>) -> Span {
    begun(name, kind, parent, None)
}

/// Exports a step that began in the past and ends now; nothing if it has no parent.
pub fn record(name: &'static str, since: SystemTime, parent: Option<&str>, attributes: &[(&'static str, &str)]) {
    if parent.is_none() || !is_exporting() {
        return;
    }
    let mut span = begun(name, StepKind::Consumer, parent, Some(since));
    for (key, value) in attributes {
        span.set(key, (*value).to_owned());
    }
}

fn begun(name: &'static str, kind: StepKind, parent: Option<&str>, since: Option<SystemTime>) -> Span {
    let span = TRACER.get().map(|tracer| {
        let context =
            parent.and_then(parse).map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let mut builder = tracer.span_builder(name).with_kind(match kind {
            StepKind::Server => SpanKind::Server,
            StepKind::Client => SpanKind::Client,
            StepKind::Producer => SpanKind::Producer,
            StepKind::Consumer => SpanKind::Consumer,
        });
        if let Some(since) = since {
            builder = builder.with_start_time(since);
        }
        Box::new(builder.start_with_context(tracer, &context))
    });
    Span { span, parent: parent.map(str::to_owned) }
}

impl Span {
    /// The trace context to pass on: this step, or without a collector its parent.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let Some(span) = &self.span else { return self.parent.clone() };
        let context = span.span_context();
        let (trace, id, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        context.is_valid().then(|| format!("00-{trace}-{id}-{flags:02x}"))
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// It ended with an error.
    pub fn failed(&mut self, why: &str) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(why.to_owned()));
        }
    }
}

/// Runs a future whose requests carry this `traceparent`; see [`current`].
pub async fn within<F: Future>(traceparent: Option<String>, future: F) -> F::Output {
    CURRENT.scope(traceparent, future).await
}

/// The trace context of a request made now.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// The W3C trace context, when it is one: `00-<32 hex>-<16 hex>-<2 hex>` in lower case, the ids not all zero.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f' | b'-');
    text.bytes().all(hex) && parse(text).is_some()
}

fn parse(text: &str) -> Option<SpanContext> {
    let parts: Vec<_> = text.split('-').collect();
    let ["00", trace, id, flags] = parts[..] else { return None };
    if (trace.len(), id.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, id) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(id).ok()?);
    let context = SpanContext::new(trace, id, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn without_a_collector_a_trace_context_is_handed_on_as_it_came() {
        assert_eq!(begin("x", StepKind::Server, Some(PARENT)).traceparent().as_deref(), Some(PARENT));
        assert_eq!(begin("x", StepKind::Server, None).traceparent(), None);
    }

    #[test]
    fn only_the_w3cs_form_is_a_trace_context() {
        assert!(is_traceparent(PARENT));
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_request_carries_the_context_it_is_made_within() {
        assert_eq!(current(), None);
        assert_eq!(within(Some(PARENT.into()), async { current() }).await.as_deref(), Some(PARENT));
    }
}
