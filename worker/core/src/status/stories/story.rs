//! One delivery's page.

use maud::{Markup, html};

use super::super::frame::{Frame, cell, table};
use super::super::i18n::{Language, Texts};
use super::words::{Done, again, state, time};
use crate::deliveries::story::{Now, Says, Story, Touched};

/// What is shown of an event.
pub struct Shown<'t> {
    pub story: &'t Story,
    pub headers: &'t [(String, String)],
    /// Whether it can be sent again from here.
    pub may_send: bool,
    pub done: Option<Done>,
}

pub fn page(shown: &Shown<'_>, language: Language) -> Markup {
    let t = Texts::of(language);
    let Story { delivery, state: reached, documents, notifications, dead_letter, error, .. } = shown.story;
    let lang = language.code();
    let pair = |name: String, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let main = html! {
        @if let Some(done) = shown.done { (done.notice(t)) }
        section aria-labelledby="delivery" {
            h2 #delivery { (t.delivery()) }
            dl {
                (pair(t.state(), html! {
                    (state(t, *reached))
                    @if let Some(at) = shown.story.notified_at() { " " span.quiet { (t.last_accepted()) " " (time(t, at)) } }
                }))
                (pair(t.received_at(), time(t, delivery.received_at)))
                (pair(t.source(), html! { (delivery.source.description().title) " " (delivery.event) }))
                (pair(t.team(), html! { a href={ "/events?prj=" (delivery.prj) "&lang=" (lang) } { (delivery.prj) } }))
                (pair(t.delivery_id(), html! { (delivery.id) }))
                (pair(t.sequence(), html! {
                    (delivery.sequence)
                    @if let Some(first) = delivery.again_of {
                        " " a href={ "/events/" (first) "?lang=" (lang) } { (t.sent_again(first.to_string())) }
                    }
                }))
                @if let Some(error) = error { (pair(t.what_is_wrong(), html! { span.bad { (error) } })) }
                @if let Some(letter) = dead_letter {
                    (pair(t.dead_letter(), html! {
                        a href={ "/dead-letters/" (letter.id) "?lang=" (lang) } { (letter.id) " " (letter.reason) } " " (letter.error)
                    }))
                }
            }
        }
        section aria-labelledby="documents" {
            h2 #documents { (t.documents()) }
            @if documents.is_empty() { p { (t.none()) } } @else {
                (table("documents", &[t.document(), t.now_it()], html! {
                    @for document in documents {
                        tr role="row" {
                            th scope="row" role="rowheader" { (document.collection) " " span.quiet { (document.key) } }
                            (cell(t.now_it(), true, shows(t, document, lang)))
                        }
                    }
                }))
            }
            @if shown.story.more_documents > 0 { p { (t.more_documents(shown.story.more_documents)) } }
        }
        section aria-labelledby="notifications" {
            h2 #notifications { (t.notifications()) }
            @if notifications.is_empty() { p { (t.none()) } } @else {
                ul {
                    @for notified in notifications {
                        li { (notified.event_type) ": " @if notified.accepted { (t.notified_accepted()) } @else { (t.notified_waits()) } }
                    }
                }
            }
            (again(t, &format!("/events/{}/resend?lang={lang}", delivery.sequence), &t.resend(), &t.resend_hint(), shown.may_send))
        }
        section aria-labelledby="headers" {
            h2 #headers { (t.headers()) }
            dl { @for (name, value) in shown.headers { (pair(name.clone(), html! { (value) })) } }
            p.quiet { (t.payload_hint(delivery.sequence.to_string())) }
        }
    };
    let footer = html! { a href={ "/status?lang=" (lang) } { (t.title()) } };
    let title = format!("{} {} · {}", delivery.source.description().title, delivery.event, delivery.prj);
    Frame { language, mark: "·", title, meta: html! {}, query: Vec::new(), main, footer }.document()
}

fn shows(t: &Texts, document: &Touched, lang: &str) -> Markup {
    match (document.says, &document.now) {
        (Says::View, _) => html! { (t.now_view()) },
        (Says::Removed, Some(Now::Absent)) => html! { (t.now_removed()) },
        (_, Some(Now::Ours)) => html! { (t.now_ours()) },
        (_, Some(Now::Other(other))) => {
            html! { a href={ "/events?" (form_urlencoded::Serializer::new(String::new()).append_pair("id", other).append_pair("lang", lang).finish()) } { (t.now_other(other.clone())) } }
        }
        (_, Some(Now::Absent)) => html! { (t.now_absent()) },
        (_, None) => html! { (t.now_unknown()) },
    }
}
