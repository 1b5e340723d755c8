//! What the webhooks take and answer, as OpenAPI: `GET /openapi.json` on the admin address.

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;

/// The text itself; an end-to-end test compares it with what is really answered.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The route.
pub fn router() -> Router {
    Router::new().route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
}
