//! The dead letters, and one of them.

use async_nats::HeaderMap;
use maud::{Markup, html};

use super::super::frame::{Frame, cell, table};
use super::super::i18n::{Language, Texts};
use super::words::{Done, again, time};
use crate::deliveries::letters::DeadLetter;

/// The newest ones.
pub fn list(letters: &[DeadLetter], prj: Option<&str>, done: Option<Done>, language: Language) -> Markup {
    let t = Texts::of(language);
    let lang = language.code();
    let columns =
        [t.dead_letter(), t.given_up_at(), t.why(), t.source(), t.event(), t.team(), t.attempts(), t.what_is_wrong()];
    let main = html! {
        @if let Some(done) = done { (done.notice(t)) }
        section aria-labelledby="letters" {
            h2 #letters { (t.dead_letters()) }
            @if letters.is_empty() { p { (t.none()) } } @else {
                (table("letters", &columns, html! {
                    @for letter in letters {
                        tr role="row" {
                            th scope="row" role="rowheader" { a href={ "/dead-letters/" (letter.id) "?lang=" (lang) } { (letter.id) } }
                            (cell(t.given_up_at(), letter.at.is_some(), html! { @if let Some(at) = letter.at { (time(t, at)) } }))
                            (cell(t.why(), true, html! { (letter.reason) }))
                            (cell(t.source(), !letter.source.is_empty(), html! { (letter.source) }))
                            (cell(t.event(), !letter.event.is_empty(), html! { (letter.event) }))
                            (cell(t.team(), !letter.prj.is_empty(), html! { (letter.prj) }))
                            (cell(t.attempts(), letter.attempts.is_some(), html! { @if let Some(count) = letter.attempts { (count) } }))
                            (cell(t.what_is_wrong(), true, html! { span.wrap { (letter.error) } }))
                        }
                    }
                }))
            }
        }
    };
    let query = prj.map(|prj| vec![("prj", prj)]).unwrap_or_default();
    let footer = html! { a href={ "/status?lang=" (lang) } { (t.title()) } };
    Frame { language, mark: "·", title: t.dead_letters(), meta: html! {}, query, main, footer }.document()
}

/// One, without its payload.
pub fn page(letter: &DeadLetter, headers: &HeaderMap, may_send: bool, language: Language) -> Markup {
    let t = Texts::of(language);
    let lang = language.code();
    let pair = |name: String, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let found = form_urlencoded::Serializer::new(String::new())
        .append_pair("id", &letter.delivery)
        .append_pair("lang", lang)
        .finish();
    let mut headers: Vec<(String, &str)> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())))
        .collect();
    headers.sort();
    let main = html! {
        section aria-labelledby="letter" {
            h2 #letter { (t.dead_letter()) " " (letter.id) }
            dl {
                (pair(t.why(), html! { span.bad { (letter.reason) } }))
                (pair(t.what_is_wrong(), html! { (letter.error) }))
                @if let Some(at) = letter.at { (pair(t.given_up_at(), time(t, at))) }
                @if let Some(count) = letter.attempts { (pair(t.attempts(), html! { (count) })) }
                @if !letter.delivery.is_empty() { (pair(t.delivery_id(), html! { a href={ "/events?" (found) } { (letter.delivery) } })) }
            }
            (again(t, &format!("/dead-letters/{}/redrive?lang={lang}", letter.id), &t.redrive(), &t.redrive_hint(), may_send))
        }
        section aria-labelledby="headers" {
            h2 #headers { (t.headers()) }
            dl { @for (name, value) in &headers { (pair(name.clone(), html! { (value) })) } }
            p.quiet { (t.letter_payload_hint(letter.id.to_string())) }
        }
    };
    let footer = html! { a href={ "/status?lang=" (lang) } { (t.title()) } " · " a href={ "/dead-letters?lang=" (lang) } { (t.dead_letters()) } };
    let title = format!("{} {}", t.dead_letter(), letter.id);
    Frame { language, mark: "·", title, meta: html! {}, query: Vec::new(), main, footer }.document()
}
