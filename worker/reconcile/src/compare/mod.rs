//! Compares a document with what a provider's API returns. Pure.

pub mod removal;
pub mod shown;

use bson::{Bson, Document};

/// What only webhooks contain: it stays as it is.
const OF_WEBHOOKS: [&str; 4] = ["action_type", "assigned_by", "action", "sender_info"];

/// The fields in which a document differs from the API, apart from those that only webhooks contain and `but`.
#[must_use]
pub fn differences<'a>(stored: &Document, shown: &'a Document, but: &[&str]) -> Vec<&'a str> {
    let told = shown.iter().filter(|(name, _)| !OF_WEBHOOKS.contains(&name.as_str()) && !but.contains(&name.as_str()));
    told.filter(|(name, value)| !same(stored.get(name.as_str()).unwrap_or(&Bson::Null), value))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Whether two values are the same, as a reader of the database sees them: integers by their value, whatever their
/// width, and objects whatever the order of their fields. An integer is not the double of its value.
#[must_use]
pub fn same(one: &Bson, other: &Bson) -> bool {
    match (one, other) {
        (Bson::Document(one), Bson::Document(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Bson::Array(one), Bson::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => match (integer(one), integer(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

#[must_use]
pub const fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(value) => Some(*value as i64),
        Bson::Int64(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_document_differs_in_what_the_api_says_and_not_in_what_only_webhooks_know() {
        let stored = doc! { "subject": "a", "action_type": "create", "assigned_by": "m", "points": 48.0, "extra": 1 };
        let shown = doc! { "subject": "b", "action_type": "change", "assigned_by": Bson::Null, "points": 48.0 };
        assert_eq!(differences(&stored, &shown, &[]), ["subject"]);
        assert_eq!(differences(&stored, &shown, &["subject"]), [""; 0]);
        assert_eq!(differences(&doc! {}, &doc! { "finished_date": Bson::Null }, &[]), [""; 0], "absent is null");
    }

    #[test]
    fn integers_are_the_same_at_any_width_and_a_double_is_not_an_integer() {
        assert!(same(&Bson::Int32(48), &Bson::Int64(48)));
        assert!(!same(&Bson::Int32(48), &Bson::Double(48.0)));
        assert!(same(&Bson::Double(48.0), &Bson::Double(48.0)));
        assert!(!same(&Bson::Null, &Bson::Boolean(false)));
    }

    #[test]
    fn attributes_are_the_same_in_any_order_and_not_with_one_more() {
        let one = Bson::Document(doc! { "a": 1, "b": { "c": [1, 2] } });
        assert!(same(&one, &Bson::Document(doc! { "b": { "c": [1, 2_i64] }, "a": 1 })));
        assert!(!same(&one, &Bson::Document(doc! { "b": { "c": [2, 1] }, "a": 1 })));
        assert!(!same(&one, &Bson::Document(doc! { "a": 1 })));
    }
}
