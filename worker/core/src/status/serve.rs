//! `GET /status` and `GET /status.json`, on the admin address; `/` leads there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde::Deserialize;

use super::collect::StatusCollector;
use super::filter::Filter;
use super::i18n::Language;
use super::page;

/// Nothing is loaded from anywhere, nothing may frame it, and its form leads to itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub fn routes(collector: StatusCollector) -> Router {
    Router::new()
        .route("/", get(async || Redirect::temporary("/status")))
        .route("/status", get(page))
        .route("/status.json", get(json))
        .with_state(Arc::new(collector))
}

#[derive(Debug, Deserialize)]
struct View {
    lang: Option<String>,
    q: Option<String>,
}

async fn page(
    State(collector): State<Arc<StatusCollector>>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let language = view.lang.as_deref().and_then(Language::of).unwrap_or_else(|| Language::accepted(accepted));
    let filter = Filter::new(view.q.as_deref().unwrap_or_default());
    let page = page::page(&*collector.status().await, language, &filter);
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

async fn json(State(collector): State<Arc<StatusCollector>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(&*collector.status().await).into_response())
}
