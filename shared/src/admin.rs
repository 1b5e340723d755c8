//! The admin address: `/healthz`, `/readyz`, `/metrics`. For operators and orchestrators, never for the
//! internet.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Health;
use crate::server::SmallServer;
use crate::telemetry::Metrics;

/// Whether the process can do its work.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// Empty when ready. Each entry says what is wrong, with what, and what to do.
    pub problems: Vec<String>,
    /// Facts for the body of `/readyz`, ready or not, such as stream bytes against their limit.
    pub facts: Map<String, Value>,
}

impl Readiness {
    /// Not ready yet, for the given reason.
    #[must_use]
    pub fn not_yet(why: &str) -> Self {
        Self { problems: vec![why.to_owned()], facts: Map::new() }
    }
}

#[derive(Clone)]
struct Admin {
    health: Health,
    readiness: watch::Receiver<Readiness>,
    metrics: Metrics,
}

/// The admin server, bound and not yet running.
pub struct AdminServer {
    server: SmallServer,
    metrics: Metrics,
}

impl std::fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminServer").finish_non_exhaustive()
    }
}

/// Binds the admin address (port 0 works) and logs it. `more` adds the process's own routes.
///
/// # Errors
/// When the address cannot be bound; the message names it and the setting.
pub async fn bind(
    addr: SocketAddr,
    health: Health,
    readiness: watch::Receiver<Readiness>,
    metrics: Metrics,
    more: Router,
) -> Result<AdminServer, std::io::Error> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Admin { health, readiness, metrics: metrics.clone() })
        .merge(more);
    Ok(AdminServer { server: SmallServer::bind(addr, "ADMIN_ADDR", "admin", router).await?, metrics })
}

impl AdminServer {
    /// Serves until the token is cancelled.
    ///
    /// # Errors
    /// Never, as [`SmallServer::run`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), std::io::Error> {
        tokio::select! {
            served = self.server.run(stop) => served,
            () = self.metrics.count_samples() => Ok(()),
        }
    }
}

async fn healthz(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.health.problem() {
        None => (StatusCode::OK, axum::Json(json!({"status": "ok"}))),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"status": "failed", "problem": problem}))),
    }
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let mut readiness = admin.readiness.borrow().clone();
    readiness.problems.extend(admin.health.problem());
    let ready = readiness.problems.is_empty();
    let mut body = readiness.facts;
    body.insert("status".into(), if ready { "ready" } else { "not ready" }.into());
    body.insert("problems".into(), readiness.problems.into());
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, axum::Json(Value::Object(body)))
}

async fn render(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render())
}
