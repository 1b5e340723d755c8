//! A value that is passed through with the type it came with.

use std::cell::Cell;
use std::fmt;

use bson::{Bson, Document};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::number::integer;
use crate::effect::Reject;

/// How many arrays and objects may be nested in one stored value: MongoDB takes 100, and the value
/// already hangs some levels below the top of its document and of the statement that writes it.
const DEEPEST: usize = 90;

/// 2⁶³: doubles from here on are large integers, not fractions.
const BEYOND_64_BITS: f64 = 9_223_372_036_854_775_808.0;

/// How many values may be stored of one payload, so that they take less than 100 MB while they are read: a payload of 25
/// MiB can have millions. No document of a person comes near it.
const MOST_VALUES: usize = 600_000;

/// What an object counts as, in values: what it takes beside its fields.
const OBJECT: usize = 6;

/// What the errors of such values say; [`excess`] recognises them by their beginning, which no error of serde's or
/// serde_json's has.
const TOO_DEEP: &str = "nested deeper than 90 levels";
const TOO_MANY: &str = "one of too many: 600,000 can be stored, and an object counts as six";

thread_local! {
    /// How many values may still be read of the payload that this thread reads.
    static VALUES_LEFT: Cell<usize> = const { Cell::new(MOST_VALUES) };
}

/// Another payload is read from now on.
pub(super) fn begin() {
    VALUES_LEFT.set(MOST_VALUES);
}

/// Why reading failed, when a stored value was nested too deeply, or one of too many.
pub(super) fn excess(error: &serde_json::Error) -> Option<&'static str> {
    let text = error.is_data().then(|| error.to_string())?;
    [TOO_DEEP, TOO_MANY].into_iter().find(|what| text.starts_with(what))
}

/// One JSON value as BSON (docs/payloads.md); null when it is absent.
///
/// Integers are `Int32` where they fit, else `Int64`, and doubles beyond 64 bits. A NUL in a text or a
/// name becomes U+FFFD, because a BSON name ends at a NUL. Dots and `$` are kept literally, and of a
/// name that comes twice the last wins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonValue(pub(super) Bson);

impl Default for JsonValue {
    fn default() -> Self {
        Self(Bson::Null)
    }
}

impl From<JsonValue> for Bson {
    fn from(value: JsonValue) -> Self {
        value.0
    }
}

