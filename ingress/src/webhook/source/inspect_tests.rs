use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use shared::hash::sha256_hex;
use shared::source::Source;

use super::inspect;
use crate::webhook::inspect::Inspected;
use crate::webhook::refusal::Refusal;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn event(found: Result<Inspected, Refusal>) -> (&'static str, String, Bytes) {
    match found {
        Ok(Inspected::Event { event, delivery, payload }) => (event, delivery, payload),
        other => panic!("{other:?}"),
    }
}

fn sheet(body: impl Into<Bytes>) -> Result<Inspected, Refusal> {
    inspect(Source::Excel, &HeaderMap::new(), body.into())
}

fn taiga_of(body: impl Into<Bytes>) -> Result<Inspected, Refusal> {
    inspect(Source::Taiga, &HeaderMap::new(), body.into())
}

const STORY: &str =
    r#"{"type": "userstory", "action": "change", "date": "2026-11-23T12:34:28.652Z", "data": {"id": 7, "x": 1}}"#;

#[test]
fn a_body_that_is_not_one_json_object_is_refused_with_what_is_wrong() {
    let utf16: Vec<u8> = STORY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_be: Vec<u8> = STORY.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (body, expected) in [
        (&b""[..], "No JSON received"),
        (b" \r\n", "No JSON received"),
        (b"[1]", "The body is not one JSON object"),
        (b"7", "The body is not one JSON object"),
        (b"null", "The body is not one JSON object"),
        (b"\"text\"", "The body is not one JSON object"),
        (b"{", "The body is not valid JSON"),
        (b"{} {}", "The body is not valid JSON"),
        (b"{}x", "The body is not valid JSON"),
        (b"{}\0", "The body is not valid JSON"),
        (b"{'a': 1}", "The body is not valid JSON"),
        // Found by fuzzing: a raw control character in a name.
        (b"{\"type\":\"epic\",\"a\0\":1}", "The body is not valid JSON"),
        (b"{\"type\":\"epic\",\"a\n\":1}", "The body is not valid JSON"),
        (b"{\"a\": NaN}", "The body is not valid JSON"),
        (b"{\"a\": 01}", "The body is not valid JSON"),
        (b"{\"a\": 1,}", "The body is not valid JSON"),
        (b"{\"a\": \"\x01\"}", "The body is not valid JSON"),
        (b"{\"a\": \"\xff\"}", "The body is not UTF-8"),
        (b"{\"a\": \"\xed\xa0\x80\"}", "The body is not UTF-8"),
        (b"\xef\xbb\xbf{}", "The body starts with a byte-order mark; send plain UTF-8"),
        (&utf16, "The body is UTF-16 or UTF-32; send UTF-8"),
        (&utf16_be, "The body is UTF-16 or UTF-32; send UTF-8"),
        (b"\xff\xfe{\0}\0", "The body is UTF-16 or UTF-32; send UTF-8"),
    ] {
        let text = |found: Result<Inspected, Refusal>| found.unwrap_err().to_string();
        assert_eq!(text(sheet(body.to_vec())), expected, "{body:?}");
        // Taiga's fields are looked for first, so what is no object is not looked at further.
        let taiga = text(taiga_of(body.to_vec()));
        assert!(taiga == expected || taiga.starts_with("The body has no text as type"), "{taiga}: {body:?}");
        let github = inspect(Source::Github, &headers(&[("x-github-event", "push")]), body.to_vec().into());
        assert_eq!(text(github), expected, "{body:?}");
    }
}

#[test]
fn odd_but_valid_json_passes_through_untouched() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let number = format!("{{\"a\": {}}}", "9".repeat(10_000));
    for body in [
        "{}",
        " {\"a\": 1}\n",
        r#"{"a": 1, "a": 2}"#,
        r#"{"a\ud800": "\udfff", "\ud800": {"\ud800": 1}}"#,
        r#"{"a": "\u0000", "\u0000": 1}"#,
        r#"{"a": 1e999, "b": -1e-999, "c": 123456789012345678901234567890}"#,
        r#"{"$set": {"a.b": 1}}"#,
        &number,
        &deep,
        &deep_objects,
    ] {
        if body.len() < 100_000 {
            assert_eq!(event(sheet(body.to_owned())).2, body);
        }
        let push = inspect(Source::Github, &headers(&[("x-github-event", "push")]), body.to_owned().into());
        assert_eq!(event(push).2, body);
        let story = format!("{},\"extra\": {body}}}", &STORY[..STORY.len() - 1]);
        assert_eq!(event(taiga_of(story.clone())).2, story);
        let within = STORY.replace("\"x\": 1", &format!("\"x\": {body}"));
        assert_eq!(event(taiga_of(within.clone())).1, event(taiga_of(STORY)).1, "{body:.100}");
    }
}

