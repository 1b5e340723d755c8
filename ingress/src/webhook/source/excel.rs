//! Google Sheets: one HMAC; every body is an activity, and its hash is the identity.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use shared::hash::sha256_hex;

use crate::webhook::inspect::{Inspected, check_object, text};
use crate::webhook::refusal::Refusal;
use crate::webhook::signature::{Claim, digest, single};

const SIGNATURE_SHA256: HeaderName = HeaderName::from_static("x-sheets-signature");

/// The only kind of event that a sheet sends.
const EVENT: &str = "sheets_activity";

/// How deep a sheet may be nested. A row has three levels.
const MAX_DEPTH: usize = 32;

/// How many values a sheet may have: objects, lists and what is in them. A row has some fifty.
const MAX_VALUES: usize = 20_000;

pub(super) fn claim(headers: &HeaderMap) -> Option<Claim> {
    let sha256 = single(headers, &SIGNATURE_SHA256)?.strip_prefix(b"sha256=")?;
    Some(Claim::Signed { sha1: None, sha256: Some(digest(sha256)?) })
}

/// Apps Script declares a form by default and sends JSON, so the declared content type does not count.
pub(super) fn inspect(body: Bytes) -> Result<Inspected, Refusal> {
    let text = text(&body)?;
    check_object(text)?;
    check_size(text)?;
    Ok(Inspected::Event { event: EVENT, delivery: sha256_hex(&body), payload: body })
}

/// Checks depth and number of values. They cost memory where they are stored, and sheets may be unsigned.
fn check_size(json: &str) -> Result<(), Refusal> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_text, mut escaped, mut opened) = (false, false, false);
    for byte in json.bytes() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        // A list that does not end at once has a first value, and each comma begins another one.
        values += usize::from(opened && !matches!(byte, b']' | b'}')) + usize::from(byte == b',');
        opened = matches!(byte, b'[' | b'{');
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Refusal::Json("The sheet is nested deeper than 32 levels"));
        }
        if values > MAX_VALUES {
            return Err(Refusal::Json("The sheet has more than 20,000 values"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object with one field, with this many values altogether.
    fn of_values(values: usize) -> String {
        format!(r#"{{"a": [{}]}}"#, vec![r#"",[{\"""#; values - 2].join(" , "))
    }

    #[test]
    fn a_sheet_has_32_levels_and_20_000_values_at_most() {
        let nested = |depth: usize| format!(r#"{{"a": {}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        let check = |json: &str| {
            serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap();
            check_size(json)
        };
        assert_eq!(check("{ }"), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(Refusal::Json("The sheet is nested deeper than 32 levels")));
        assert_eq!(check(&of_values(MAX_VALUES)), Ok(()));
        assert_eq!(check(&of_values(MAX_VALUES + 1)), Err(Refusal::Json("The sheet has more than 20,000 values")));
        let empty = format!("{{\"a\":[{}]}}", vec!["[ ]"; MAX_VALUES - 2].join(","));
        assert_eq!(check(&empty), Ok(()));
        assert!(check(&empty.replacen("[ ]", "[],{}", 1)).is_err());
    }
}
