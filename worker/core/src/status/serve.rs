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
use super::frame;
use super::i18n::Language;
use super::page;

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
    (frame::headers(language), page)
}

async fn json(State(collector): State<Arc<StatusCollector>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(&*collector.status().await).into_response())
}
