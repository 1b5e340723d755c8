//! Every golden payload, damaged in every place: normalising never panics, and what it makes can be stored.

use bson::Bson;
use serde_json::Value;
use vocabulary::envelope::Envelope;

use super::golden::{describe, goldens};
use super::{Settings, normalise};
use crate::effect::{Effect, Kind, Reject, State};

/// The payload with one value taken out, nulled or replaced, for every value in it.
fn mutations(payload: &Value) -> Vec<(String, Value)> {
    fn pointers(value: &Value, here: &str, out: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => {
                let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
                fields.iter().map(|(name, value)| (format!("{here}/{}", escape(name)), value)).collect()
            }
            Value::Array(values) => {
                values.iter().enumerate().map(|(index, value)| (format!("{here}/{index}"), value)).collect()
            }
            _ => Vec::new(),
        };
        for (pointer, child) in children {
            pointers(child, &pointer, out);
            out.push(pointer);
        }
    }
    let mut all = Vec::new();
    pointers(payload, "", &mut all);
    let mut out = Vec::new();
    for pointer in all {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let mut dropped = payload.clone();
        match dropped.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.remove(&last.replace("~1", "/").replace("~0", "~"))),
            Value::Array(values) => drop(values.remove(last.parse().unwrap())),
            _ => unreachable!("only objects and arrays have children"),
        }
        out.push((format!("{pointer} dropped"), dropped));
        for other in ["null", "-1", "1.5", "\"None\"", "\"\\u0000\"", "[]", "{}", "[null,[{}]]", "{\"id\":[1]}"] {
            let mut replaced = payload.clone();
            *replaced.pointer_mut(&pointer).unwrap() = serde_json::from_str(other).unwrap();
            out.push((format!("{pointer} = {other}"), replaced));
        }
    }
    out
}

#[test]
fn no_mutation_of_a_payload_panics_or_makes_a_document_that_cannot_be_stored() {
    let mut tried = 0;
    for golden in goldens() {
        let Ok(payload) = serde_json::from_slice::<Value>(&golden.envelope.payload) else {
            continue;
        };
        let storable = normalise(&golden.envelope, golden.sequence, &Settings::default()).is_ok();
        for (what, mutated) in mutations(&payload) {
            let envelope =
                Envelope { payload: serde_json::to_vec(&mutated).unwrap().into(), ..golden.envelope.clone() };
            let result = normalise(&envelope, golden.sequence, &Settings::default());
            let place = format!("{}: {what}", golden.path.display());
            tried += 1;
            match result {
                Ok(normalised) => {
                    let is_told = envelope.event != "repository" && !normalised.effects.is_empty();
                    assert_eq!(is_told, !normalised.notifications.is_empty(), "{place}");
                    for effect in normalised.effects {
                        check_storable(effect, &place);
                    }
                }
                // What is null or missing is never a wrong shape.
                Err(reject) if storable && (what.ends_with("dropped") || what.ends_with("= null")) => {
                    assert!(matches!(reject, Reject::MissingKey(_)), "{place}: {reject}");
                }
                Err(_) => {}
            }
        }
    }
    assert!(tried > 5_000, "only {tried} mutations were tried");
}

fn check_storable(effect: Effect, place: &str) {
    if let Effect::State(State { kind, key, fields, milestone, story, .. }) = &effect {
        let in_fields: Vec<Option<&Bson>> = kind.key_fields().iter().map(|name| fields.get(name)).collect();
        let in_key: Vec<Option<&Bson>> = key.iter().map(Some).collect();
        assert_eq!(in_fields, in_key, "{place}: the key is not what the document says");
        let is_scalar =
            |part: &Bson| matches!(part, Bson::String(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_));
        assert!(key.iter().all(is_scalar), "{place}: a key that MongoDB would take for an operator");
        let of_story = matches!(kind, Kind::UserStory | Kind::Task);
        assert_eq!(milestone.is_some(), of_story, "{place}");
        assert_eq!(story.is_some(), *kind == Kind::Task, "{place}");
    }
    let bytes = describe(effect).to_vec().unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!bytes.is_empty());
}
