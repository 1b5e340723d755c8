//! States and notices in the reader's language.

use maud::{Markup, html};
use shared::time::rfc3339;

use super::super::i18n::Texts;
use crate::deliveries::story::State;

/// The result of an action, shown on the page that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Redriven,
    Resent,
}

impl Done {
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "redriven" => Some(Self::Redriven),
            "resent" => Some(Self::Resent),
            _ => None,
        }
    }

    pub fn notice(self, t: &Texts) -> Markup {
        let said = match self {
            Self::Redriven => t.redriven(),
            Self::Resent => t.resent(),
        };
        html! { p.sentence.well { span.mark aria-hidden="true" { "✓" } span { (said) } } }
    }
}

pub fn state(t: &Texts, state: State) -> Markup {
    let word = match state {
        State::Refused => t.state_refused(),
        State::Received => t.state_received(),
        State::Stored => t.state_stored(),
        State::Notified => t.state_notified(),
        State::Enriched => t.state_enriched(),
        State::Dead => t.state_dead(),
    };
    html! { @if matches!(state, State::Refused | State::Dead) { span.bad { (word) } } @else { (word) } }
}

pub fn time(t: &Texts, ms: i64) -> Markup {
    html! { time datetime=(rfc3339(ms)) { (t.time(ms)) } }
}

/// The form that sends something again; nothing where that is off.
pub fn again(t: &Texts, action: &str, label: &str, hint: &str, is_on: bool) -> Markup {
    html! {
        @if is_on {
            form.filter method="post" action=(action) {
                label for="token" { (t.token_label()) }
                input #token type="password" name="token" autocomplete="current-password" required;
                button { (label) }
            }
            p.quiet { (hint) }
        }
    }
}
