//! JSON that our reader refuses, but that a sender's program writes.

use std::fmt::Write as _;

/// Replaces lone surrogate escapes (`\ud800`) by `\ufffd`, and numbers beyond a double by the largest
/// one. Everything else is copied; what is broken otherwise stays broken.
pub(super) fn repair(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(&byte) = rest.first() {
        let token = match byte {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => number_length(rest),
            _ => 1,
        };
        let (token, after) = rest.split_at(token);
        match byte {
            b'"' => repair_string(token, &mut out),
            b'-' | b'0'..=b'9' => repair_number(token, &mut out),
            _ => out.extend_from_slice(token),
        }
        rest = after;
    }
    out
}

/// Length of the string at the start, with its quotes; the whole rest when it does not end.
fn string_length(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        if json.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// Length of the number at the start.
fn number_length(json: &[u8]) -> usize {
    let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    json.iter().position(|byte| !in_number(byte)).unwrap_or(json.len())
}

fn repair_string(token: &[u8], out: &mut Vec<u8>) {
    let mut rest = token;
    while let Some(found) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(found);
        out.extend_from_slice(plain);
        let (keep, length) = match (surrogate(escape), escape.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (true, 12),
            (Some(_), _) => (false, 6),
            (None, _) => (true, escape.len().min(2)),
        };
        let (escape, after) = escape.split_at(length);
        out.extend_from_slice(if keep { escape } else { br"\ufffd" });
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// The surrogate that an escape at the start stands for.
fn surrogate(escape: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(escape.strip_prefix(br"\u")?.get(..4)?).ok()?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&unit).then_some(unit)
}

fn repair_number(token: &[u8], out: &mut Vec<u8>) {
    let value = std::str::from_utf8(token).ok().and_then(|text| text.parse::<f64>().ok());
    match value {
        Some(value) if value.is_infinite() => {
            let mut text = String::new();
            // Writing to a String cannot fail.
            let _ = write!(text, "{:e}", f64::MAX.copysign(value));
            out.extend_from_slice(text.as_bytes());
        }
        _ => out.extend_from_slice(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(json: &str) -> String {
        String::from_utf8(repair(json.as_bytes())).unwrap()
    }

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, expected) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\uDC00x""#, r#""\ufffdx""#),
            (r#""\ud83d\udc19""#, r#""\ud83d\udc19""#),
            (r#""\ud83d\ud83d\udc19""#, r#""\ufffd\ud83d\udc19""#),
            (r#""\udc19\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\\\ud800\"\n\u00e9""#, r#""\\\ufffd\"\n\u00e9""#),
            (r#"{"\ud800":"é\ud800"}"#, r#"{"\ufffd":"é\ufffd"}"#),
        ] {
            assert_eq!(repaired(json), expected);
        }
    }

    #[test]
    fn only_numbers_beyond_a_double_are_replaced() {
        let max = "1.7976931348623157e308";
        assert_eq!(repaired("[1e309,-1e999999999999,1e308]"), format!("[{max},-{max},1e308]"));
        assert_eq!(repaired(&"7".repeat(400)), max);
        assert_eq!(repaired(&"7".repeat(300)), "7".repeat(300));
        assert_eq!(repaired(r#"{"a":"1e999","b":-0.5e-9}"#), r#"{"a":"1e999","b":-0.5e-9}"#);
    }

    #[test]
    fn what_is_broken_otherwise_stays_as_it_is() {
        for json in ["", "\"", "\"\\", "\"\\u", "\"\\ud8", r#""\uzzzz""#, "1e999e9", "-", "nul", r#"{"a":"#] {
            assert_eq!(repaired(json), json);
        }
    }
}
