//! An OpenTelemetry collector's stand-in: takes spans as OTLP over HTTP and remembers them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;

use harness::servers::ports;

/// A span, as far as tests look at it. Ids are lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The process, `service.name`.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    /// Itself.
    pub(crate) id: String,
    /// What it came of; empty when of nothing.
    pub(crate) parent: String,
    /// `delivery.id`; empty when it has none.
    pub(crate) delivery: String,
    /// Whether it ended badly.
    pub(crate) failed: bool,
}

/// The stand-in, with a thread of its own.
pub(crate) struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Collector {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When none is free.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let port = ports::free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        socket.set_nonblocking(true)?;
        let spans = Arc::default();
        let app = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return };
            // It ends only with the runtime.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { port, spans, runtime: Some(runtime) })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace so far, in the order they came.
    #[must_use]
    pub(crate) fn of(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let service = resource.resource.map(|resource| text(&resource.attributes, "service.name")).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                delivery: text(&span.attributes, "delivery.id"),
                // STATUS_CODE_ERROR
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref()?.value.as_ref());
    match found {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
