//! The page: one document without scripts and pictures. `maud` escapes whatever is filled in.
//!
//! On a narrow screen each row of a table becomes a card, whose lines take their names from `data-name`. Because
//! that removes the table's meaning in some browsers, roles say it again.

use maud::{Markup, html};
use shared::facts::WebhookRefused;
use shared::source::Source;
use shared::time::rfc3339;

use super::activity::{HOUR, HOURS};
use super::filter::Filter;
use super::findings::Finding;
use super::frame::{Frame, cell, table};
use super::i18n::words::clock;
use super::i18n::{Language, Texts};
use super::level::Level;
use super::model::Status;
use super::say::{Said, say};
use super::teams::{Row, Standing};

/// How many rows the page shows; the JSON has all.
const ROWS: usize = 600;

pub fn page(status: &Status, language: Language, filter: &Filter) -> String {
    Page { status, language, t: Texts::of(language), filter }.document().into_string()
}

struct Page<'s> {
    status: &'s Status,
    language: Language,
    t: &'static Texts,
    filter: &'s Filter,
}

impl Page<'_> {
    fn document(&self) -> Markup {
        let (t, language) = (self.t, self.language);
        let (mark, class) = match self.status.level {
            Level::Well => ("✓", "well"),
            Level::Look => ("!", "look"),
            Level::Broken => ("✕", "broken"),
        };
        let query = if self.filter.is_empty() { Vec::new() } else { vec![("q", self.filter.text())] };
        let main = html! {
            p.sentence.(class) #sentence {
                span.mark aria-hidden="true" { (mark) }
                span { (self.sentence()) }
            }
            (self.findings())
            (self.find())
            (self.teams())
            (self.queues())
            (self.tokens())
        };
        let mut frame = Frame {
            language,
            mark,
            title: t.title(),
            meta: html! {},
            query,
            main,
            footer: html! { a href="/status.json" { (t.json()) } },
        };
        frame.meta =
            html! { (t.as_of()) " " (self.time(self.status.at)) " · " a href=(frame.link(language)) { (t.reload()) } };
        frame.document()
    }

    /// A delivery by its id: its story is one form away.
    fn find(&self) -> Markup {
        let t = self.t;
        html! {
            form.filter method="get" action="/events" {
                input type="hidden" name="lang" value=(self.language.code());
                label for="id" { (t.find_delivery()) }
                input #id type="search" name="id" maxlength="300" required;
                button { (t.find()) }
            }
        }
    }

    /// Whether all is well and, when not, the worst finding.
    fn sentence(&self) -> Markup {
        let troubles: Vec<_> = self.status.findings.iter().filter(|found| found.level() > Level::Well).collect();
        match troubles.as_slice() {
            [] => html! { (self.t.well()) },
            [first] => self.finding(first),
            [first, more @ ..] => html! { (self.finding(first)) " " (self.t.more(more.len())) },
        }
    }

    fn finding(&self, finding: &Finding) -> Markup {
        let Said { what, advice } = say(self.t, self.status.at, finding);
        html! { (what) " " strong { (advice) } }
    }

    fn findings(&self) -> Markup {
        let (noticed, to_do): (Vec<_>, Vec<_>) =
            self.status.findings.iter().partition(|found| found.level() == Level::Well);
        let list = |id: &str, heading: String, findings: &[&Finding]| {
            html! {
                @if !findings.is_empty() {
                    section aria-labelledby=(id) {
                        h2 id=(id) { (heading) }
                        ul { @for finding in findings { li { (self.finding(finding)) } } }
                    }
                }
            }
        };
        html! {
            // The first is the sentence at the top.
            (list("to-do", self.t.to_do(), to_do.get(1..).unwrap_or_default()))
            (list("noticed", self.t.noticed(), &noticed))
        }
    }

    fn queues(&self) -> Markup {
        let (t, status) = (self.t, self.status);
        let pair = |name: String, value: Markup| html! { div { dt { (name) } dd { (value) } } };
        let dead: u64 = status.dead.values().sum();
        let reasons: Vec<_> = status.dead.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        html! {
            section aria-labelledby="waits" {
                h2 #waits { (t.waiting()) }
                dl {
                    (pair(t.events(), html! {
                        (status.events_waiting)
                        @if let Some(since) = status.events_waiting_since { " (" (self.ago(since)) ")" }
                    }))
                    (pair(t.notifications(), html! { (status.notifications_waiting) }))
                    (pair(t.lookups(), html! { (status.lookups_waiting) }))
                    (pair(t.dead_letters(), html! { a href={ "/dead-letters?lang=" (self.language.code()) } { (dead) } @if dead > 0 { " (" (reasons.join(", ")) ")" } }))
                    (pair(t.accepted_by_eval(), html! {
                        @match &status.last_notified {
                            Some(last) => { (self.ago(last.at)) " " span.quiet { (last.prj) ", " (last.event_type) } }
                            None => { (t.never()) }
                        }
                    }))
                    (pair(t.refused_by_eval(), html! {
                        @match &status.last_notification_failure {
                            Some(last) => { (self.ago(last.at)) " " span.quiet { (last.why()) } }
                            None => { (t.never()) }
                        }
                    }))
                    (pair(t.stream(), html! {
                        (bytes(status.stream_bytes))
                        @if let Some(most) = status.stream_max_bytes { " / " (bytes(most)) }
                    }))
                }
            }
        }
    }

    fn teams(&self) -> Markup {
        let (t, status) = (self.t, self.status);
        let rows: Vec<_> = status.rows.iter().filter(|row| self.filter.accepts(row)).collect();
        let columns = [t.team(), t.source(), t.accepted(), t.refused(), t.hours(), t.dead_letters(), t.compared()];
        html! {
            section aria-labelledby="teams" {
                h2 #teams { (t.teams()) }
                form.filter method="get" action="/status" role="search" {
                    input type="hidden" name="lang" value=(self.language.code());
                    label for="q" { (t.filter()) }
                    input #q type="search" name="q" value=(self.filter.text()) maxlength="100";
                    button { (t.filter_apply()) }
                    @if !self.filter.is_empty() {
                        a href={ "?lang=" (self.language.code()) } { (t.filter_clear()) }
                    }
                }
                @if status.rows.is_empty() {
                    p { (t.no_teams()) }
                } @else if rows.is_empty() {
                    p { (t.no_match(self.filter.text())) }
                } @else {
                    (table("teams", &columns, html! { @for row in rows.iter().take(ROWS) { (self.row(row)) } }))
                }
                @if rows.len() > ROWS { p { (t.left_out(rows.len() - ROWS)) } }
                @if status.events_not_counted > 0 { p { (t.not_counted(status.events_not_counted)) } }
            }
        }
    }

    fn row(&self, row: &Row) -> Markup {
        let t = self.t;
        let never = html! { span.quiet { (t.never()) } };
        let accepted = row.last_accepted.map_or_else(|| never.clone(), |at| self.ago(at));
        let (refused, says) = match (row.open(&row.last_refused), row.open(&row.last_unverified)) {
            (Some(refused), _) => (self.refused(refused, html! { span.bad { (t.reason(&refused.reason)) } }), true),
            (None, Some(refused)) => (
                self.refused(refused, html! { span.quiet { (t.reason(&refused.reason)) " – " (t.unverified_mark()) } }),
                true,
            ),
            (None, None) => match &row.last_refused {
                Some(refused) => (self.refused(refused, html! { span.quiet { (t.reason(&refused.reason)) } }), true),
                None => (never, false),
            },
        };
        html! {
            tr role="row" {
                th scope="row" role="rowheader" {
                    @if row.level > Level::Well { span.bad aria-hidden="true" { "! " } }
                    a href={ "/events?prj=" (row.prj) "&lang=" (self.language.code()) } { (row.prj) }
                    @if let Some(course) = &row.course { " " span.quiet { (course) } }
                    @if row.standing == Standing::Unsigned { " " span.quiet { (t.unsigned()) } }
                }
                (cell(t.source(), true, html! { (row.source.description().title) }))
                (cell(t.accepted(), true, accepted))
                (cell(t.refused(), says, refused))
                (cell(t.hours(), row.hours.iter().any(|count| *count > 0), self.picture(&row.hours)))
                (cell(t.dead_letters(), row.dead > 0, html! {
                    @if row.dead > 0 { a.bad href={ "/dead-letters?prj=" (row.prj) "&lang=" (self.language.code()) } { (row.dead) } } @else { span.quiet { "0" } }
                }))
                (cell(t.compared(), row.reconciled.is_some(), html! {
                    @match &row.reconciled {
                        Some(found) => {
                            (self.ago(found.at)) " "
                            span.quiet { (t.compared_counts(found.checked, found.repaired, found.removed)) }
                        }
                        None => span.quiet { "–" }
                    }
                }))
            }
        }
    }

    fn refused(&self, refused: &WebhookRefused, why: Markup) -> Markup {
        html! { (self.ago(refused.at)) " " (why) }
    }

    /// A bar an hour, and the same in words.
    fn picture(&self, hours: &[u32; HOURS]) -> Markup {
        let sum: u64 = hours.iter().copied().map(u64::from).sum();
        let (at, most) =
            hours.iter().enumerate().max_by_key(|(_, count)| **count).map_or((0, 0), |(i, count)| (i, *count));
        let first = (self.status.at.div_euclid(HOUR) - HOURS as i64 + 1) * HOUR;
        let words = match sum {
            0 => self.t.picture_empty(),
            _ => self.t.picture(sum, most, clock(first + at as i64 * HOUR)),
        };
        html! {
            span.hours {
                svg role="img" viewBox="0 0 119 24" aria-label=(words) {
                    title { (words) }
                    @for (i, count) in hours.iter().enumerate().filter(|(_, count)| **count > 0) {
                        // The smallest bar must be visible, too.
                        @let height = (f64::from(*count) / f64::from(most) * 22.0).max(2.0);
                        rect x=(i * 5) y=(format!("{:.1}", 23.0 - height)) width="4" height=(format!("{height:.1}")) {}
                    }
                    path d="M0 23.5H119" {}
                }
                " "
                span aria-hidden="true" { (sum) }
            }
        }
    }

    fn tokens(&self) -> Markup {
        let t = self.t;
        if self.status.tokens.is_empty() {
            return html! {};
        }
        let rows = html! {
            @for token in &self.status.tokens {
                @let from: Option<Source> = token.provider.parse().ok();
                @let until = token.stopped_until.filter(|until| *until > self.status.at);
                tr role="row" {
                    th scope="row" role="rowheader" { (token.label) }
                    (cell(t.source(), true, html! { @match from { Some(source) => (source.description().title), None => (token.provider) } }))
                    (cell(t.requests_left(), true, html! {
                        @match token.remaining { Some(left) => (left), None => span.quiet { "–" } }
                        " " span.quiet { (self.ago(token.at)) }
                    }))
                    (cell(t.paused_until(), until.is_some(), html! {
                        @match until { Some(until) => (self.time(until)), None => span.quiet { "–" } }
                    }))
                }
            }
        };
        html! {
            section aria-labelledby="tokens" {
                h2 #tokens { (t.tokens()) }
                (table("tokens", &[t.course(), t.source(), t.requests_left(), t.paused_until()], rows))
            }
        }
    }

    fn ago(&self, ms: i64) -> Markup {
        html! { time datetime=(rfc3339(ms)) title=(self.t.time(ms)) { (self.t.ago(self.status.at, ms)) } }
    }

    fn time(&self, ms: i64) -> Markup {
        html! { time datetime=(rfc3339(ms)) { (self.t.time(ms)) } }
    }
}

fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::credentials;
    use shared::facts::NotificationFailed;

    use super::super::observations::{Observations, Queues};
    use super::*;
    use crate::problem::Problem;

    fn written(observed: Observations, language: Language, filter: &str) -> String {
        let file = br#"{"<b>amep": {"teams": ["A2", "A10"]}}"#;
        let status = Status::of(observed, &credentials::parse(Path::new("f.json"), file).unwrap(), 1_795_455_723_511);
        page(&status, language, &Filter::new(filter))
    }

    #[test]
    fn nothing_that_others_wrote_is_taken_for_markup() {
        let failed = Some(NotificationFailed { at: 1, error: r#"<script>alert("x")</script>"#.into() });
        let observed = Observations {
            refused_by_eval: failed,
            queues: Queues { notifications: 1, ..Queues::default() },
            problems: vec![Problem::mongo("MongoDB & <i>")],
            ..Observations::default()
        };
        let page = written(observed, Language::En, r#"a"><script>"#);
        assert!(!page.contains("<script") && !page.contains("<i>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("MongoDB &amp; &lt;i&gt;"), "{page}");
    }

    #[test]
    fn the_page_speaks_the_language_that_was_asked_for() {
        for language in Language::ALL {
            let page = written(Observations::default(), language, "");
            assert!(page.contains(&format!("<html lang=\"{}\">", language.code())), "{page}");
            assert!(page.contains(&Texts::of(language).teams()), "{page}");
        }
    }

    #[test]
    fn a_filter_leaves_out_other_rows_and_is_kept_by_every_link() {
        let page = written(Observations::default(), Language::En, " a10");
        assert!(page.contains(">A10<") && !page.contains(">A2<"), "{page}");
        assert_eq!(page.matches("&amp;q=a10").count(), 1 + Language::ALL.len());
        assert!(written(Observations::default(), Language::En, "sheets").contains(">A2<"), "the source's name, too");
    }
}
