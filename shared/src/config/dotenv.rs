//! The `.env` file: `NAME=value` lines. A value is literal: `$` and `\` are characters like others.
//!
//! ```text
//! # A comment.
//! NATS_URL=nats://localhost:4222      # after a space, a comment
//! GITHUB_SECRET=ab$cd9
//! TAIGA_PASSWORD='with spaces, # and "'
//! export EXCEL_SECRET="with \" and '"
//! ```
//!
//! Between single quotes everything is literal. Between double quotes `\"` is a quote and `\\` a backslash. Either may
//! span lines. A crate would be shorter, but those on offer put variables in for `$…`, and name the value of a broken
//! line, which may be a secret.

use std::collections::HashMap;

/// Why a `.env` file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// It is there and cannot be read.
    #[error(".env cannot be read: {0}; make it readable for this user, or remove it")]
    Unreadable(std::io::Error),
    /// It is not UTF-8.
    #[error(".env is not UTF-8: save it as UTF-8")]
    NotUtf8,
    /// A line is no setting. Its text is not repeated, because it may be a secret.
    #[error(
        ".env: setting {number} (line {line}) cannot be read; write NAME=value, and a value with spaces between single quotes"
    )]
    Setting {
        /// Which setting, from 1.
        number: usize,
        /// Where it begins, from 1.
        line: usize,
    },
}

/// Reads the `.env` of the working folder; an absent one sets nothing.
pub(super) fn read() -> Result<HashMap<String, String>, DotenvError> {
    match std::fs::read(".env") {
        Ok(bytes) => parse(std::str::from_utf8(&bytes).map_err(|_| DotenvError::NotUtf8)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(DotenvError::Unreadable(error)),
    }
}

/// Reads the text of a `.env` file. Of a name that is there twice the last counts.
pub(super) fn parse(text: &str) -> Result<HashMap<String, String>, DotenvError> {
    let mut settings = HashMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start();
    let mut number = 0;
    while !rest.is_empty() {
        if rest.starts_with('#') {
            rest = after_line(rest).trim_start();
            continue;
        }
        number += 1;
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let (name, value, after) = setting(rest).ok_or(DotenvError::Setting { number, line })?;
        settings.insert(name.to_owned(), value);
        rest = after.trim_start();
    }
    Ok(settings)
}

/// The name and value at the beginning of a text, and what comes after them.
fn setting(text: &str) -> Option<(&str, String, &str)> {
    let text = text.strip_prefix("export ").unwrap_or(text);
    let (name, rest) = text.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.') {
        return None;
    }
    let unspaced = rest.trim_start_matches([' ', '\t']);
    let spaces = unspaced.len() < rest.len();
    let rest = unspaced;
    let (value, after) = match rest.chars().next() {
        Some('\'') => rest[1..].split_once('\'').map(|(value, after)| (value.to_owned(), after))?,
        Some('"') => double_quoted(&rest[1..])?,
        Some('#') if spaces => return Some((name, String::new(), after_line(rest))),
        _ => {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let (line, _) = after.split_once('\n').unwrap_or((after, ""));
    let is_comment = line.trim_start().starts_with('#') && line.starts_with(char::is_whitespace);
    (line.trim().is_empty() || is_comment).then(|| (name, value, after_line(after)))
}

/// The value up to the closing quote, and what comes after it.
fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    None
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_literal_and_quotes_hold_spaces() {
        for (line, expected) in [
            ("X=ab$cd9", "ab$cd9"),
            ("X=$HOME/${Y}", "$HOME/${Y}"),
            (r"X=a\nb\$", r"a\nb\$"),
            ("X=a#b", "a#b"),
            ("X=a=b", "a=b"),
            (r#"X=a"b'c"#, r#"a"b'c"#),
            ("X=v # a comment", "v"),
            ("X=v\t# a comment", "v"),
            ("X=", ""),
            ("X= # a comment", ""),
            ("export X=v", "v"),
            ("  X = v  ", "v"),
            ("X=v\r", "v"),
            ("X='a b $c # \" \\'", "a b $c # \" \\"),
            ("X='v' # a comment", "v"),
            (r#"X="a b $c \" \\ \n '""#, r#"a b $c " \ \n '"#),
            ("X='two\nlines'", "two\nlines"),
            ("X=ü€", "ü€"),
        ] {
            let text = format!("\u{feff}# first\n\nA=1\n{line}\nZ=26\n");
            let settings = parse(&text).unwrap();
            let [a, x, z] = ["A", "X", "Z"].map(|name| settings[name].as_str());
            assert_eq!((a, x, z), ("1", expected, "26"), "{line}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_counted_and_not_quoted() {
        for line in [
            "X=s3cret and more",
            "X='s3cret",
            "X=\"s3cret",
            "s3cret",
            "X=s3cret=s3cret s3cret",
            "X='s3cret'x",
            "s3 cret=x",
        ] {
            let error = parse(&format!("A=1\n# a comment\nB='2\n3'\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with(".env: setting 3 (line 5) cannot be read"), "{line}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