#[test]
fn a_delivery_of_github_is_named_by_its_header_or_else_by_its_bytes() {
    let of = |pairs: &[(&'static str, &str)]| inspect(Source::Github, &headers(pairs), "{}".into());
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let push = ("x-github-event", "push");
    assert_eq!(event(of(&[push, ("x-github-delivery", "72d3162e-cc78")])).1, "72d3162e-cc78");
    assert_eq!(event(of(&[push])).1, hash);
    for bad in ["", "a b", &"x".repeat(129)] {
        assert_eq!(event(of(&[push, ("x-github-delivery", bad)])).1, hash, "{bad}");
    }
    for known in Source::Github.description().events.iter().copied() {
        let body = r#"{"action": "renamed"}"#.into();
        assert_eq!(event(inspect(Source::Github, &headers(&[("x-github-event", known)]), body)).0, known);
    }
    for (other, told) in [("ping", "ping"), ("star", "star"), ("Push", "Push"), ("a b<c>", "unknown")] {
        assert_eq!(of(&[("x-github-event", other)]), Ok(Inspected::Ignored { event: told.to_owned() }));
    }
    assert_eq!(of(&[]), Err(Refusal::NoEvent));
    assert_eq!(of(&[("x-github-event", "")]), Err(Refusal::NoEvent));
}

#[test]
fn the_json_of_a_form_is_what_is_kept() {
    for kind in ["application/x-www-form-urlencoded", "APPLICATION/X-WWW-Form-Urlencoded ; charset=utf-8"] {
        let headers = headers(&[("x-github-event", "push"), ("content-type", kind)]);
        let of = |body: &'static str| inspect(Source::Github, &headers, body.into());
        assert_eq!(event(of("payload=%7B%22a%22%3A+1%7D")).2, "{\"a\": 1}");
        for (body, expected) in [
            ("", "No JSON received"),
            ("payload=", "No JSON received"),
            ("payload=%ff", "The body is not UTF-8"),
            ("payload=%5B%5D", "The body is not one JSON object"),
            ("{}", "The form has no payload field"),
        ] {
            assert_eq!(of(body).unwrap_err().to_string(), expected, "{body}");
        }
    }
}

#[test]
fn a_sheet_is_json_whatever_it_declares() {
    let headers = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let found = event(inspect(Source::Excel, &headers, "{}".into()));
    assert_eq!(found.0, "sheets_activity");
    assert_eq!(found.1, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

#[test]
fn a_resend_of_taiga_is_the_same_delivery_and_everything_else_another() {
    let first = event(taiga_of(STORY)).1;
    let resent = r#"{"data":{"x":1,"id":7},"date":"2026-11-23T12:34:28.652Z","type":"userstory","action":"change"}"#;
    assert_eq!(event(taiga_of(resent)).1, first);
    for (from, to) in [
        ("userstory", "task"),
        ("change", "create"),
        ("28.652Z", "28.653Z"),
        ("\"id\": 7", "\"id\": 8"),
        ("\"id\": 7", "\"id\": \"7\""),
    ] {
        assert_ne!(event(taiga_of(STORY.replace(from, to))).1, first, "{to}");
    }
}

#[test]
fn a_delivery_of_taiga_without_a_part_of_its_identity_is_named_by_its_bytes() {
    for body in [
        STORY.replace("\"id\": 7", "\"ID\": 7"),
        STORY.replace("\"id\": 7", "\"id\": null"),
        STORY.replace("\"id\": 7", "\"id\": {}"),
        STORY.replace("{\"id\": 7, \"x\": 1}", "null"),
        STORY.replace("{\"id\": 7, \"x\": 1}", "\"\\ud800\""),
        STORY.replace("\"date\"", "\"Date\""),
        STORY.replace("\"2026-11-23T12:34:28.652Z\"", "null"),
        STORY.replace("28.652Z", "\\ud800"),
        STORY.replace("\"action\"", "\"Action\""),
    ] {
        assert_eq!(event(taiga_of(body.clone())).1, sha256_hex(body.as_bytes()), "{body}");
    }
}

#[test]
fn other_kinds_of_taiga_are_ignored() {
    for known in Source::Taiga.description().events.iter().copied() {
        assert_eq!(event(taiga_of(STORY.replace("userstory", known))).0, known);
    }
    for (kind, told) in
        [("test", "test"), ("wikipage", "wikipage"), ("<b>", "unknown"), ("", "unknown"), ("\\ud800", "unknown")]
    {
        let found = taiga_of(STORY.replace("userstory", kind));
        assert_eq!(found, Ok(Inspected::Ignored { event: told.to_owned() }));
    }
    for body in ["{}", r#"{"type": 1}"#, r#"{"type": null, "action": "x"}"#, r#"{"type": ["task"]}"#] {
        assert!(taiga_of(body).unwrap_err().to_string().starts_with("The body has no text as type"), "{body}");
    }
}
