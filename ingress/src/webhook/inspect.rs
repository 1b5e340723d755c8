//! The content of a body: one JSON object in UTF-8, of a kind that is stored, with an identity.
//!
//! The body is checked without building a tree: what is not needed is skipped, so depth costs no stack and
//! odd contents (NUL and lone surrogate escapes, repeated names, numbers of 10,000 digits) pass through.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use shared::source::Source;

use super::refusal::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// To be stored.
    Event {
        event: &'static str,
        /// Its identity: the same when it is delivered again.
        delivery: String,
        /// The JSON exactly as it was signed.
        payload: Bytes,
    },
    /// A kind that is not stored; `unknown` when its name is not a plain word.
    Ignored { event: String },
}

/// The name of an event that a source's file lists as stored.
pub(super) fn stored(source: Source, event: &str) -> Option<&'static str> {
    source.description().events.iter().copied().find(|known| *known == event)
}

/// An event that is not stored.
pub(super) fn ignored(event: &str) -> Inspected {
    Inspected::Ignored { event: plain_word(event) }
}

/// Checks that a text is one JSON document, and shows the fields of the object if it is one.
pub(super) fn walk<'a>(text: &'a str, mut see: impl FnMut(&[u8], &'a RawValue)) -> Result<bool, Refusal> {
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
pub(super) const NOT_AN_OBJECT: Refusal = Refusal::Json("The body is not one JSON object");

/// The body as text; the common mistakes of senders have errors of their own.
pub(super) fn text(body: &[u8]) -> Result<&str, Refusal> {
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

/// Checks that a text is one JSON object.
pub(super) fn check_object(text: &str) -> Result<(), Refusal> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| NOT_JSON)?;
    if text.trim_ascii_start().starts_with('{') { Ok(()) } else { Err(NOT_AN_OBJECT) }
}

/// An event's name as an answer may repeat it.
fn plain_word(name: &str) -> String {
    let plain = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain { name.to_owned() } else { "unknown".to_owned() }
}
