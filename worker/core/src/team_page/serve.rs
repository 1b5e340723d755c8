//! `GET /team/<prj>/<key>` and `/team/<prj>/<key>.json`, on an address of its own. Whatever else is asked for is a 404
//! that says nothing: neither whether a team exists, nor how wrong a key is.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shared::credentials::{Courses, KeyKind, Opened, PageKeys};
use shared::ids::Project;
use shared::server::SmallServer;
use shared::source::PerSource;

use super::collect::TeamReader;
use super::page::{Page, SCRIPT, STYLE};
use crate::status::i18n::Language;

/// Only our own script and style, and only this address is asked for more.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE),
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What the pages need.
#[derive(Debug)]
pub struct TeamPages {
    pub keys: PageKeys,
    pub reader: TeamReader,
}

/// Binds the address of the pages (port 0 works) and logs it.
///
/// # Errors
/// When the address cannot be bound; the message names it and the setting.
pub async fn bind(addr: SocketAddr, pages: TeamPages) -> Result<SmallServer, std::io::Error> {
    let router =
        Router::new().route("/team/{prj}/{key}", any(page)).fallback(async || not_found()).with_state(Arc::new(pages));
    SmallServer::bind(addr, "TEAM_PAGES_ADDR", "team pages", router).await
}

#[derive(Debug, Deserialize)]
struct View {
    lang: Option<String>,
}

async fn page(
    State(pages): State<Arc<TeamPages>>,
    method: Method,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    view: Result<Query<View>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let courses = pages.reader.courses.courses();
    let path = path.ok().filter(|_| method == Method::GET || method == Method::HEAD);
    let Some((prj, key, is_json, opened)) = path.and_then(|Path((prj, key))| open(&pages, &courses, &prj, &key)) else {
        return not_found();
    };
    let team = pages.reader.team(&prj).await;
    if is_json {
        return with_headers(axum::Json(&*team).into_response());
    }
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lang = view.ok().and_then(|Query(view)| view.lang);
    let language = lang.as_deref().and_then(Language::of).unwrap_or_else(|| Language::accepted(accepted));
    let page = Page {
        team: &team,
        language,
        viewer: opened.viewer,
        public_url: pages.reader.public_url.as_deref(),
        model: courses.course_of(&prj).and_then(|course| course.quality_model.as_ref()),
        secrets: PerSource::new(|source| {
            let keys = pages.keys.defaults().in_force(&courses, source, Some(&prj));
            let own = keys.into_iter().find(|key| key.kind == KeyKind::Team).map(|key| key.secret);
            own.filter(|_| opened.shows_secrets)
        }),
        json: &format!("{key}.json"),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, language.code()),
        (header::VARY, "accept-language"),
    ];
    with_headers((headers, page.document()).into_response())
}

/// Which project a link is of, its key, whether JSON is asked for, and what it opens.
fn open(pages: &TeamPages, courses: &Courses, prj: &str, key: &str) -> Option<(Project, String, bool, Opened)> {
    let (key, is_json) = key.strip_suffix(".json").map_or((key, false), |key| (key, true));
    let prj = Project::new(prj).ok()?;
    let opened = pages.keys.open(courses, &prj, key)?;
    Some((prj, key.to_owned(), is_json, opened))
}

fn not_found() -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    with_headers((StatusCode::NOT_FOUND, text, "Not found\n").into_response())
}

/// A link must not leave the browser, and what it shows must not stay in it.
fn with_headers(mut response: Response) -> Response {
    for (name, value) in [
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}
