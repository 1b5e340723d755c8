//! Reads senders' JSON into typed structs.
//!
//! serde's derive is almost what is needed. It differs in three points: it refuses a key that comes twice (here the
//! last one wins, as in every other JSON reader), it accepts an array for a struct, and its messages repeat the value,
//! which may be a whole document. [`object!`] does the same work with our rules; unknown fields are skipped without
//! being built.

use std::fmt;
use std::marker::PhantomData;

use bson::Document;
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::bson_value::{self, JsonValue};
use super::repair::repair;
use crate::effect::Reject;

/// Reads a payload; one that breaks JSON only by a lone surrogate or a number beyond a double is repaired first.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Reject> {
    bson_value::begin();
    serde_json::from_slice(payload).or_else(|error| match bson_value::excess(&error) {
        Some(excess) => Err(unstorable(excess)),
        None => read_carefully(&repair(payload)),
    })
}

/// Reads a repaired payload, keeping track of the path for the message. Rare, so it may be slow.
fn read_carefully<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Reject> {
    bson_value::begin();
    let mut reader = serde_json::Deserializer::from_slice(payload);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        bson_value::excess(error.inner()).map_or_else(|| Reject::Shape(error.to_string()), unstorable)
    })?;
    reader.end().map_err(|error| Reject::Shape(error.to_string()))?;
    Ok(value)
}

fn unstorable(excess: &str) -> Reject {
    Reject::Unstorable(format!("a value is {excess}"))
}

/// A struct that is read from a JSON object, field by field. Written by [`object!`].
pub(super) trait Object<'de>: Default {
    /// Which field a key names.
    type Name: Deserialize<'de>;

    /// Reads the value of the field into place.
    fn set<A: MapAccess<'de>>(&mut self, field: Self::Name, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an [`Object`] and nothing else.
pub(super) struct ObjectVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Object<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        while let Some(name) = map.next_key()? {
            object.set(name, &mut map)?;
        }
        Ok(object)
    }

    // The default message would repeat the text.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<T, E> {
        Err(E::invalid_type(Unexpected::Other("string"), &self))
    }
}

/// Declares structs and how they are read: `object!(Name { field: Type = "key", … });`.
///
/// A key that is absent leaves the field's default, an unknown one is skipped, and of one that comes
/// twice the last wins. Optional objects are `Option<Name>`: null and missing alike.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident $(<$generic:ident>)? { $($field:ident: $type:ty = $key:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        struct $name $(<$generic>)? { $($field: $type),+ }

        const _: () = {
            #[expect(non_camel_case_types, reason = "the variants are the fields, and other names are not ours")]
            enum Name { $($field),+, __other }

            struct NameVisitor;

            impl serde::de::Visitor<'_> for NameVisitor {
                type Value = Name;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a field name")
                }

                fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                    Ok(match name { $($key => Name::$field,)+ _ => Name::__other })
                }
            }

            impl<'de> serde::Deserialize<'de> for Name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_identifier(NameVisitor)
                }
            }

            impl<'de $(, $generic: serde::Deserialize<'de> + Default)?> $crate::normalise::json::Object<'de>
                for $name $(<$generic>)?
            {
                type Name = Name;

                fn set<A: serde::de::MapAccess<'de>>(&mut self, field: Name, map: &mut A) -> Result<(), A::Error> {
                    match field {
                        $(Name::$field => self.$field = map.next_value()?,)+
                        Name::__other => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                    Ok(())
                }
            }

            impl<'de $(, $generic: serde::Deserialize<'de> + Default)?> serde::Deserialize<'de> for $name $(<$generic>)? {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_any($crate::normalise::json::ObjectVisitor(std::marker::PhantomData))
                }
            }
        };
    };
}
pub(super) use object;

/// A value, and whether its key was there at all.
#[derive(Debug)]
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

/// A list of objects; null and missing are empty, and null elements are left out.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element::<Option<T>>()? {
            list.extend(element);
        }
        Ok(List(list))
    }

    fn visit_unit<E>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<List<T>, E> {
        Err(E::invalid_type(Unexpected::Other("string"), &self))
    }
}

