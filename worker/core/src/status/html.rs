//! The page: one document without scripts, pictures and styles of its own.
//!
//! On a narrow screen each row of a table becomes a card, whose lines take their names from `data-name`. Because
//! that takes the table's meaning away in some browsers, roles say it again.

use shared::source::Source;

use super::activity::{HOUR, HOURS};
use super::language::Language;
use super::model::{Finding, Level, Row, Status};
use super::texts::{self, Labels};

/// How many rows the page shows; the JSON has all.
const ROWS_MOST: usize = 600;

const STYLE: &str = include_str!("style.css");

/// Writes the page.
#[must_use]
pub fn page(status: &Status, language: Language) -> String {
    let page = Page { status, language, labels: language.labels() };
    page.write()
}

struct Page<'s> {
    status: &'s Status,
    language: Language,
    labels: &'static Labels,
}

impl Page<'_> {
    fn write(&self) -> String {
        let Labels { title, as_of, again, language, .. } = self.labels;
        let code = self.language.code();
        let (mark, class) = match self.status.level {
            Level::Well => ("✓", "well"),
            Level::Look => ("!", "look"),
            Level::Broken => ("✕", "broken"),
        };
        let others = Language::ALL.map(|other| {
            let current = if other == self.language { r#" aria-current="true""# } else { "" };
            let (code, name) = (other.code(), other.name());
            format!(r#"<a href="?lang={code}" lang="{code}" hreflang="{code}"{current}>{name}</a>"#)
        });
        format!(
            r#"<!doctype html>
<html lang="{code}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{mark} {title}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="meta">{as_of} {time} · <a href="?lang={code}">{again}</a></p>
<nav aria-label="{language}">{others}</nav>
</header>
<main>
<p class="sentence {class}" id="sentence"><span class="mark" aria-hidden="true">{mark}</span><span>{sentence}</span></p>
{findings}{queues}{teams}{tokens}</main>
<footer><a href="/status.json">{json}</a></footer>
</body>
</html>
"#,
            time = self.time(self.status.at),
            others = others.join(" "),
            sentence = self.sentence(),
            findings = self.findings(),
            queues = self.queues(),
            teams = self.teams(),
            tokens = self.tokens(),
            json = self.labels.json,
        )
    }

    /// Whether all is well and, when not, what to do.
    fn sentence(&self) -> String {
        let troubles: Vec<_> = self.status.findings.iter().filter(|found| found.level() > Level::Well).collect();
        let Some(first) = troubles.first() else { return self.labels.well.to_owned() };
        let (what, todo) = texts::finding(self.language, self.status.at, first);
        let more = match troubles.len() - 1 {
            0 => String::new(),
            count => format!(" {}", texts::more(self.language, count)),
        };
        format!("{} <strong>{}</strong>{more}", escape(&what), escape(&todo))
    }

    fn findings(&self) -> String {
        let (noticed, to_do): (Vec<_>, Vec<_>) =
            self.status.findings.iter().partition(|found| found.level() == Level::Well);
        let list = |id: &str, heading: &str, findings: &[&Finding]| {
            let item = |found: &&Finding| {
                let (what, todo) = texts::finding(self.language, self.status.at, found);
                format!("<li>{} <strong>{}</strong></li>\n", escape(&what), escape(&todo))
            };
            let items: String = findings.iter().map(item).collect();
            format!(
                "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n<ul>\n{items}</ul>\n</section>\n"
            )
        };
        let mut text = String::new();
        // The first is the sentence at the top.
        if let [_, more @ ..] = to_do.as_slice()
            && !more.is_empty()
        {
            text += &list("to-do", self.labels.to_do, more);
        }
        if !noticed.is_empty() {
            text += &list("noticed", self.labels.noticed, &noticed);
        }
        text
    }

    fn queues(&self) -> String {
        let Labels { waits, events, notifications, lookups, dead, told, untold, stream, never, .. } = self.labels;
        let status = self.status;
        let since = status.events_waiting_since.map(|since| format!(" ({})", self.ago(since))).unwrap_or_default();
        let letters: u64 = status.dead.values().sum();
        let reasons: Vec<_> = status.dead.iter().map(|(reason, count)| format!("{} {count}", escape(reason))).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let last_told = status.last_told.as_ref().map_or_else(
            || (*never).to_owned(),
            |told| {
                format!(
                    "{} <span class=\"quiet\">{}, {}</span>",
                    self.ago(told.at),
                    escape(&told.prj),
                    escape(&told.event_type)
                )
            },
        );
        let failed = status.last_untold.as_ref().map_or_else(
            || (*never).to_owned(),
            |untold| format!("{} <span class=\"quiet\">{}</span>", self.ago(untold.at), escape(untold.why())),
        );
        let mut size = bytes(status.stream_bytes);
        if let Some(most) = status.stream_max_bytes {
            size = format!("{size} / {}", bytes(most));
        }
        let pair = |name: &str, value: String| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
        let pairs = [
            pair(events, format!("{}{since}", status.events_waiting)),
            pair(notifications, status.notifications_waiting.to_string()),
            pair(lookups, status.lookups_waiting.to_string()),
            pair(dead, format!("{letters}{reasons}")),
            pair(told, last_told),
            pair(untold, failed),
            pair(stream, size),
        ];
        format!(
            "<section aria-labelledby=\"waits\">\n<h2 id=\"waits\">{waits}</h2>\n<dl>\n{}</dl>\n</section>\n",
            pairs.concat()
        )
    }

    fn teams(&self) -> String {
        let Labels { teams, no_teams, team, source, accepted, refused, hours, dead, .. } = self.labels;
        let mut text = format!("<section aria-labelledby=\"teams\">\n<h2 id=\"teams\">{teams}</h2>\n");
        if self.status.rows.is_empty() {
            text += &format!("<p>{no_teams}</p>\n");
        } else {
            let rows: String = self.status.rows.iter().take(ROWS_MOST).map(|row| self.row(row)).collect();
            text += &table("teams", &[team, source, accepted, refused, hours, dead], &rows);
        }
        if self.status.rows.len() > ROWS_MOST {
            text += &format!("<p>{}</p>\n", texts::left_out(self.language, self.status.rows.len() - ROWS_MOST));
        }
        if self.status.events_not_counted > 0 {
            text += &format!("<p>{}</p>\n", texts::behind(self.language, self.status.events_not_counted));
        }
        text + "</section>\n"
    }

    fn row(&self, row: &Row) -> String {
        let Labels { source, accepted, refused, hours, dead, nobody, never, .. } = self.labels;
        let name = row.prj.as_ref().map_or_else(|| format!("<em>{nobody}</em>"), |prj| escape(prj));
        let course = row.course.as_ref().map(|course| format!(" <span class=\"quiet\">{}</span>", escape(course)));
        let last = row.last_accepted.map_or_else(|| quiet(never), |at| self.ago(at));
        let no = row.last_refused.as_ref().map_or_else(
            || quiet(never),
            |refused| {
                let who = match (&row.prj, &refused.prj) {
                    (None, Some(prj)) => format!(" ({})", escape(prj.as_str())),
                    _ => String::new(),
                };
                let over = row.last_accepted.is_some_and(|accepted| accepted >= refused.at);
                let class = if over || row.prj.is_none() { "quiet" } else { "bad" };
                let why = escape(&texts::reason(self.language, &refused.reason));
                format!("{} <span class=\"{class}\">{why}{who}</span>", self.ago(refused.at))
            },
        );
        let letters = if row.dead > 0 { format!("<span class=\"bad\">{}</span>", row.dead) } else { quiet("0") };
        let cells = [
            cell(source, texts::source(row.source), true),
            cell(accepted, &last, true),
            cell(refused, &no, row.last_refused.is_some()),
            cell(hours, &self.picture(&row.hours), row.hours.iter().any(|count| *count > 0)),
            cell(dead, &letters, row.dead > 0),
        ];
        self::row(&format!("{name}{}", course.unwrap_or_default()), &cells)
    }

    /// A bar an hour, and the same in words.
    fn picture(&self, hours: &[u32; HOURS]) -> String {
        let sum: u64 = hours.iter().copied().map(u64::from).sum();
        let (at, most) =
            hours.iter().enumerate().max_by_key(|(_, count)| **count).map_or((0, 0), |(i, count)| (i, *count));
        let first = (self.status.at.div_euclid(HOUR) - HOURS as i64 + 1) * HOUR;
        let words = texts::picture(self.language, sum, most, first + at as i64 * HOUR);
        let mut bars = String::new();
        for (i, count) in hours.iter().enumerate().filter(|(_, count)| **count > 0) {
            // The smallest is to be seen too.
            let height = (f64::from(*count) / f64::from(most) * 22.0).max(2.0);
            bars += &format!(r#"<rect x="{}" y="{:.1}" width="4" height="{height:.1}"/>"#, i * 5, 23.0 - height);
        }
        format!(
            r#"<span class="hours"><svg role="img" viewBox="0 0 119 24" aria-label="{words}"><title>{words}</title>{bars}<path d="M0 23.5H119"/></svg> <span aria-hidden="true">{sum}</span></span>"#
        )
    }

    fn tokens(&self) -> String {
        let Labels { tokens, course, left, rests, source, .. } = self.labels;
        if self.status.tokens.is_empty() {
            return String::new();
        }
        let rows: String = self
            .status
            .tokens
            .iter()
            .map(|token| {
                let from: Option<Source> = token.provider.parse().ok();
                let until = token.stopped_until.filter(|until| *until > self.status.at);
                let count = token.remaining.map_or_else(|| "?".to_owned(), |left| left.to_string());
                let cells = [
                    cell(
                        source,
                        &from.map_or_else(|| escape(&token.provider), |from| texts::source(from).to_owned()),
                        true,
                    ),
                    cell(left, &format!("{count} {}", quiet(&self.ago(token.at))), true),
                    cell(rests, &until.map_or_else(|| quiet("–"), |until| self.time(until)), until.is_some()),
                ];
                row(&escape(&token.label), &cells)
            })
            .collect();
        let table = table("tokens", &[course, source, left, rests], &rows);
        format!("<section aria-labelledby=\"tokens\">\n<h2 id=\"tokens\">{tokens}</h2>\n{table}</section>\n")
    }

    fn ago(&self, ms: i64) -> String {
        let (iso, local) = (shared::time::rfc3339(ms), texts::time(self.language, ms));
        let ago = texts::ago(self.language, self.status.at, ms);
        format!(r#"<time datetime="{iso}" title="{local}">{ago}</time>"#)
    }

    fn time(&self, ms: i64) -> String {
        let (iso, local) = (shared::time::rfc3339(ms), texts::time(self.language, ms));
        format!(r#"<time datetime="{iso}">{local}</time>"#)
    }
}

fn table(labelled_by: &str, columns: &[&str], rows: &str) -> String {
    let heads: String =
        columns.iter().map(|name| format!(r#"<th scope="col" role="columnheader">{name}</th>"#)).collect();
    format!(
        r#"<table role="table" aria-labelledby="{labelled_by}">
<thead role="rowgroup"><tr role="row">{heads}</tr></thead>
<tbody role="rowgroup">
{rows}</tbody>
</table>
"#
    )
}

fn row(head: &str, cells: &[String]) -> String {
    format!("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">{head}</th>{}</tr>\n", cells.concat())
}

/// One that says nothing is left out on a narrow screen.
fn cell(name: &str, value: &str, says: bool) -> String {
    let class = if says { "" } else { r#" class="nil""# };
    format!(r#"<td role="cell" data-name="{name}"{class}><span>{value}</span></td>"#)
}

fn quiet(text: &str) -> String {
    format!("<span class=\"quiet\">{text}</span>")
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

/// Text that may stand between tags and within quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::facts::NotificationFailed;

    use super::super::model::Seen;
    use super::*;

    fn written(seen: Seen, language: Language) -> String {
        let file = br#"{"<b>amep": {"teams": ["A"]}}"#;
        page(
            &Status::of(seen, &shared::credentials::parse(Path::new("f.json"), file).unwrap(), 1_795_455_723_511),
            language,
        )
    }

    #[test]
    fn nothing_that_others_wrote_is_taken_for_markup() {
        let untold = Some(NotificationFailed { at: 1, error: r#"<script>alert("x")</script>"#.into() });
        let seen = Seen {
            untold,
            notifications: 1,
            problems: vec![crate::problem::Problem::mongo("MongoDB & <i>")],
            ..Seen::default()
        };
        let page = written(seen, Language::En);
        assert!(!page.contains("<script") && !page.contains("<i>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("MongoDB &amp; &lt;i&gt;"));
    }

    #[test]
    fn every_language_says_everything_in_its_own_words() {
        let pages = Language::ALL.map(|language| written(Seen::default(), language));
        for (page, language) in pages.iter().zip(Language::ALL) {
            assert!(page.contains(&format!("<html lang=\"{}\">", language.code())));
            assert!(page.contains(language.labels().well), "{page}");
        }
        let words = Language::ALL.map(|language| format!("{:?}", language.labels()));
        let words: Vec<Vec<&str>> = words.iter().map(|text| text.split('"').skip(1).step_by(2).collect()).collect();
        assert_eq!((words[0].len(), words[1].len()), (words[1].len(), words[2].len()));
        // What is the same in two of them was forgotten, except where the languages agree.
        let same = words[1].iter().zip(&words[2]).filter(|(catalan, spanish)| catalan == spanish);
        assert_eq!(same.map(|(word, _)| *word).collect::<Vec<_>>(), ["Idioma"]);
    }
}
