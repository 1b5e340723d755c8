//! One small change to an input: of bytes, of words that mean something, or of the JSON it is.

use rand::Rng;
use rand::seq::IndexedRandom as _;
use serde_json::Value;

/// What senders, JSON readers, MongoDB and HTTP trip over.
const WORDS: [&str; 72] = [
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\\u",
    "\\",
    "\"",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "é",
    "\u{10ffff}",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":",
    "}}}",
    ",",
    ":",
    "-0",
    "-",
    "1e400",
    "-1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.5",
    "01",
    "0.1e1",
    "99999999999999999999999999999999999999999999999999",
    "\"$set\"",
    "\"$where\"",
    "\"a.b\"",
    "\"\"",
    "\"_id\"",
    "\"$oid\"",
    "\"id\"",
    "\"date\":\"2026-11-23T17:42:03.511Z\"",
    "\"2026-02-30\"",
    "\"9999-12-31T23:59:60+14:00\"",
    "\"0000-01-01\"",
    "\"-262143-01-01T00:00:00Z\"",
    "\"2026-03-29T02:30:00\"",
    "\"1,5\"",
    "\" \"",
    "\"1e5\"",
    "\"NaN\"",
    "\"custom_attributes_values\":",
    "\"milestone\":",
    "\"user_story\":",
    "\"points\":",
    "\"members\":",
    "\"memberHours\":",
    "\"configRange\":",
    "&payload=",
    "%7B",
    "%",
    "%zz",
    "+",
    "sha1=",
    "sha256=",
    "X-Hub-Signature: ",
    "LD-Version: 1\n",
    "Content-Encoding: zstd\n",
    "\n",
    "\r\n",
];

/// Changes `input` once. `other` is another input, to take from.
pub(super) fn once(input: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    if rng.random_bool(0.4) && of_json(input, rng) {
        return;
    }
    let len = input.len();
    let range = |rng: &mut dyn rand::RngCore, len: usize| {
        let from = rng.random_range(0..=len);
        from..rng.random_range(from..=len.min(from + 64))
    };
    match rng.random_range(0..8) {
        0 if len > 0 => input[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
        1 if len > 0 => input[rng.random_range(0..len)] = rng.random(),
        2 => drop(input.drain(range(rng, len))),
        3 => {
            let copied = input[range(rng, len)].to_vec();
            insert(input, &copied.repeat(rng.random_range(1..=8)), rng);
        }
        4 => insert(input, &other[range(rng, other.len())], rng),
        5 => input.truncate(rng.random_range(0..=len)),
        _ => {
            let word = WORDS.choose(rng).copied().unwrap_or_default();
            insert(input, word.as_bytes(), rng);
        }
    }
}

fn insert(input: &mut Vec<u8>, bytes: &[u8], rng: &mut impl Rng) {
    let at = rng.random_range(0..=input.len());
    input.splice(at..at, bytes.iter().copied());
}

/// Replaces, removes, doubles or nests one value; `false` when the input is not JSON.
fn of_json(input: &mut Vec<u8>, rng: &mut impl Rng) -> bool {
    let Ok(mut whole) = serde_json::from_slice::<Value>(input) else { return false };
    let mut count = 0;
    visit(&mut whole, &mut |_| count += 1);
    let (mut at, chosen) = (0, rng.random_range(0..count));
    let mut spare = None;
    // A value that cannot be written as one: it stands for the word that is put in its place.
    let mark = "\u{1}mark\u{1}";
    let action = rng.random_range(0..5);
    visit(&mut whole, &mut |value| {
        if at == chosen {
            match action {
                0 => *value = Value::Null,
                1 => *value = Value::Array(vec![value.take()]),
                2 => *value = serde_json::json!({ "id": value.take() }),
                3 => spare = Some(value.clone()),
                _ => *value = Value::from(mark),
            }
        }
        at += 1;
    });
    if let Some(spare) = spare {
        let (mut at, chosen) = (0, rng.random_range(0..count));
        visit(&mut whole, &mut |value| {
            if at == chosen {
                *value = spare.clone();
            }
            at += 1;
        });
    }
    let mut text = whole.to_string();
    if let Ok(mark) = serde_json::to_string(mark) {
        text = text.replace(&mark, WORDS.choose(rng).copied().unwrap_or_default());
    }
    *input = text.into_bytes();
    true
}

/// Shows every value, the whole first. Depth is bounded by serde_json's own limit.
fn visit(value: &mut Value, see: &mut impl FnMut(&mut Value)) {
    see(value);
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| visit(value, see)),
        Value::Object(fields) => fields.values_mut().for_each(|value| visit(value, see)),
        _ => {}
    }
}
