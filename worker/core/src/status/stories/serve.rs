//! `GET /events`, `/events/<sequence>`, `/dead-letters`, `/dead-letters/<id>`, and the forms that send again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures::{StreamExt as _, TryStreamExt as _};
use maud::html;
use serde::Deserialize;
use shared::ids::Project;
use shared::secret::Secret;

use super::super::frame::{Frame, headers};
use super::super::i18n::{Language, Texts};
use super::access::{self, Refused};
use super::words::Done;
use super::{letters, list, story};
use crate::deliveries::again::{Again, NotSent};
use crate::deliveries::story::Story;
use crate::deliveries::{Delivery, Reader, Unreadable, Wanted};

/// How many deliveries or dead letters a page has.
const ROWS: usize = 50;
const LETTERS: usize = 200;

/// How many stories are read at the same time.
const AT_ONCE: usize = 8;

/// How long the event stream is searched for an id.
const SEARCH: Duration = Duration::from_secs(5);

/// How many documents of a delivery are looked at.
const DOCUMENTS: usize = 50;

/// A form has a token.
const MAX_BODY: usize = 4 * 1024;

/// What the pages read and send with.
#[derive(Debug)]
pub struct Stories {
    reader: Reader,
    token: Option<Secret>,
}

impl Stories {
    /// `token` is `ADMIN_TOKEN`: without it nothing can be sent again from a page.
    #[must_use]
    pub const fn new(reader: Reader, token: Option<Secret>) -> Self {
        Self { reader, token }
    }
}

pub fn routes(stories: Stories) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/events/{sequence}", get(event))
        .route("/events/{sequence}/resend", post(resend))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/{id}", get(dead_letter))
        .route("/dead-letters/{id}/redrive", post(redrive))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(stories))
}

#[derive(Debug, Default, Deserialize)]
struct View {
    lang: Option<String>,
    id: Option<String>,
    prj: Option<String>,
    done: Option<String>,
}

impl View {
    fn language(&self, headers: &HeaderMap) -> Language {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.lang.as_deref().and_then(Language::of).unwrap_or_else(|| Language::accepted(accepted))
    }

    fn done(&self) -> Option<Done> {
        self.done.as_deref().and_then(Done::of)
    }

    fn prj(&self) -> Option<Project> {
        self.prj.as_deref().and_then(|prj| Project::new(prj).ok())
    }
}

#[derive(Debug, Deserialize)]
struct Sent {
    #[serde(default)]
    token: String,
}

type Page = Result<Response, Failed>;

/// A page that cannot be shown, or an action that was not done.
struct Failed {
    status: StatusCode,
    language: Language,
    said: String,
}

