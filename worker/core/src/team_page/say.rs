//! What the page says, in the reader's language: what became of a delivery, and what to do about a refusal.

use shared::source::Source;

use super::team::{Became, IsNotified};
use crate::deliveries::Document;
use crate::status::i18n::Texts;

/// A kind of event.
pub fn event(t: &Texts, event: &str) -> String {
    match event {
        "push" => t.event_push(),
        "issues" => t.event_issues(),
        "pull_request" => t.event_pull_request(),
        "repository" => t.event_repository(),
        "issue" => t.event_issue(),
        "task" => t.event_task(),
        "userstory" => t.event_userstory(),
        "relateduserstory" => t.event_relateduserstory(),
        "epic" => t.event_epic(),
        "milestone" => t.event_milestone(),
        "sheets_activity" => t.event_sheets_activity(),
        other => other.to_owned(),
    }
}

/// `3 commits, task #12`
pub fn documents(t: &Texts, documents: &[Document]) -> String {
    documents.iter().map(|document| of_a_kind(t, document)).collect::<Vec<_>>().join(", ")
}

fn of_a_kind(t: &Texts, document: &Document) -> String {
    let Document { kind, count, name, is_removed } = document;
    let name = name.as_deref().unwrap_or_default();
    let what = match (*kind, *count) {
        ("commits", 1) => t.doc_commit(name),
        ("commits", count) => t.doc_commits(count),
        ("issues", 1) => t.doc_issue(name),
        ("issues", count) => t.doc_issues(count),
        ("pull_requests", 1) => t.doc_pull_request(name),
        ("pull_requests", count) => t.doc_pull_requests(count),
        ("userstories", 1) => t.doc_userstory(name),
        ("userstories", count) => t.doc_userstories(count),
        ("tasks", 1) => t.doc_task(name),
        ("tasks", count) => t.doc_tasks(count),
        ("epics", 1) => t.doc_epic(name),
        ("epics", count) => t.doc_epics(count),
        _ => t.doc_row(),
    };
    let what = what.trim_end().to_owned();
    if *is_removed { t.doc_removed(what) } else { what }
}

pub fn became(t: &Texts, became: &Became) -> String {
    match became {
        Became::Waiting => t.became_waiting(),
        Became::Processing => t.became_processing(),
        Became::Nothing => t.became_nothing(),
        Became::Stored(IsNotified::Yes) => t.became_notified(),
        Became::Stored(IsNotified::Waiting) => t.became_to_notify(),
        Became::Stored(IsNotified::Refused) => t.became_not_notified(),
        Became::Stored(IsNotified::No) => t.became_stored(),
        Became::Dead(reason) => t.became_dead(match reason.as_str() {
            "unreadable" => t.dead_unreadable(),
            "no_identity" => t.dead_no_identity(),
            "unknown_event" => t.dead_unknown_event(),
            "unstorable" => t.dead_unstorable(),
            "too_many_projects" => t.dead_too_many_projects(),
            _ => t.dead_bug(),
        }),
    }
}

/// What to do now so that something comes.
pub fn connect(t: &Texts, source: Source) -> String {
    match source {
        Source::Github => t.page_do_github(),
        Source::Taiga => t.page_do_taiga(),
        Source::Excel => t.page_do_excel(),
    }
}

/// What to do once its test came.
pub fn go_on(t: &Texts, source: Source) -> String {
    match source {
        Source::Github => t.page_try_github(),
        Source::Taiga => t.page_try_taiga(),
        Source::Excel => t.page_try_excel(),
    }
}

/// What to do about a refusal; `reason` is the word that metrics use.
pub fn fix(t: &Texts, source: Source, reason: &str) -> String {
    match (reason, source) {
        ("signature", Source::Github) => t.page_fix_github(),
        ("signature", Source::Taiga) => t.page_fix_taiga(),
        ("signature", Source::Excel) => t.page_fix_excel(),
        ("no_secret", _) => t.page_fix_no_secret(),
        ("unsigned", _) => t.page_fix_unsigned(),
        ("query", _) => t.page_fix_query(),
        ("too_large", _) => t.page_fix_too_large(),
        ("json" | "event" | "encoding" | "framing", _) => t.page_fix_json(),
        _ => t.page_fix_later(),
    }
}