impl JsonValue {
    /// The text, when it is one.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// The text, or the number as text; empty for everything else. For names in notifications.
    pub(super) fn name(&self) -> String {
        match &self.0 {
            Bson::String(text) => text.clone(),
            number @ (Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The value, or `default` when it is null.
    pub(super) fn or(self, default: impl Into<Bson>) -> Bson {
        if self.0 == Bson::Null { default.into() } else { self.0 }
    }

    /// The value as a natural key that its source sends as an integer.
    pub(super) fn integer_key(self, path: &'static str) -> Result<Bson, Reject> {
        match self.0 {
            Bson::Null => Err(Reject::MissingKey(path)),
            key @ (Bson::Int32(_) | Bson::Int64(_)) => Ok(key),
            // An integer beyond 64 bits came as a double.
            Bson::Double(number) if number.abs() >= BEYOND_64_BITS => Ok(Bson::Double(number)),
            _ => Err(not_a_key(path, "an integer")),
        }
    }

    /// The value as a natural key that its source sends as a text.
    pub(super) fn text_key(self, path: &'static str) -> Result<Bson, Reject> {
        match self.0 {
            Bson::Null => Err(Reject::MissingKey(path)),
            key @ Bson::String(_) => Ok(key),
            _ => Err(not_a_key(path, "a text")),
        }
    }
}

/// In a filter of MongoDB, an object or list is an operator: as a key it would match other documents.
fn not_a_key(path: &str, kind: &str) -> Reject {
    Reject::Shape(format!("{path}: it identifies the document, so it must be {kind}"))
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level(0).deserialize(deserializer).map(Self)
    }
}

/// Reads a value that is inside this many arrays and objects.
struct Level(usize);

impl Level {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.0 == DEEPEST { Err(E::custom(TOO_DEEP)) } else { Ok(Self(self.0 + 1)) }
    }
}

fn count<E: serde::de::Error>(values: usize) -> Result<(), E> {
    VALUES_LEFT.set(VALUES_LEFT.get().checked_sub(values).ok_or_else(|| E::custom(TOO_MANY))?);
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Bson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bson, D::Error> {
        count(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Bson, E> {
        Ok(i64::try_from(value).map_or(Bson::Double(value as f64), integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(without_nul(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bson, A::Error> {
        self.deeper::<A::Error>()?;
        let mut out = Vec::new();
        while let Some(value) = list.next_element_seed(Self(self.0 + 1))? {
            out.push(value);
        }
        Ok(Bson::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Bson, A::Error> {
        self.deeper::<A::Error>()?;
        count(OBJECT - 1)?;
        let mut out = Document::new();
        while let Some(name) = object.next_key::<String>()? {
            out.insert(without_nul(name), object.next_value_seed(Self(self.0 + 1))?);
        }
        Ok(Bson::Document(out))
    }
}

fn without_nul(text: String) -> String {
    if memchr::memchr(0, text.as_bytes()).is_some() { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Bson {
        serde_json::from_str::<JsonValue>(json).unwrap().0
    }

    #[test]
    fn every_value_keeps_its_type() {
        for (json, expected) in [
            ("null", Bson::Null),
            ("true", Bson::Boolean(true)),
            ("0", Bson::Int32(0)),
            ("2147483647", Bson::Int32(i32::MAX)),
            ("-2147483648", Bson::Int32(i32::MIN)),
            ("2147483648", Bson::Int64(2_147_483_648)),
            ("9223372036854775807", Bson::Int64(i64::MAX)),
            ("-9223372036854775808", Bson::Int64(i64::MIN)),
            ("9223372036854775808", Bson::Double(9_223_372_036_854_775_808.0)),
            ("123456789012345678901234567890", Bson::Double(1.234_567_890_123_456_8e29)),
            ("5.0", Bson::Double(5.0)),
            ("1e2", Bson::Double(100.0)),
            ("0.30000000000000004", Bson::Double(0.1 + 0.2)),
            ("7.2057594037927933e16", Bson::Double(7.205_759_403_792_794e16)),
            (r#""a\u0000b""#, Bson::String("a\u{fffd}b".into())),
            (r#""\ud83d\udc19""#, Bson::String("🐙".into())),
        ] {
            assert_eq!(value(json), expected, "{json}");
        }
    }

    #[test]
    fn names_are_literal_and_the_last_of_two_wins() {
        let value = value(r#"{"a.b":1,"$set":{"$x":[null]},"n\u0000":2,"":3,"a.b":4,"n\ufffd":5}"#);
        let expected = bson::doc! {"a.b": 4, "$set": {"$x": [Bson::Null]}, "n\u{fffd}": 5, "": 3};
        assert_eq!(value, Bson::Document(expected.clone()));
        expected.to_vec().unwrap();
    }

    #[test]
    fn a_key_is_of_the_kind_that_its_source_sends() {
        for integer in ["7", "-7", "5000000000", "100000000000000000000"] {
            assert_eq!(JsonValue(value(integer)).integer_key("data.id"), Ok(value(integer)));
        }
        for text in [r#""x""#, r#""7""#] {
            assert_eq!(JsonValue(value(text)).text_key("commits[].id"), Ok(value(text)));
        }
        assert_eq!(JsonValue(Bson::Null).integer_key("data.id"), Err(Reject::MissingKey("data.id")));
        assert_eq!(JsonValue(Bson::Null).text_key("data.id"), Err(Reject::MissingKey("data.id")));
        let neither = ["true", "1.5", "5.0", "[]", "{}", "[1]", r#"{"$gt":""}"#];
        let refused = |result: Result<Bson, Reject>, json: &str| {
            assert!(matches!(&result, Err(Reject::Shape(text)) if text.starts_with("data.id: ")), "{json}: {result:?}");
        };
        for json in neither {
            refused(JsonValue(value(json)).integer_key("data.id"), json);
            refused(JsonValue(value(json)).text_key("data.id"), json);
        }
        refused(JsonValue(value(r#""7""#)).integer_key("data.id"), "a text");
        refused(JsonValue(value("7")).text_key("data.id"), "an integer");
    }
}
