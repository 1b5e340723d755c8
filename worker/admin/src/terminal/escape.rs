//! Makes text from outside safe to print: a terminal acts on control characters, and people misread reordered text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal acts on this character instead of showing it, or shows the text around it in another order.
fn is_unsafe(c: char) -> bool {
    c.is_control()                                                  // C0, DEL and C1, among them U+009B (CSI)
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}')         // invisible, and marks of direction
        || matches!(c, '\u{2028}'..='\u{202e}')                     // line and paragraph separators, bidi overrides
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')        // bidi isolates, invisible operators
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}') // annotations, invisible tags
}

/// One line: also a line break in it is shown, because it could forge a second line.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe, |c, out| out.extend(c.escape_default()))
}

/// Several lines: line breaks and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_unsafe(c) && !matches!(c, '\n' | '\t'), |c, out| out.extend(c.escape_default()))
}

/// JSON that means the same. JSON itself escapes C0 only.
pub fn json(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escape(text: &str, bad: impl Fn(char) -> bool, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if bad(c) { write(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the window's title, clears the screen by CSI and by its C1 form, and reverses what follows.
    const HOSTILE: &str = "o\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}r\u{e0041}\r\nok: all is well";

    #[test]
    fn a_line_from_outside_shows_its_controls_and_stays_one_line() {
        let shown = line(HOSTILE);
        assert_eq!(shown, "o\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{9b}2J\\u{202e}r\\u{e0041}\\r\\nok: all is well");
        assert_eq!(line("Reunió d'equip · 日本 👩‍💻").chars().filter(|c| *c == '日').count(), 1);
        assert_eq!(block("a\n\tb\u{1b}"), "a\n\tb\\u{1b}");
    }

    #[test]
    fn escaped_json_reads_as_the_same_value() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "\u{7f}\u{2066}"] });
        let text = value.to_string();
        let safe = json(&text);
        assert!(!safe.chars().any(is_unsafe), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
