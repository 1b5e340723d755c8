//! Payloads that are odd and rightly signed: what each becomes, through to the document. The table of
//! docs/payloads.md is this one, row by row.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use bson::{Bson, Document, bson, doc};
use bytes::Bytes;
use harness::paths;
use harness::sender::{Delivery, taiga};
use harness::stack::Stack;
use serde_json::Value;

use crate::{LONG, SOON};

/// What comes of a payload.
#[derive(Debug)]
enum Outcome {
    /// The project's only document in the collection with this suffix has these fields.
    Document(&'static str, Document),
    /// A dead letter with this reason, and the bytes as they were sent.
    Dead(&'static str),
    /// It is answered 400 and goes no further.
    Refused,
}

use Outcome::{Dead, Refused};

struct Oddity {
    /// As docs/payloads.md calls it.
    name: &'static str,
    delivery: Delivery,
    outcome: Outcome,
}

/// A story with these further fields in its `data`, as JSON.
fn story(fields: impl AsRef<str>) -> Delivery {
    let fields = fields.as_ref();
    let date = "2026-11-23T17:42:03.511Z";
    let json = format!(
        r#"{{"type":"userstory","action":"create","date":"{date}","by":{{"username":"mireia"}},"data":{{"id":1,{fields}}}}}"#
    );
    Delivery::taiga(&Value::Null).bytes(json)
}

/// A story with these custom attributes.
fn attributes(json: impl AsRef<str>) -> Delivery {
    story(format!(r#""custom_attributes_values":{}"#, json.as_ref()))
}

fn shows(fields: Document) -> Outcome {
    Outcome::Document("userstories", fields)
}

fn has_attributes(attributes: Document) -> Outcome {
    shows(doc! { "custom_attributes": attributes })
}

/// A push of one commit with this id and message, both as JSON.
fn commit(id: &str, message: &str) -> Delivery {
    let json = format!(r#"{{"commits":[{{"id":{id},"message":{message}}}],"repository":{{"full_name":"a/b"}}}}"#);
    Delivery::github("push", &Value::Null).bytes(json)
}

fn row(fields: &str) -> Delivery {
    Delivery::sheets(&Value::Null).bytes(format!("{{{fields}}}"))
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn utf16(text: &str) -> Bytes {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().into()
}

/// Depth, size, repeated keys.
fn shapes() -> Vec<(&'static str, Delivery, Outcome)> {
    let attribute_of = |levels| (0..levels - 1).fold(Bson::Array(Vec::new()), |inner, _| bson!([inner]));
    let long = "n".repeat(10_000);
    let many = (0..10_000).map(|n| format!(r#""a{n}":{n}"#)).collect::<Vec<_>>().join(",");
    let all: Document = (0..10_000).map(|n| (format!("a{n}"), Bson::Int32(n))).collect();
    let huge = "x".repeat(14 * 1024 * 1024);
    vec![
        ("a key twice", story(r#""subject":"first","subject":"last""#), shows(doc! { "subject": "last" })),
        ("an attribute twice", attributes(r#"{"a":1,"b":2,"a":3}"#), has_attributes(doc! { "a": 3, "b": 2 })),
        (
            "80 levels in an attribute",
            attributes(format!(r#"{{"a":{}}}"#, nested(80))),
            has_attributes(doc! { "a": attribute_of(80) }),
        ),
        ("91 levels in an attribute", attributes(format!(r#"{{"a":{}}}"#, nested(91))), Dead("unstorable")),
        (
            "100,000 levels that nobody stores",
            story(format!(r#""subject":"x","other":{}"#, nested(100_000))),
            shows(doc! { "subject": "x" }),
        ),
        ("100,000 levels in an attribute", attributes(format!(r#"{{"a":{}}}"#, nested(100_000))), Dead("unstorable")),
        (
            "a name of 10,000 letters",
            attributes(format!(r#"{{"{long}":1}}"#)),
            has_attributes([(long, Bson::Int32(1))].into_iter().collect()),
        ),
        (
            "a list of 700,000 numbers in an attribute",
            attributes(format!(r#"{{"a":[{}]}}"#, vec!["1"; 700_000].join(","))),
            Dead("unstorable"),
        ),
        (
            "a list of 700,000 numbers that nobody stores",
            story(format!(r#""subject":"x","other":[{}]"#, vec!["1"; 700_000].join(","))),
            shows(doc! { "subject": "x" }),
        ),
        ("10,000 attributes", attributes(format!("{{{many}}}")), has_attributes(all)),
        ("a text of 14 MiB", story(format!(r#""subject":"{huge}""#)), shows(doc! { "subject": huge })),
        ("a text of 16 MiB", story(format!(r#""subject":"{}""#, "x".repeat(16 * 1024 * 1024))), Dead("unstorable")),
        (
            "20 MiB that nobody stores",
            story(format!(r#""subject":"x","other":"{}""#, "x".repeat(20 * 1024 * 1024))),
            shows(doc! { "subject": "x" }),
        ),
        ("white space around the object", story(r#""subject":"x""#).padded(), shows(doc! { "subject": "x" })),
        (
            "an object where a text belongs",
            story(r#""subject":{"$gt":"","a.b":[1]}"#),
            shows(doc! { "subject": { "$gt": "", "a.b": [1] } }),
        ),
        ("a text where an object belongs", story(r#""status":"New""#), Dead("unreadable")),
        ("nothing but an id", story(r#""x":0"#), shows(doc! { "userstory_id": 1, "subject": Bson::Null })),
    ]
}

fn numbers() -> Vec<(&'static str, Delivery, Outcome)> {
    let one = |json: &str| attributes(format!(r#"{{"n":{json}}}"#));
    let is = |n: Bson| has_attributes(doc! { "n": n });
    vec![
        ("the largest integer of 64 bits", one("9223372036854775807"), is(Bson::Int64(i64::MAX))),
        ("the smallest integer of 64 bits", one("-9223372036854775808"), is(Bson::Int64(i64::MIN))),
        ("one more than the largest integer", one("9223372036854775808"), is(Bson::Double(9_223_372_036_854_775_808.0))),
        ("the largest unsigned integer", one("18446744073709551615"), is(Bson::Double(18_446_744_073_709_551_615.0))),
        ("an integer of 10,000 digits", one(&"9".repeat(10_000)), is(Bson::Double(f64::MAX))),
        ("a fraction of 10,000 digits", one(&format!("0.{}", "3".repeat(10_000))), is(Bson::Double(1.0 / 3.0))),
        ("a number beyond a double", one("-1e400"), is(Bson::Double(f64::MIN))),
        ("a number too small for a double", one("1e-400"), is(Bson::Double(0.0))),
        ("a whole number written as a fraction", one("3.0"), is(Bson::Double(3.0))),
        ("an exponent of 10,000 digits", one(&format!("1e{}", "9".repeat(10_000))), is(Bson::Double(f64::MAX))),
        ("an id beyond 64 bits", Delivery::taiga(&taiga::event("epic", "create", "2026-11-23T17:42:03.511Z", Value::Null)).bytes(
            r#"{"type":"epic","action":"create","date":"2026-11-23T17:42:03.511Z","data":{"id":18446744073709551616}}"#),
            Outcome::Document("epics", doc! { "epic_id": 18_446_744_073_709_551_616.0 })),
        ("an id with a fraction", Delivery::taiga(&Value::Null).bytes(
            r#"{"type":"epic","action":"create","date":"2026-11-23T17:42:03.511Z","data":{"id":1.5}}"#), Dead("unreadable")),
    ]
}

/// Characters.
fn texts() -> Vec<(&'static str, Delivery, Outcome)> {
    vec![
        ("a NUL in a text", story(r#""subject":"a\u0000b""#), shows(doc! { "subject": "a\u{fffd}b" })),
        ("a NUL in a name", attributes(r#"{"a\u0000b":1}"#), has_attributes(doc! { "a\u{fffd}b": 1 })),
        ("a lone surrogate in a text", story(r#""subject":"a\ud800b""#), shows(doc! { "subject": "a\u{fffd}b" })),
        ("a lone surrogate in a name", attributes(r#"{"a\udc00":1}"#), has_attributes(doc! { "a\u{fffd}": 1 })),
        (
            "surrogates the wrong way round",
            story(r#""subject":"\ude00\ud83d""#),
            shows(doc! { "subject": "\u{fffd}\u{fffd}" }),
        ),
        (
            "a pair of surrogates",
            commit(r#""c1""#, r#""\ud83d\ude00""#),
            Outcome::Document("commits", doc! { "message": "\u{1f600}", "message_char_count": 1 }),
        ),
        (
            "control characters and direction marks, escaped",
            story(r#""subject":"\u0007\u202e\ufeff""#),
            shows(doc! { "subject": "\u{7}\u{202e}\u{feff}" }),
        ),
        (
            "a byte-order mark before the object",
            Delivery::taiga(&Value::Null).bytes(&b"\xef\xbb\xbf{\"type\":\"epic\"}"[..]),
            Refused,
        ),
        ("UTF-16", Delivery::taiga(&Value::Null).bytes(utf16(r#"{"type":"epic"}"#)), Refused),
        (
            "a byte that is not UTF-8",
            Delivery::taiga(&Value::Null).bytes(&b"{\"type\":\"epic\",\"x\":\"\xff\"}"[..]),
            Refused,
        ),
        ("a raw control character in a text", story("\"subject\":\"a\u{7}b\""), Refused),
    ]
}

/// Names and values that mean something to MongoDB.
fn operators() -> Vec<(&'static str, Delivery, Outcome)> {
    vec![
        (
            "attribute names that are operators",
            attributes(r#"{"$set":1,"$where":"x","$":2}"#),
            has_attributes(doc! { "$set": 1, "$where": "x", "$": 2 }),
        ),
        (
            "attribute names that are paths",
            attributes(r#"{"a.b":1,".":2,"a..b":3,"":4,"0":5}"#),
            has_attributes(doc! { "a.b": 1, ".": 2, "a..b": 3, "": 4, "0": 5 }),
        ),
        (
            "attribute names of programs",
            attributes(r#"{"_id":1,"__proto__":{"x":1},"_ld":2}"#),
            has_attributes(doc! { "_id": 1, "__proto__": { "x": 1 }, "_ld": 2 }),
        ),
        (
            "texts that are operators",
            story(r#""subject":"$$ROOT","description":"$subject""#),
            shows(doc! { "subject": "$$ROOT" }),
        ),
        (
            "extended JSON",
            attributes(r#"{"a":{"$oid":"000000000000000000000000"},"b":{"$date":0}}"#),
            has_attributes(doc! { "a": { "$oid": "000000000000000000000000" }, "b": { "$date": 0 } }),
        ),
        (
            "members that are operators and paths",
            row(r#""members":["$inc","a.b","_id"],"memberHours":[1,2,3]"#),
            Outcome::Document("sheets", doc! { "hours_$inc": 1, "hours_a.b": 2, "hours__id": 3 }),
        ),
        (
            "a member with a NUL",
            row(r#""members":["a\u0000"],"memberHours":[1]"#),
            Outcome::Document("sheets", doc! { "hours_a\u{fffd}": 1 }),
        ),
        (
            "a commit's id that is an operator's name",
            commit(r#""$where""#, r#""x""#),
            Outcome::Document("commits", doc! { "sha": "$where" }),
        ),
        ("a commit's id that is a query", commit(r#"{"$ne":null}"#, r#""x""#), Dead("unreadable")),
        (
            "a story's id that is a query",
            Delivery::taiga(&Value::Null).bytes(
                r#"{"type":"userstory","action":"delete","date":"2026-11-23T17:42:03.511Z","data":{"id":{"$gt":0}}}"#,
            ),
            Dead("unreadable"),
        ),
        (
            "no id",
            Delivery::taiga(&Value::Null).bytes(r#"{"type":"userstory","action":"create","data":{}}"#),
            Dead("no_identity"),
        ),
    ]
}

/// White space on both sides, of the kinds that JSON knows.
trait Padded {
    fn padded(self) -> Self;
}

impl Padded for Delivery {
    fn padded(self) -> Self {
        let bytes = [b" \r\n\t", &self.json[..], b"\n\n "].concat();
        self.bytes(bytes)
    }
}

fn oddities() -> Vec<Oddity> {
    let all = [shapes(), numbers(), texts(), operators()].into_iter().flatten();
    let named = |(n, (name, delivery, outcome)): (usize, (&'static str, Delivery, Outcome))| Oddity {
        name,
        delivery: delivery.project(&format!("Odd{n}")),
        outcome,
    };
    all.enumerate().map(named).collect()
}

/// As [`Bson`]'s own comparison, but integers of either width are the same number.
fn same(a: &Bson, b: &Bson) -> bool {
    match (a, b) {
        (Bson::Int32(a), Bson::Int64(b)) | (Bson::Int64(b), Bson::Int32(a)) => i64::from(*a) == *b,
        (Bson::Document(a), Bson::Document(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

/// The beginning of what may be megabytes.
fn short(value: &Bson) -> String {
    value.to_string().chars().take(200).collect()
}

#[tokio::test]
async fn every_odd_payload_becomes_what_is_written_down() {
    let stack = Stack::start().await.unwrap();
    let oddities = oddities();
    for Oddity { name, delivery, outcome } in &oddities {
        let answer = stack.sender.send(delivery).await.unwrap();
        let wanted = if matches!(outcome, Refused) { 400 } else { 200 };
        assert_eq!(answer.status, wanted, "{name}: {}", answer.body);
    }
    // After all of them: an event behind them is not delayed.
    let ordinary = taiga::event("task", "create", "2026-11-23T17:42:03.511Z", taiga::task(1, "after", Value::Null));
    assert_eq!(stack.sender.send(&Delivery::taiga(&ordinary).project("Afterwards")).await.unwrap().status, 200);
    let after = async || stack.document("taiga_Afterwards.tasks").await.map(|_| ());
    stack.eventually("an ordinary event is stored", LONG, after).await.unwrap();
    stack.eventually("everything is settled", LONG, async || stack.nothing_pending().await).await.unwrap();

    let dead_letters = stack.dead_letters().await.unwrap();
    let mut wrong = Vec::new();
    for Oddity { name, delivery, outcome } in &oddities {
        let found = match outcome {
            Outcome::Document(suffix, fields) => document_has(&stack, delivery, suffix, fields).await,
            Dead(reason) => is_dead(&dead_letters, delivery, reason),
            Refused => Ok(()),
        };
        if let Err(error) = found {
            wrong.push(format!("{name} ({}): {error:#}", delivery.project));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let dead: BTreeSet<_> =
        dead_letters.iter().filter_map(|dead_letter| dead_letter.subject.rsplit('.').next()).collect();
    let meant: BTreeSet<_> =
        oddities.iter().filter(|o| matches!(o.outcome, Dead(_))).map(|o| o.delivery.project.as_str()).collect();
    assert_eq!(dead, meant);
    let names = stack.db().await.unwrap().list_collection_names().await.unwrap();
    for Oddity { name, delivery, .. } in oddities.iter().filter(|o| !matches!(o.outcome, Outcome::Document(..))) {
        let own = format!("_{}.", delivery.project);
        // A collection may be there, for it is made before a document is refused; a document may not.
        for collection in names.iter().filter(|collection| collection.contains(&own)) {
            assert_eq!(stack.documents(collection).await.unwrap(), [], "{name}");
        }
    }
    stack
        .eventually("the worker is ready", SOON, async || {
            let (status, body) = stack.sender.get(&format!("{}/readyz", stack.worker().admin())).await?;
            ensure!(status == 200, "{body}");
            Ok(())
        })
        .await
        .unwrap();
}

async fn document_has(stack: &Stack, delivery: &Delivery, suffix: &str, fields: &Document) -> anyhow::Result<()> {
    let document = stack.document(&format!("{}_{}.{suffix}", delivery.source, delivery.project)).await?;
    for (name, wanted) in fields {
        let got = document.get(name).with_context(|| format!("no field {name:?}"))?;
        ensure!(same(got, wanted), "{name} is {}, not {}", short(got), short(wanted));
    }
    Ok(())
}

fn is_dead(
    dead_letters: &[async_nats::jetstream::message::StreamMessage],
    delivery: &Delivery,
    reason: &str,
) -> anyhow::Result<()> {
    let end = format!("{}.{}", delivery.source, delivery.project);
    let dead_letter =
        dead_letters.iter().find(|dead_letter| dead_letter.subject.ends_with(&end)).context("no dead letter")?;
    let said = dead_letter.headers.get("LD-Dead-Reason").map_or("", |value| value.as_str());
    ensure!(said == reason, "the reason is {said}, not {reason}");
    let bytes = shared::envelope::payload(&dead_letter.headers, &dead_letter.payload)?;
    ensure!(bytes == delivery.json, "the letter has not the bytes that were sent");
    Ok(())
}

#[test]
fn the_table_of_docs_payloads_is_this_one() {
    let text = std::fs::read_to_string(paths::workspace().join("docs/payloads.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let written: Vec<&str> = rows.filter(|name| *name != "payload").collect();
    let tested: Vec<&str> = oddities().iter().map(|oddity| oddity.name).collect();
    assert_eq!(written, tested);
}
