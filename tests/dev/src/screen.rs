//! What a person sees: steps, tables, a little colour where there is a terminal.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Instant;

use bson::{Bson, Document};
use harness::eval::Notification;

/// Longer values are cut: the table is to be read, the database has the rest.
const WIDTH: usize = 96;

/// Where and how to print.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    look: Arc<Look>,
}

#[derive(Debug)]
struct Look {
    on_stderr: bool,
    colour: bool,
}

/// The few styles used.
#[derive(Debug, Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

impl Screen {
    /// Prints on standard output, or on standard error when the former is for a script.
    pub(crate) fn new(on_stderr: bool) -> Self {
        let terminal = if on_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { look: Arc::new(Look { on_stderr, colour }) }
    }

    /// A line without style.
    pub(crate) fn line(&self, text: impl Display) {
        if self.look.on_stderr { eprintln!("{text}") } else { println!("{text}") }
    }

    /// A heading, with space above it.
    pub(crate) fn heading(&self, text: &str) {
        self.line("");
        self.line(self.paint(Style::Bold, text));
    }

    /// A remark.
    pub(crate) fn note(&self, text: &str) {
        self.line(self.paint(Style::Dim, text));
    }

    /// A step that is done, with the time it took.
    pub(crate) fn done(&self, what: &str, where_: impl Display, since: Instant) {
        let took = self.paint(Style::Dim, &format!("{:.1} s", since.elapsed().as_secs_f32()));
        self.line(format_args!("  {} {what:<12} {:<44} {took}", self.paint(Style::Green, "✓"), where_.to_string()));
    }

    /// Why it did not work.
    pub(crate) fn failure(&self, error: &anyhow::Error) {
        eprintln!("{} {error:#}", self.paint(Style::Red, "✗"));
    }

    /// A delivery and its answer.
    pub(crate) fn answer(&self, what: &str, status: u16, body: &impl Display) {
        self.line("");
        let style = if status == 200 { Style::Green } else { Style::Red };
        let status = self.paint(style, &status.to_string());
        self.line(format_args!("{} → {status} {}", self.paint(Style::Bold, what), self.paint(Style::Dim, &cut(body))));
    }

    /// A document: one field a line, the empty ones together at the end.
    pub(crate) fn document(&self, collection: &str, document: &Document) {
        self.line(format_args!("  {}", self.paint(Style::Cyan, collection)));
        let (empty, full): (Vec<_>, Vec<_>) =
            document.iter().filter(|(name, _)| !name.starts_with('_')).partition(|(_, value)| is_empty(value));
        let width = full.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in full {
            let padding = " ".repeat(width - name.chars().count());
            self.line(format_args!("    {}{padding}  {}", self.paint(Style::Dim, name), cut(&plain(value))));
        }
        if !empty.is_empty() {
            let names = empty.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            self.line(format_args!("    {}", self.paint(Style::Dim, &format!("null or empty: {names}"))));
        }
    }

    /// A notification to LD Eval.
    pub(crate) fn notified(&self, notified: &Notification) {
        let model = notified.body.get("quality_model").and_then(|model| model.as_str()).unwrap_or("no quality model");
        let who = if notified.text("author_login").is_empty() { "no author" } else { notified.text("author_login") };
        let what = format!("{} · {} · {who} · {model}", notified.text("event_type"), notified.text("prj"));
        self.line(format_args!("  {} {what}", self.paint(Style::Cyan, "LD Eval was notified")));
    }

    fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Red => 31,
            Style::Green => 32,
            Style::Cyan => 36,
        };
        if self.look.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn is_empty(value: &Bson) -> bool {
    match value {
        Bson::Null => true,
        Bson::String(text) => text.is_empty(),
        Bson::Document(fields) => fields.is_empty(),
        Bson::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A value as people write it; objects and lists as JSON.
fn plain(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cut(text: &impl Display) -> String {
    let text = text.to_string().replace('\n', "⏎");
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
