//! What every page of the admin address has around what it says: its head, its title and its languages.

use axum::http::{HeaderName, header};
use maud::{DOCTYPE, Markup, html};

use super::i18n::{Language, Texts};
use crate::html::head;

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded from anywhere, nothing may frame it, and its form leads to itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A page.
pub struct Frame<'f> {
    pub language: Language,
    /// Before the title in the browser's list.
    pub mark: &'f str,
    pub title: String,
    /// Under the title.
    pub meta: Markup,
    /// What follows `?lang=` in the address of the same page, each as `(name, value)`.
    pub query: Vec<(&'f str, &'f str)>,
    pub main: Markup,
    pub footer: Markup,
}

impl Frame<'_> {
    /// The address of the same page in a language.
    pub fn link(&self, language: Language) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("lang", language.code());
        self.query.iter().for_each(|(name, value)| {
            query.append_pair(name, value);
        });
        format!("?{}", query.finish())
    }

    pub fn document(&self) -> Markup {
        let (t, code) = (Texts::of(self.language), self.language.code());
        html! {
            (DOCTYPE)
            html lang=(code) {
                (head(&format!("{} {}", self.mark, self.title), STYLE, &Markup::default()))
                body {
                    header {
                        h1 { (self.title) }
                        p.meta { (self.meta) }
                        nav aria-label=(t.language()) {
                            @for other in Language::ALL {
                                @let current = (other == self.language).then_some("true");
                                a href=(self.link(other)) lang=(other.code()) hreflang=(other.code())
                                    aria-current=[current] { (other.name()) }
                                " "
                            }
                        }
                    }
                    main { (self.main) }
                    footer { (self.footer) }
                }
            }
        }
    }
}

/// The headers of a page. With a policy of no referrer, browsers send `Origin: null` with a form.
pub fn headers(language: Language) -> [(HeaderName, &'static str); 7] {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, language.code()),
        (header::VARY, "accept-language"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ]
}

pub fn table(labelled_by: &str, columns: &[String], rows: Markup) -> Markup {
    html! {
        table role="table" aria-labelledby=(labelled_by) {
            thead role="rowgroup" {
                tr role="row" { @for name in columns { th scope="col" role="columnheader" { (name) } } }
            }
            tbody role="rowgroup" { (rows) }
        }
    }
}

/// A cell that says nothing is left out on a narrow screen.
pub fn cell(name: String, says: bool, value: Markup) -> Markup {
    html! { td role="cell" data-name=(name) .nil[!says] { span { (value) } } }
}
