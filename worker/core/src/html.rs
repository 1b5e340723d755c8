//! What the pages of operators and of teams have in common.

use maud::{Markup, PreEscaped, html};

/// The head of a page that loads nothing. `more` comes last in it.
pub(crate) fn head(title: &str, style: &str, more: &Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) }
            link rel="icon" href="data:,";
            style { (PreEscaped(style)) }
            (more)
        }
    }
}
