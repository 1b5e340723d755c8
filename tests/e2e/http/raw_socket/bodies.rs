//! What is in it: encodings, forms, and things that are not one JSON object.

use super::case::Cases;
use super::case::Wanted::{Ignored, Stored};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn add(cases: &mut Cases) {
    for encoding in
        ["gzip", "deflate", "br", "zstd", "compress", "x-gzip", "identity, gzip", "gzip, identity", "*", "utf-8"]
    {
        cases.github(&format!("Content-Encoding {encoding}"), 400, |raw| raw.with("Content-Encoding", encoding));
    }
    cases.github("Content-Encoding identity", Stored, |raw| raw.with("Content-Encoding", "identity"));
    cases.github("Content-Encoding Identity", Stored, |raw| raw.with("Content-Encoding", "Identity"));
    cases.github("Content-Encoding twice, the second one gzip", 400, |raw| {
        raw.plus("Content-Encoding: identity").plus("Content-Encoding: gzip")
    });
    cases.github("Content-Encoding gzip and a wrong signature", 403, |raw| {
        raw.with("Content-Encoding", "gzip").signed_with("guessed")
    });
    for kind in [
        "application/json; charset=utf-8",
        "application/json; charset=iso-8859-1",
        "text/plain",
        "multipart/form-data",
        "",
        "\u{1}",
    ] {
        let wanted = if kind == "\u{1}" { 400.into() } else { Stored };
        cases.github(&format!("Content-Type {kind:?}"), wanted, |raw| raw.with("Content-Type", kind));
    }
    cases.github("no Content-Type", Stored, |raw| raw.without("Content-Type"));
    cases.sheets("Apps Script's default content type with bare JSON", Stored, |raw| raw.with("Content-Type", FORM));
    cases.taiga("declared a form, is JSON", Stored, |raw| raw.with("Content-Type", FORM));
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("white space", b" \t\r\n"),
        ("a list", b"[{\"s3ntinel\":1}]"),
        ("null", b"null"),
        ("a number", b"1"),
        ("a text", b"\"s3ntinel\""),
        ("half an object", b"{\"s3ntinel\":"),
        ("two objects", b"{}{}"),
        ("a comma too many", b"{\"s3ntinel\":1,}"),
        ("a comment", b"{/*s3ntinel*/}"),
        ("single quotes", b"{'s3ntinel':1}"),
        ("NaN", b"{\"s3ntinel\":NaN}"),
        ("not UTF-8", b"{\"s3ntinel\":\"\xff\"}"),
        ("an overlong NUL", b"{\"s3ntinel\":\"\xc0\x80\"}"),
        ("a surrogate in UTF-8", b"{\"s3ntinel\":\"\xed\xa0\x80\"}"),
        ("a raw NUL in a text", b"{\"s3ntinel\":\"\0\"}"),
        ("a raw newline in a text", b"{\"s3ntinel\":\"\n\"}"),
        ("a byte-order mark", b"\xef\xbb\xbf{\"type\":\"userstory\"}"),
        ("UTF-16, little end first", b"\xff\xfe{\0}\0"),
        ("UTF-16, big end first", b"\xfe\xff\0{\0}"),
        ("UTF-16 without a mark", b"{\0}\0"),
        ("UTF-32", b"\xff\xfe\0\0{\0\0\0}\0\0\0"),
        ("a bad escape", b"{\"a\":\"\\x41\"}"),
        ("a number with a leading zero", b"{\"a\":01}"),
        ("a number without digits", b"{\"a\":-}"),
        ("a form", b"payload=%7B%7D"),
        ("an XML bomb", b"<!DOCTYPE a [<!ENTITY b \"s3ntinel\">]><a>&b;</a>"),
        ("gzip's first bytes", b"\x1f\x8b\x08\0\0\0\0\0"),
    ] {
        cases.github(&format!("body: {what}"), 400, |raw| raw.body(bytes));
        cases.taiga(&format!("body: {what}"), 400, |raw| raw.body(bytes));
        cases.sheets(&format!("body: {what}"), 400, |raw| raw.body(bytes));
    }
    for (what, form) in [
        ("no payload", "a=b"),
        ("an empty payload", "payload="),
        ("a payload without a value", "payload"),
        ("two payloads", "payload=%7B%7D&payload=%7B%7D"),
        ("two payloads, one name encoded", "payload=%7B%7D&%70ayload=%7B%7D"),
        ("a payload that is a list", "payload=%5B%5D"),
        ("a payload that is not UTF-8", "payload=%7B%22a%22%3A%22%FF%22%7D"),
        ("a payload with a NUL", "payload=%00"),
        ("payload as an array field", "payload[]=%7B%7D"),
        ("PAYLOAD", "PAYLOAD=%7B%7D"),
        ("only separators", "&&&&=&="),
        ("escapes that are none", "payload=%7B%2%%zz"),
        ("JSON", "{}"),
    ] {
        cases.github(&format!("form: {what}"), 400, |raw| raw.body(form).with("Content-Type", FORM));
    }
    let form = |json: &[u8]| {
        let hex = json.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        format!("x=%zz&payload={hex}&&y")
    };
    cases.github("form: every byte encoded, other fields around", Stored, |raw| {
        let body = form(&raw.body);
        raw.body(body).with("Content-Type", "Application/X-WWW-Form-URLencoded ; charset=x")
    });
    cases.github("a form without its content type", 400, |raw| {
        let body = form(&raw.body);
        raw.body(body)
    });
    cases.github("no event", 400, |raw| raw.without("X-GitHub-Event"));
    cases.github("an empty event", 400, |raw| raw.with("X-GitHub-Event", ""));
    cases.github("an event that is a subject's wildcard", Ignored, |raw| raw.with("X-GitHub-Event", ">"));
    cases.github("an event with dots", Ignored, |raw| raw.with("X-GitHub-Event", "push.Team.>"));
    cases.github("an event in other case", Ignored, |raw| raw.with("X-GitHub-Event", "PUSH"));
    cases.github("an event in Latin-1", Ignored, |raw| raw.without("X-GitHub-Event").plus(b"X-GitHub-Event: p\xfcsh"));
    cases.github("an event of 4 kB", Ignored, |raw| raw.with("X-GitHub-Event", &"e".repeat(4096)));
    cases.github("a delivery id with a line break's escape", Stored, |raw| {
        raw.with("X-GitHub-Delivery", "a%0d%0aNats-Msg-Id: x")
    });
    cases.github("a delivery id of 4 kB", Stored, |raw| raw.with("X-GitHub-Delivery", &"d".repeat(4096)));
    cases.github("an empty delivery id", Stored, |raw| raw.with("X-GitHub-Delivery", ""));
    cases.github("a delivery id in Latin-1", Stored, |raw| {
        raw.without("X-GitHub-Delivery").plus(b"X-GitHub-Delivery: \xe9\xff")
    });
    cases.github("a traceparent that is none", Stored, |raw| raw.with("traceparent", "00-zz"));
    for (what, json) in [
        ("no type", &br#"{"action":"create"}"#[..]),
        ("a type that is a number", br#"{"type":1}"#),
        ("a type that is null", br#"{"type":null}"#),
        ("a type that is an object", br#"{"type":{"$ne":""}}"#),
    ] {
        cases.taiga(what, 400, |raw| raw.body(json));
    }
    for (what, json) in [
        ("a type of ours with a dot", &br#"{"type":"task.>"}"#[..]),
        ("an empty type", br#"{"type":""}"#),
        ("a type with a lone surrogate", br#"{"type":"\ud800"}"#),
        ("a type with a NUL", br#"{"type":"task\u0000"}"#),
        ("the last of two types counts", br#"{"type":"task","type":"test"}"#),
    ] {
        cases.taiga(what, Ignored, |raw| raw.body(json));
    }
    let deep =
        |open: &str, close: &str| format!(r#"{{"type":"task","a":{}{}}}"#, open.repeat(100_000), close.repeat(100_000));
    cases.taiga("100,000 lists within each other", Stored, |raw| raw.body(deep("[", "]")));
    cases.taiga("100,000 lists that are not closed", 400, |raw| raw.body(deep("[", "")));
    cases.sheets("a number of 10,000 digits", Stored, |raw| raw.body(format!(r#"{{"Raw":{}}}"#, "9".repeat(10_000))));
}
