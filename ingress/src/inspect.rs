//! What is in it: one JSON object in UTF-8, of a kind that somebody stores, with an identity.
//!
//! The body is checked without building a tree: what nobody asks for is skipped, so depth costs no stack and
//! odd contents (NUL and lone surrogate escapes, repeated names, numbers of 10,000 digits) pass through.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use shared::ids::Source;

use crate::error::Refusal;
use crate::form;

/// GitHub events that somebody stores (CONTRACT §2).
const GITHUB_EVENTS: [&str; 3] = ["push", "issues", "pull_request"];

/// Taiga types that somebody stores.
const TAIGA_EVENTS: [&str; 6] = ["issue", "task", "userstory", "relateduserstory", "epic", "milestone"];

/// The only thing a Sheet sends.
const SHEETS_EVENT: &str = "sheets_activity";

const GITHUB_EVENT: HeaderName = HeaderName::from_static("x-github-event");
const GITHUB_DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To be stored.
    Event {
        /// Its kind.
        event: &'static str,
        /// Its identity: the same when it is delivered again.
        delivery: String,
        /// The JSON exactly as it was signed.
        payload: Bytes,
    },
    /// A kind that nobody stores.
    Ignored {
        /// Its kind, or `unknown` when that is not a plain word.
        event: String,
    },
}

/// Looks into a body whose signature is right.
///
/// # Errors
/// When it is not one JSON object, or does not say what it is.
pub fn inspect(source: Source, headers: &HeaderMap, body: Bytes) -> Result<Found, Refusal> {
    match source {
        Source::Github => github(headers, body),
        Source::Taiga => taiga(body),
        Source::Excel => {
            one_object(text(&body)?)?;
            Ok(Found::Event { event: SHEETS_EVENT, delivery: sha256_hex(&body), payload: body })
        }
    }
}

fn github(headers: &HeaderMap, body: Bytes) -> Result<Found, Refusal> {
    if body.is_empty() {
        return Err(Refusal::NoJson);
    }
    let payload = if is_form(headers) { form::payload(&body)?.into() } else { body.clone() };
    one_object(text(&payload)?)?;
    let event = headers.get(GITHUB_EVENT).map(|value| value.as_bytes().trim_ascii()).filter(|name| !name.is_empty());
    let event = event.ok_or(Refusal::NoEvent)?;
    let Some(event) = GITHUB_EVENTS.into_iter().find(|known| known.as_bytes() == event) else {
        return Ok(Found::Ignored { event: plain_word(&String::from_utf8_lossy(event)) });
    };
    // The header is not signed, so it must at least be harmless as a header of ours and in an answer.
    let delivery = headers
        .get(GITHUB_DELIVERY)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| sha256_hex(&body), str::to_owned);
    Ok(Found::Event { event, delivery, payload })
}

fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = declared.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn taiga(body: Bytes) -> Result<Found, Refusal> {
    let text = text(&body)?;
    // Names are read as bytes, where a raw control character would go unnoticed. Compact JSON has none at all.
    if text.bytes().any(|byte| byte < b' ') {
        one_object(text)?;
    }
    let Some(fields) = TaigaFields::read(text)? else {
        return Err(Refusal::Json("The body is not one JSON object"));
    };
    let kind = fields.kind.filter(|raw| raw.get().starts_with('"'));
    let kind = kind.ok_or(Refusal::Json("The body has no text as type, which every webhook of Taiga has"))?;
    let kind = plain(kind).unwrap_or_default();
    let Some(event) = TAIGA_EVENTS.into_iter().find(|known| *known == kind) else {
        return Ok(Found::Ignored { event: plain_word(&kind) });
    };
    let delivery = fields.identity(event).unwrap_or_else(|| sha256_hex(&body));
    Ok(Found::Event { event, delivery, payload: body })
}

/// The text of a JSON string; `None` for anything else, and for a text that is not Unicode.
fn plain(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    Some(text.into())
}

/// The fields of a Taiga body that its kind and identity are made of, as raw JSON. Of a repeated field the last
/// counts, as in most readers.
#[derive(Default)]
struct TaigaFields<'a> {
    kind: Option<&'a RawValue>,
    action: Option<&'a RawValue>,
    date: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
}

impl<'a> TaigaFields<'a> {
    fn read(text: &'a str) -> Result<Option<Self>, Refusal> {
        let mut fields = Self::default();
        let is_object = walk(text, |name, value| match name {
            b"type" => fields.kind = Some(value),
            b"action" => fields.action = Some(value),
            b"date" => fields.date = Some(value),
            b"data" => fields.data = Some(value),
            _ => {}
        })?;
        Ok(is_object.then_some(fields))
    }

    /// The hash of (type, action, data.id, date), so that a resend, which has another key order and another
    /// signature, is the same delivery. `None` when one of them is missing.
    fn identity(&self, event: &str) -> Option<String> {
        let mut id = None;
        walk(self.data?.get(), |name, value| {
            if name == b"id" {
                id = Some(value);
            }
        })
        .ok()?;
        let id =
            id.map(RawValue::get).filter(|id| id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()))?;
        let mut hash = Sha256::new();
        for part in [event, &plain(self.action?)?, id, &plain(self.date?)?] {
            // With its length, so that no two quadruples are the same text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Some(hex(&hash.finalize()))
    }
}

/// Checks that a text is one JSON document, and shows the fields of the object if it is one.
fn walk<'a>(text: &'a str, mut see: impl FnMut(&[u8], &'a RawValue)) -> Result<bool, Refusal> {
    if !text.trim_ascii_start().starts_with('{') {
        return Ok(false);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Fields(&mut see)).and_then(|()| json.end()).map_err(|_| NOT_JSON)?;
    Ok(true)
}

struct Fields<'f, F>(&'f mut F);

impl<'a, F: FnMut(&[u8], &'a RawValue)> Visitor<'a> for Fields<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &'a RawValue = map.next_value()?;
            (self.0)(&name, value);
        }
        Ok(())
    }
}

/// A field's name as bytes: a lone surrogate in it is no reason to refuse the body.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, [u8]>;

    fn deserialize<D: serde::Deserializer<'a>>(self, json: D) -> Result<Cow<'a, [u8]>, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'a [u8]) -> Result<Cow<'a, [u8]>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Cow<'a, [u8]>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

const NOT_JSON: Refusal = Refusal::Json("The body is not valid JSON");

/// The body as text, with a word for what senders get wrong.
fn text(body: &[u8]) -> Result<&str, Refusal> {
    match body {
        [] => return Err(Refusal::NoJson),
        [0xef, 0xbb, 0xbf, ..] => {
            return Err(Refusal::Json("The body starts with a byte-order mark; send plain UTF-8"));
        }
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, _, ..] | [_, 0, ..] => {
            return Err(Refusal::Json("The body is UTF-16 or UTF-32; send UTF-8"));
        }
        _ => {}
    }
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Json("The body is not UTF-8"))?;
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) { Err(Refusal::NoJson) } else { Ok(text) }
}

fn one_object(text: &str) -> Result<(), Refusal> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| NOT_JSON)?;
    if text.trim_ascii_start().starts_with('{') {
        Ok(())
    } else {
        Err(Refusal::Json("The body is not one JSON object"))
    }
}

/// An event's name as an answer may repeat it.
fn plain_word(name: &str) -> String {
    let plain = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain { name.to_owned() } else { "unknown".to_owned() }
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
