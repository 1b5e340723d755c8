//! The page: one document that loads nothing. `maud` escapes whatever is filled in.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::credentials::Viewer;
use shared::ids::QualityModel;
use shared::secret::Secret;
use shared::source::{PerSource, Source};
use shared::time::rfc3339;

use super::say;
use super::team::{Became, Refused, Shown, SourceSeen, Team};
use crate::html::head;
use crate::status::i18n::{Language, Texts};

pub const STYLE: &str = include_str!("style.css");

pub const SCRIPT: &str = include_str!("live.js");

/// How often a browser without scripts reloads the page, in seconds.
const RELOAD: u32 = 30;

/// The page of a team, for one viewer.
pub struct Page<'p> {
    pub team: &'p Team,
    pub language: Language,
    pub viewer: Viewer,
    pub public_url: Option<&'p str>,
    pub model: Option<&'p QualityModel>,
    /// The team's own secrets, where they may be shown.
    pub secrets: PerSource<Option<Secret>>,
    /// Where the same is as JSON.
    pub json: &'p str,
}

impl Page<'_> {
    fn t(&self) -> &'static Texts {
        Texts::of(self.language)
    }

    pub fn document(&self) -> String {
        let (t, code) = (self.t(), self.language.code());
        let title = t.page_title(self.team.prj.as_str());
        let page = html! {
            (DOCTYPE)
            html lang=(code) {
                (head(&title, STYLE, &html! { noscript { meta http-equiv="refresh" content=(RELOAD); } }))
                body {
                    header {
                        h1 { (title) }
                        nav aria-label=(t.language()) {
                            @for other in Language::ALL {
                                @let current = (other == self.language).then_some("true");
                                a href={ "?lang=" (other.code()) } lang=(other.code()) hreflang=(other.code())
                                    aria-current=[current] { (other.name()) }
                            }
                        }
                        p { (t.page_lead()) }
                    }
                    main {
                        @if self.viewer == Viewer::Teacher { p.teacher { (t.page_teacher()) } }
                        @if !self.team.is_known { p.blind { (t.page_blind()) } }
                        p #sentence { (self.sentence()) }
                        div.sources { @for seen in &self.team.sources { (self.source(seen)) } }
                        (self.deliveries())
                    }
                    p #live role="status" {}
                    footer {
                        p { (t.page_updates()) }
                        p { (t.page_private()) " " a href=(self.json) { (t.json()) } }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    /// Which sources are connected.
    fn sentence(&self) -> String {
        let t = self.t();
        let titles = |connected| {
            let of = self.team.sources.iter().filter(|seen| seen.connected == Some(connected));
            of.map(|seen| seen.source.description().title).collect::<Vec<_>>().join(", ")
        };
        match (titles(true), titles(false)) {
            (yes, no) if yes.is_empty() && no.is_empty() => String::new(),
            (_, no) if no.is_empty() => t.page_all(),
            (yes, _) if yes.is_empty() => t.page_no_source(),
            (yes, no) => t.page_some(yes, no),
        }
    }

    fn source(&self, seen: &SourceSeen) -> Markup {
        let (t, source) = (self.t(), seen.source);
        let (class, mark, answer) = match seen.connected {
            Some(true) => ("yes", "✓", t.page_yes()),
            Some(false) => ("no", "✕", t.page_no()),
            None => ("unknown", "?", t.page_unknown()),
        };
        let heading = format!("{source}-name");
        html! {
            section.source.(class) aria-labelledby=(heading) {
                h2 id=(heading) {
                    span { (source.description().title) }
                    span.answer { span.mark aria-hidden="true" { (mark) } (answer) }
                }
                @match (seen.last_accepted, seen.last_test) {
                    (Some(at), _) => p { (self.with_ago(at, |ago| t.page_came(ago))) },
                    (None, Some(at)) => {
                        p { (self.with_ago(at, |ago| t.page_tested(ago))) }
                        p.do { (say::go_on(t, source)) }
                    }
                    (None, None) if seen.connected.is_some() => {
                        p { (t.page_nothing()) }
                        p.do { (say::connect(t, source)) }
                    }
                    (None, None) => {}
                }
                @if let Some(stored) = &seen.last_stored {
                    p.quiet { (self.with_ago(stored.at, |ago| t.page_stored(say::documents(t, &stored.documents), ago))) }
                }
                @for refused in &seen.refused { (self.refused(source, refused)) }
                (self.paste(seen))
            }
        }
    }

    fn refused(&self, source: Source, refused: &Refused) -> Markup {
        let t = self.t();
        let reason = t.reason(&refused.reason);
        if !refused.is_open {
            return html! { p.quiet { (self.with_ago(refused.at, |ago| t.page_refused_before(ago, reason))) } };
        }
        let what = self.with_ago(refused.at, |ago| match refused.times {
            0 | 1 => t.page_refused(ago, reason),
            times => t.page_refused_times(times, ago, reason),
        });
        html! {
            p.refused {
                (what)
                @if !refused.is_verified { " " span.quiet { (t.page_unverified()) } }
                strong { (say::fix(t, source, &refused.reason)) }
            }
        }
    }

    /// What to paste where, of one source. Folded up once it is connected.
    fn paste(&self, seen: &SourceSeen) -> Markup {
        let (t, source) = (self.t(), seen.source);
        let id = |name: &str| format!("{source}-{name}");
        let line = |name: String, value: Markup| html! { div { dt { (name) } dd { (value) } } };
        let address = self.public_url.unwrap_or("…");
        html! {
            details id=(id("paste")) open[seen.connected == Some(false)] {
                summary id=(id("summary")) { (t.page_paste()) }
                @if self.public_url.is_none() { p { (t.page_address_missing()) } }
                dl {
                    @match source {
                        Source::Github => {
                            (line(t.page_url(), self.copied(&id("url"), &seen.payload_url)))
                            (line(t.page_content_type(), html! { code { "application/json" } }))
                            (line(t.page_secret(), self.secret(source)))
                        }
                        Source::Taiga => {
                            (line(t.page_name(), html! { code { "LD Connect" } }))
                            (line(t.page_url_taiga(), self.copied(&id("url"), &seen.payload_url)))
                            (line(t.page_secret_taiga(), self.secret(source)))
                        }
                        Source::Excel => {
                            (line(t.page_address(), self.copied(&id("url"), address)))
                            (line("prj".to_owned(), self.copied(&id("prj"), self.team.prj.as_str())))
                            @if let Some(model) = self.model {
                                (line(t.page_model(), self.copied(&id("model"), model.as_str())))
                            }
                            (line(t.page_secret(), self.secret(source)))
                        }
                    }
                }
            }
        }
    }

    /// A value with a button that copies it; the script shows the button where it works.
    fn copied(&self, id: &str, value: &str) -> Markup {
        let t = self.t();
        html! {
            code id=(id) { (value) }
            button.copy type="button" id={ (id) "-copy" } hidden data-of=(id) data-name=(t.page_copy())
                data-done=(t.page_copied()) { (t.page_copy()) }
        }
    }

    fn secret(&self, source: Source) -> Markup {
        let t = self.t();
        match (self.secrets.of(source), self.viewer, source) {
            // Folded up, because somebody may look over a teacher's shoulder.
            (Some(secret), ..) => html! {
                details id={ (source) "-secret-fold" } {
                    summary id={ (source) "-secret-summary" } { (t.page_secret_show()) }
                    (self.copied(&format!("{source}-secret"), secret.expose()))
                }
            },
            (None, Viewer::Team, Source::Excel) => html! { (t.page_secret_sheet()) },
            (None, Viewer::Team, _) => html! { (t.page_secret_teacher()) },
            (None, Viewer::Teacher, _) => html! { (t.page_secret_operator()) },
        }
    }

    fn deliveries(&self) -> Markup {
        let t = self.t();
        html! {
            section.deliveries aria-labelledby="deliveries" {
                h2 #deliveries { (t.page_deliveries()) }
                @if self.team.deliveries.is_empty() {
                    p { (t.page_no_delivery()) }
                } @else {
                    // Where each row is a card, the roles say again that it is a table.
                    table role="table" aria-labelledby="deliveries" {
                        thead role="rowgroup" {
                            tr role="row" {
                                @for name in [t.page_when(), t.source(), t.page_what(), t.page_became()] {
                                    th scope="col" role="columnheader" { (name) }
                                }
                            }
                        }
                        tbody role="rowgroup" { @for shown in &self.team.deliveries { (self.delivery(shown)) } }
                    }
                }
            }
        }
    }

    fn delivery(&self, shown: &Shown) -> Markup {
        let t = self.t();
        let class = match shown.became {
            Became::Dead(_) => "dead",
            Became::Waiting | Became::Processing => "waits",
            Became::Stored(_) | Became::Nothing => "",
        };
        let documents = shown.documents.as_deref().map(|of| say::documents(t, of)).filter(|text| !text.is_empty());
        let what = documents.unwrap_or_else(|| say::event(t, &shown.event));
        html! {
            tr role="row" {
                th scope="row" role="rowheader" { (self.ago(shown.at)) }
                td.from role="cell" { (shown.source.description().title) }
                td.what role="cell" { (what) }
                td.(class) role="cell" { (say::became(t, &shown.became)) }
            }
        }
    }

    fn ago(&self, ms: i64) -> Markup {
        html! { time datetime=(rfc3339(ms)) title=(self.t().time(ms)) { (self.t().ago(self.team.at, ms)) } }
    }

    /// A sentence with a time in it: the script brings what is in `time` up to date.
    fn with_ago(&self, ms: i64, sentence: impl FnOnce(String) -> String) -> Markup {
        const MARK: &str = "\u{1}";
        let sentence = sentence(MARK.to_owned());
        let (before, after) = sentence.split_once(MARK).unwrap_or((&sentence, ""));
        html! { (before) (self.ago(ms)) (after) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::team::IsNotified;
    use super::*;
    use crate::deliveries::Document;

    fn team() -> Team {
        let prj: shared::ids::Project = "A1".parse().unwrap();
        let refused = |is_verified| Refused {
            at: 50_000,
            reason: "signature".into(),
            times: 3,
            since: 1,
            is_verified,
            is_open: true,
            delivery: None,
        };
        let source = |source: Source, connected| SourceSeen {
            connected,
            refused: vec![refused(false)],
            ..SourceSeen::unknown(source, source.payload_url("https://ld.example.edu", &prj, None))
        };
        let name = Some("<script>".to_owned());
        let documents = vec![Document { kind: "tasks", count: 1, name, is_removed: true }];
        let delivery = Shown {
            at: 1_000,
            source: Source::Taiga,
            event: "<b>task".into(),
            delivery: "d".into(),
            became: Became::Stored(IsNotified::Yes),
            documents: Some(documents),
        };
        let sources =
            vec![source(Source::Github, Some(true)), source(Source::Taiga, Some(false)), source(Source::Excel, None)];
        Team { at: 60_000, is_known: true, sources, deliveries: vec![delivery], prj }
    }

    fn written(language: Language, viewer: Viewer, secrets: PerSource<Option<Secret>>) -> String {
        let public_url = Some("https://ld.example.edu");
        Page { team: &team(), language, viewer, public_url, model: None, secrets, json: "k.json" }.document()
    }

    #[test]
    fn each_source_has_its_answer_its_advice_and_its_address() {
        let page = written(Language::En, Viewer::Team, PerSource::default());
        for text in [
            "GitHub: connected. Taiga: not yet.",
            "https://ld.example.edu/webhook/taiga?prj=A1",
            "Refused 3 times, the last <time",
            "Copy the secret again into the field “Service secret key”",
            "Your teacher has it.",
            "press the arrow that tests it.",
        ] {
            assert!(page.contains(text), "{text} is not in {page}");
        }
    }

    #[test]
    fn nothing_that_others_wrote_is_taken_for_markup() {
        let page = written(Language::Ca, Viewer::Team, PerSource::default());
        assert!(
            !page.contains("tasca <script>") && !page.contains("<b>task") && page.contains("&lt;script&gt;"),
            "{page}"
        );
    }

    #[test]
    fn a_secret_is_in_the_page_only_where_it_is_given() {
        let mut secrets = PerSource::default();
        *secrets.of_mut(Source::Github) = Some("the-secret".parse().unwrap());
        let teacher = written(Language::Es, Viewer::Teacher, secrets);
        assert_eq!(teacher.matches("the-secret").count(), 1);
        assert!(teacher.contains("Lo tiene quien lleva LD Connect."), "the others are not its own");
    }

    #[test]
    fn the_script_and_the_style_end_nowhere_inside() {
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
    }
}
