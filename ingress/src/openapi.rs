//! The webhooks' API as OpenAPI: `GET /openapi.json` on the admin address.

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;

/// An end-to-end test compares it with the real answers.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

pub fn router() -> Router {
    Router::new().route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
}
