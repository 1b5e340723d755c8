//! The newest deliveries of a team, or what was found of an id.

use maud::{Markup, html};

use super::super::frame::{Frame, cell, table};
use super::super::i18n::{Language, Texts};
use super::words::{Done, state, time};
use crate::deliveries::refused::Refusal;
use crate::deliveries::story::{State, Story};

pub struct List<'l> {
    pub title: String,
    /// The query of this page without language.
    pub query: Vec<(&'l str, &'l str)>,
    pub stories: Vec<Story>,
    pub refusals: Vec<Refusal>,
    /// What to say where there is neither.
    pub nothing: String,
    pub done: Option<Done>,
}

pub fn page(list: &List<'_>, language: Language) -> Markup {
    let t = Texts::of(language);
    let columns = [t.received_at(), t.source(), t.team(), t.event(), t.state(), t.delivery()];
    let mut rows: Vec<(i64, Markup)> =
        list.stories.iter().map(|story| (story.delivery.received_at, row(t, language, story))).collect();
    rows.extend(list.refusals.iter().map(|refusal| (refusal.at, refused(t, refusal))));
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let main = html! {
        @if let Some(done) = list.done { (done.notice(t)) }
        section aria-labelledby="deliveries" {
            h2 #deliveries { (t.deliveries()) }
            @if rows.is_empty() { p { (list.nothing) } } @else {
                (table("deliveries", &columns, html! { @for (_, row) in &rows { (row) } }))
            }
        }
    };
    let footer = html! { a href={ "/status?lang=" (language.code()) } { (t.title()) } };
    let frame = Frame {
        language,
        mark: "·",
        title: list.title.clone(),
        meta: html! {},
        query: list.query.clone(),
        main,
        footer,
    };
    frame.document()
}

fn row(t: &Texts, language: Language, story: &Story) -> Markup {
    let delivery = &story.delivery;
    let link = format!("/events/{}?lang={}", delivery.sequence, language.code());
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { a href=(link) { (time(t, delivery.received_at)) } }
            (cell(t.source(), true, html! { (delivery.source.description().title) }))
            (cell(t.team(), true, html! { (delivery.prj) }))
            (cell(t.event(), true, html! { (delivery.event) }))
            (cell(t.state(), true, html! {
                (state(t, story.state))
                @if let Some(letter) = &story.dead_letter { " " span.quiet { (letter.reason) } }
                @if let Some(first) = delivery.again_of { " " span.quiet { (t.sent_again(first.to_string())) } }
            }))
            (cell(t.delivery(), !delivery.id.is_empty(), html! { a href=(link) { (delivery.id) } }))
        }
    }
}

fn refused(t: &Texts, refusal: &Refusal) -> Markup {
    let prj = refusal.prj.as_ref().map(ToString::to_string).unwrap_or_default();
    let delivery = refusal.delivery.clone().unwrap_or_default();
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (time(t, refusal.at)) }
            (cell(t.source(), true, html! { (refusal.source.description().title) }))
            (cell(t.team(), !prj.is_empty(), html! { (prj) }))
            (cell(t.event(), false, html! { "–" }))
            (cell(t.state(), true, html! {
                (state(t, State::Refused)) ": " (t.reason(&refusal.reason))
                @if !refusal.verified { " " span.quiet { (t.unverified_mark()) } }
            }))
            (cell(t.delivery(), !delivery.is_empty(), html! { (delivery) }))
        }
    }
}