impl Failed {
    fn nats(language: Language) -> impl FnOnce(Unreadable) -> Self {
        move |error| {
            let t = Texts::of(language);
            let said = format!("{} {}", t.nats(error.to_string()), t.nats_advice());
            Self { status: StatusCode::SERVICE_UNAVAILABLE, language, said }
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self { status, language, said } = self;
        let t = Texts::of(language);
        let main = html! { p.sentence.look { span.mark aria-hidden="true" { "!" } span { (said) } } };
        let footer = html! { a href={ "/status?lang=" (language.code()) } { (t.title()) } };
        let frame = Frame { language, mark: "!", title: t.title(), meta: html! {}, query: Vec::new(), main, footer };
        (status, headers(language), frame.document().into_string()).into_response()
    }
}

fn shown(language: Language, page: maud::Markup) -> Response {
    (headers(language), page.into_string()).into_response()
}

/// The newest deliveries of a team or of all; with `?id=` what is known of a delivery.
async fn events(State(stories): State<Arc<Stories>>, Query(view): Query<View>, asked: HeaderMap) -> Page {
    let language = view.language(&asked);
    let t = Texts::of(language);
    let reader = &stories.reader;
    let failed = || Failed::nats(language);
    let id = view.id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let list = match id {
        Some(id) => {
            let found = reader.find(id, SEARCH).await.map_err(failed())?;
            if let ([event], []) = (&found.events[..], &found.refusals[..]) {
                let done = view.done.as_deref().filter(|word| Done::of(word).is_some());
                let done = done.map(|word| format!("&done={word}")).unwrap_or_default();
                let to = format!("/events/{}?lang={}{done}", event.sequence, language.code());
                return Ok(Redirect::to(&to).into_response());
            }
            let nothing = if found.complete { t.not_found(id) } else { t.not_searched(id) };
            let stories = read(reader, found.events, None).await.map_err(failed())?;
            list::List {
                title: t.deliveries(),
                query: vec![("id", id)],
                stories,
                refusals: found.refusals,
                nothing,
                done: view.done(),
            }
        }
        None => {
            let prj = view.prj();
            let wanted = Wanted { prj: prj.clone(), count: ROWS, ..Wanted::default() };
            let newest = reader.list(&wanted).await.map_err(failed())?;
            let mut refusals = reader.refusals(&wanted).await.map_err(failed())?;
            refusals.drain(..refusals.len().saturating_sub(ROWS));
            let stories = read(reader, newest, prj.as_ref()).await.map_err(failed())?;
            list::List {
                title: prj.as_ref().map_or_else(|| t.deliveries(), |prj| t.deliveries_of(prj.to_string())),
                query: view.prj.iter().map(|prj| ("prj", prj.as_str())).collect(),
                stories,
                refusals,
                nothing: t.none(),
                done: view.done(),
            }
        }
    };
    Ok(shown(language, list::page(&list, language)))
}

async fn read(reader: &Reader, deliveries: Vec<Delivery>, prj: Option<&Project>) -> Result<Vec<Story>, Unreadable> {
    let outcomes = reader.outcomes(prj).await?;
    let stories =
        futures::stream::iter(deliveries).map(|delivery| reader.story(&outcomes, delivery, 1)).buffered(AT_ONCE);
    stories.try_collect().await
}

async fn event(
    State(stories): State<Arc<Stories>>,
    Path(sequence): Path<u64>,
    Query(view): Query<View>,
    asked: HeaderMap,
) -> Page {
    let language = view.language(&asked);
    let reader = &stories.reader;
    let failed = || Failed::nats(language);
    let Some(event) = reader.event(sequence).await.map_err(failed())? else {
        return Err(absent(language, &sequence.to_string()));
    };
    let prj = event.prj.clone();
    let outcomes = reader.outcomes(Some(&prj)).await.map_err(failed())?;
    let story = reader.story(&outcomes, event, DOCUMENTS).await.map_err(failed())?;
    let (headers, _payload) = reader.contents(sequence).await.map_err(failed())?;
    let may_send = stories.token.is_some();
    let page = story::Shown { story: &story, headers: &headers, may_send, done: view.done() };
    Ok(shown(language, story::page(&page, language)))
}

fn absent(language: Language, id: &str) -> Failed {
    Failed { status: StatusCode::NOT_FOUND, language, said: Texts::of(language).not_found(id) }
}

async fn dead_letters(State(stories): State<Arc<Stories>>, Query(view): Query<View>, asked: HeaderMap) -> Page {
    let language = view.language(&asked);
    let prj = view.prj();
    let newest = stories.reader.letters(prj.as_ref(), LETTERS).await.map_err(Failed::nats(language))?;
    Ok(shown(language, letters::list(&newest, view.prj.as_deref(), view.done(), language)))
}

async fn dead_letter(
    State(stories): State<Arc<Stories>>,
    Path(id): Path<u64>,
    Query(view): Query<View>,
    asked: HeaderMap,
) -> Page {
    let language = view.language(&asked);
    let letter = stories.reader.letter(id).await.map_err(Failed::nats(language))?;
    let (letter, message) = letter.ok_or_else(|| gone(language, id))?;
    Ok(shown(language, letters::page(&letter, &message.headers, stories.token.is_some(), language)))
}

fn gone(language: Language, id: u64) -> Failed {
    Failed { status: StatusCode::NOT_FOUND, language, said: Texts::of(language).letter_gone(id.to_string()) }
}

async fn redrive(
    State(stories): State<Arc<Stories>>,
    Path(id): Path<u64>,
    Query(view): Query<View>,
    asked: HeaderMap,
    Form(sent): Form<Sent>,
) -> Page {
    let language = view.language(&asked);
    let of = format!("dead letter {id}");
    permit(&stories, language, &asked, &sent, "redrive", &of)?;
    let done = done(language, "redrive", &of, stories.reader.redrive(id).await, || gone(language, id))?;
    let lang = language.code();
    let to = match done {
        // Where it is now.
        delivery if delivery.is_empty() => format!("/dead-letters?lang={lang}&done=redriven"),
        delivery => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("id", &delivery).append_pair("lang", lang).append_pair("done", "redriven");
            format!("/events?{}", query.finish())
        }
    };
    Ok(Redirect::to(&to).into_response())
}

async fn resend(
    State(stories): State<Arc<Stories>>,
    Path(sequence): Path<u64>,
    Query(view): Query<View>,
    asked: HeaderMap,
    Form(sent): Form<Sent>,
) -> Page {
    let language = view.language(&asked);
    let of = format!("event {sequence}");
    permit(&stories, language, &asked, &sent, "resend", &of)?;
    let again = stories.reader.resend(sequence).await;
    done(language, "resend", &of, again, || absent(language, &sequence.to_string()))?;
    Ok(Redirect::to(&format!("/events/{sequence}?lang={}&done=resent", language.code())).into_response())
}

/// Every use is logged, also one that was refused.
fn permit(
    stories: &Stories,
    language: Language,
    headers: &HeaderMap,
    sent: &Sent,
    action: &str,
    of: &str,
) -> Result<(), Failed> {
    let t = Texts::of(language);
    let refused = match access::check(stories.token.as_ref(), headers, &sent.token) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    tracing::warn!(action, of, reason = ?refused, "refused to send something again from a page");
    let (status, said) = match refused {
        Refused::Off => (StatusCode::NOT_FOUND, t.send_off()),
        Refused::CrossSite => (StatusCode::FORBIDDEN, t.send_cross_site()),
        Refused::Token => (StatusCode::FORBIDDEN, t.send_wrong_token()),
    };
    Err(Failed { status, language, said })
}

/// The delivery that was sent again.
fn done(
    language: Language,
    action: &str,
    of: &str,
    again: Result<Again, NotSent>,
    absent: impl FnOnce() -> Failed,
) -> Result<String, Failed> {
    let t = Texts::of(language);
    match again {
        Ok(Again::Sent { delivery }) => {
            tracing::info!(action, of, delivery.id = delivery, "sent something again from a page");
            Ok(delivery)
        }
        Ok(Again::Absent) => Err(absent()),
        Ok(Again::OnlyBeginning) => Err(Failed { status: StatusCode::CONFLICT, language, said: t.only_beginning() }),
        Err(error) => {
            tracing::warn!(action, of, %error, "something could not be sent again from a page");
            Err(Failed { status: StatusCode::SERVICE_UNAVAILABLE, language, said: t.send_failed(error.to_string()) })
        }
    }
}
