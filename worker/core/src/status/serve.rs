//! `GET /status` and `GET /status.json`, on the admin address.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Deserialize;

use super::html;
use super::language::Language;
use super::look::Watchtower;

/// Nothing is loaded from anywhere, nothing may frame it, and nobody keeps it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes(tower: Watchtower) -> Router {
    Router::new().route("/status", get(page)).route("/status.json", get(json)).with_state(Arc::new(tower))
}

#[derive(Debug, Deserialize)]
struct Asked {
    lang: Option<String>,
}

async fn page(
    State(tower): State<Arc<Watchtower>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let language = asked.lang.as_deref().and_then(Language::of).unwrap_or_else(|| Language::accepted(accepted));
    let page = html::page(&*tower.status().await, language);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, language.code()),
        (header::VARY, "accept-language"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page)
}

async fn json(State(tower): State<Arc<Watchtower>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(&*tower.status().await).into_response())
}