/// An object whose field names users choose; null and missing are empty.
#[derive(Debug, Default)]
pub(super) struct Words(pub(super) Document);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read as a value first: that is exactly the object it would hold.
        match JsonValue::deserialize(deserializer)?.0 {
            bson::Bson::Document(words) => Ok(Self(words)),
            bson::Bson::Null => Ok(Self::default()),
            other => {
                let what = format!("{:?}", other.element_type());
                Err(D::Error::invalid_type(Unexpected::Other(&what), &"an object"))
            }
        }
    }
}

/// Skips the rest of a list.
pub(super) fn skip_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips the rest of an object.
pub(super) fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    object!(Inner { id: JsonValue = "id" });
    object!(Outer { inner: Option<Inner> = "inner", list: List<Inner> = "list", words: Words = "words" });

    fn message(json: &str) -> String {
        read::<Outer>(json.as_bytes()).expect_err(json).to_string()
    }

    #[test]
    fn null_and_missing_objects_are_the_same() {
        for json in ["{}", r#"{"inner":null,"list":null,"words":null}"#, r#"{"list":[null],"words":{}}"#] {
            let outer: Outer = read(json.as_bytes()).unwrap();
            assert!(outer.inner.is_none() && outer.list.0.is_empty() && outer.words.0.is_empty(), "{json}");
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_one_wins() {
        let outer: Outer = read(br#"{"inner":{"id":1,"id":2},"inner":{"id":3,"id":4}}"#).unwrap();
        assert_eq!(outer.inner.unwrap().id.0, bson::Bson::Int32(4));
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path_and_never_repeated() {
        let shape = "the payload does not have its source's shape: ";
        for (json, expected) in [
            (r#"{"inner":"secret"}"#, "inner: invalid type: string, expected an object"),
            (r#"{"inner":[]}"#, "inner: invalid type: sequence, expected an object"),
            (r#"{"list":"secret"}"#, "list: invalid type: string, expected a list"),
            (r#"{"list":[{},"secret"]}"#, "list[1]: invalid type: string, expected an object"),
            (r#"{"words":"secret"}"#, "words: invalid type: String, expected an object"),
            ("[]", "invalid type: sequence, expected an object"),
        ] {
            let message = message(json);
            assert!(message.starts_with(&format!("{shape}{expected}")), "{message}");
        }
        assert!(message("{} x").contains("trailing characters"));
    }

    #[test]
    fn the_number_of_values_matters_only_where_they_would_be_stored() {
        let many = |values: usize, value: &str| format!("[{}]", vec![value; values].join(","));
        assert!(read::<Outer>(format!(r#"{{"else":{}}}"#, many(700_000, "1")).as_bytes()).is_ok());
        for (values, value, fits) in
            [(599_999, "1", true), (600_000, "1", false), (99_999, "{}", true), (100_000, "{}", false)]
        {
            // Twice: each payload has its own.
            for _ in 0..2 {
                let read = read::<Outer>(format!(r#"{{"inner":{{"id":{}}}}}"#, many(values, value)).as_bytes());
                let error = read.err().map(|error| error.to_string()).unwrap_or_default();
                let expected = if fits { "" } else { "the document cannot be stored: a value is one of too many: " };
                assert!(error.starts_with(expected) && error.is_empty() == fits, "{values} {value}: {error}");
            }
        }
    }

    #[test]
    fn depth_matters_only_where_it_would_be_stored() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let unknown = format!(r#"{{"else":{}}}"#, nested(100_000));
        assert!(read::<Outer>(unknown.as_bytes()).is_ok());
        for (levels, fits) in [(90, true), (91, false), (200, false), (100_000, false)] {
            let json = format!(r#"{{"inner":{{"id":{}}}}}"#, nested(levels));
            match read::<Outer>(json.as_bytes()) {
                Ok(_) => assert!(fits, "{levels}"),
                Err(error) => assert!(!fits && matches!(error, Reject::Unstorable(_)), "{levels}: {error}"),
            }
        }
    }

    #[test]
    fn broken_unicode_and_endless_numbers_are_repaired() {
        let digits = "9".repeat(10_000);
        let json = format!(r#"{{"\udc00":1,"inner":{{"id":["a\ud800",{digits},-1e400]}}}}"#);
        let outer: Outer = read(json.as_bytes()).unwrap();
        let expected = bson::bson!(["a\u{fffd}", f64::MAX, f64::MIN]);
        assert_eq!(outer.inner.unwrap().id.0, expected);
    }
}
