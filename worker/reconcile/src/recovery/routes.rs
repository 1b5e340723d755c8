//! HTTP: which clients may ask, one recovery of a team at a time, and the answers that the administration tool expects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::hash::sha256_hex;
use shared::ids::Project;
use shared::secret::Secret;
use shared::source::Source;
use shared::time::{now_ms, rfc3339};
use tokio_util::sync::CancellationToken;

use super::address::Hosts;
use super::{request, run};
use crate::client::{Asking, Share};
use crate::reconciler::Reconciler;

/// A request names a team, not its data.
const MAX_BODY: usize = 64 * 1024;

/// An end-to-end test compares it with the real answers.
const OPENAPI: &str = include_str!("../../../../docs/openapi-recovery.json");

/// What recoveries use.
#[derive(Debug)]
pub struct Recovery {
    reconciler: Reconciler,
    hosts: Hosts,
    token: Option<Secret>,
    soft: CancellationToken,
    busy: Mutex<Busy>,
}

#[derive(Debug, Default)]
struct Busy {
    teams: BTreeSet<Project>,
    all: bool,
}

impl Recovery {
    /// Until the soft stop; `token` is what a client must send, if any.
    #[must_use]
    pub fn new(reconciler: Reconciler, hosts: Hosts, token: Option<Secret>, soft: CancellationToken) -> Self {
        Self { reconciler, hosts, token, soft, busy: Mutex::default() }
    }

    fn asking(&self) -> Asking {
        Asking::new(self.soft.clone(), Share::Whole, |text| tracing::info!("{text}"))
    }

    /// The refusal of an unauthenticated client. A browser sends JSON to another origin only after a preflight, which
    /// fails here.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if let Some(token) = &self.token {
            let sent =
                headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            // Hashes are compared, so that the time says nothing about the token.
            if sent.map(sha256_hex) != Some(sha256_hex(token.expose())) {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                let error = "Send Authorization: Bearer, with the worker's RECOVERY_TOKEN";
                return Some(
                    (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "error": error.to_string() }))).into_response(),
                );
            }
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_json =
            content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        (!is_json).then(|| bad_request("Send JSON, with Content-Type: application/json"))
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The paths of the administration tool.
pub fn routes(recovery: Arc<Recovery>) -> Router {
    let team = |sources: &'static [Source]| {
        post(async move |State(recovery): State<Arc<Recovery>>, headers: HeaderMap, body: Bytes| {
            recover_team(recovery, sources, &headers, &body).await
        })
    };
    Router::new()
        .route("/admin/recovery/team", team(&[Source::Github, Source::Taiga]))
        .route("/admin/recovery/github", team(&[Source::Github]))
        .route("/admin/recovery/taiga", team(&[Source::Taiga]))
        .route("/data-recovery/run", post(recover_all))
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(recovery)
}

fn bad_request(error: impl std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response()
}

/// A team that is being recovered. Dropping this releases it, also in a panic.
struct TeamInHand(Arc<Recovery>, Project);

impl Drop for TeamInHand {
    fn drop(&mut self) {
        self.0.busy().teams.remove(&self.1);
    }
}

/// All teams are being recovered.
struct AllInHand(Arc<Recovery>);

impl Drop for AllInHand {
    fn drop(&mut self) {
        self.0.busy().all = false;
    }
}

async fn recover_team(recovery: Arc<Recovery>, sources: &[Source], headers: &HeaderMap, body: &Bytes) -> Response {
    if let Some(refusal) = recovery.refusal(headers) {
        return refusal;
    }
    let team = match request::team(body, sources, &recovery.hosts) {
        Ok(team) => team,
        Err(error) => return bad_request(error),
    };
    let prj = team.scope.prj.clone();
    if !recovery.busy().teams.insert(prj.clone()) {
        let error = format!("{prj} is being recovered already: wait for its end");
        return (StatusCode::CONFLICT, Json(json!({ "status": "busy", "error": error }))).into_response();
    }
    let in_hand = TeamInHand(Arc::clone(&recovery), prj.clone());
    // A task of its own, so that it continues if the client disconnects.
    let work = tokio::spawn(async move {
        tracing::info!(%prj, "a recovery was asked for");
        let (is_ok, answer) = run::team(&recovery.reconciler, &recovery.asking(), team).await;
        tracing::info!(%prj, is_ok, "the recovery has ended");
        drop(in_hand);
        (is_ok, answer)
    });
    match work.await {
        Ok((true, answer)) => Json(answer).into_response(),
        Ok((false, answer)) => (StatusCode::INTERNAL_SERVER_ERROR, Json(answer)).into_response(),
        Err(_) => failed("the recovery broke off: look into the worker's log"),
    }
}

fn failed(error: &str) -> Response {
    let answer = json!({ "status": "error", "steps": [], "error": error });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(answer)).into_response()
}

async fn recover_all(State(recovery): State<Arc<Recovery>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = recovery.refusal(&headers) {
        return refusal;
    }
    let wanted = match request::all(&body, now_ms()) {
        Ok(wanted) => wanted,
        Err(error) => return bad_request(error),
    };
    if std::mem::replace(&mut recovery.busy().all, true) {
        return (StatusCode::CONFLICT, Json(json!({ "status": "busy" }))).into_response();
    }
    let in_hand = AllInHand(Arc::clone(&recovery));
    let work = tokio::spawn(async move {
        let started = rfc3339(now_ms());
        let found = run::all(&recovery.reconciler, &recovery.asking(), wanted).await;
        drop(in_hand);
        match found {
            Ok(summary) => {
                tracing::info!(%summary, "all teams were recovered");
                Ok::<Value, String>(json!({
                    "status": "completed", "started_at": started, "finished_at": rfc3339(now_ms()), "summary": summary,
                }))
            }
            Err(error) => {
                tracing::warn!(%error, "the recovery of all teams broke off");
                Err(error.to_string())
            }
        }
    });
    if wanted.in_background {
        return (StatusCode::ACCEPTED, Json(json!({ "status": "accepted" }))).into_response();
    }
    match work.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed("the recovery broke off: look into the worker's log"),
    }
}
