//! What is in the stream after a 200, byte for byte.

use async_nats::jetstream::message::StreamMessage;
use harness::sender::{Delivery, github, sheets, sign, taiga};
use harness::stack::Stack;
use rand::Rng as _;
use serde_json::json;

use crate::only_ingress;

/// The message that came as the nth, from 1.
async fn message(stack: &Stack, n: u64) -> StreamMessage {
    let stream = stack.stream("LD_EVENTS").await.unwrap();
    stream.get_raw_message(stream.cached_info().state.first_sequence + n - 1).await.unwrap()
}

fn header<'a>(message: &'a StreamMessage, name: &str) -> Option<&'a str> {
    message.headers.get(name).map(|value| value.as_str())
}

#[tokio::test]
async fn subject_headers_and_bytes_are_those_of_the_delivery() {
    let stack = only_ingress().await;
    // Spaces, escapes and an order of keys that no serializer would write again.
    let json = "{ \"zz\" : 1e2,\"type\":\"task\",  \"action\":\"change\", \"date\":\"2026-11-23T17:42:03.511Z\",\n\"data\": {\"id\": 12, \"subject\":\"\\u00e9\\/ é 🐙\"}, \"by\":null }";
    let push = github::push(1, [github::commit(&github::sha(1), "x")]);
    let first = Delivery::github("push", &push).project("Team-A_1").quality_model("AMEP");
    let second = Delivery::taiga(&json!({})).bytes(json).project("B");
    let third = Delivery::sheets(&sheets::row(1)).project("C");
    for delivery in [&first, &second, &third] {
        assert_eq!(stack.sender.send(delivery).await.unwrap().status, 200);
    }
    let prefix = &stack.prefix;

    let stored = message(&stack, 1).await;
    assert_eq!(stored.subject.as_str(), format!("{prefix}.ld.events.github.Team-A_1.push"));
    assert_eq!(header(&stored, "Nats-Msg-Id"), Some(format!("github:Team-A_1:{}", first.id).as_str()));
    assert_eq!(header(&stored, "LD-Source"), Some("github"));
    assert_eq!(header(&stored, "LD-Project"), Some("Team-A_1"));
    assert_eq!(header(&stored, "LD-Event"), Some("push"));
    assert_eq!(header(&stored, "LD-Delivery"), Some(first.id.as_str()));
    assert_eq!(header(&stored, "LD-Quality-Model"), Some("AMEP"));
    assert_eq!(header(&stored, "Content-Encoding"), None);
    assert!(header(&stored, "LD-Received-At").is_some_and(|at| at.ends_with('Z')));
    assert_eq!(stored.payload, first.json);

    let stored = message(&stack, 2).await;
    assert_eq!(stored.subject.as_str(), format!("{prefix}.ld.events.taiga.B.task"));
    assert_eq!(header(&stored, "LD-Quality-Model"), None);
    assert!(header(&stored, "Nats-Msg-Id").is_some_and(|id| id.starts_with("taiga:B:")));
    assert_eq!(stored.payload, json.as_bytes());

    let stored = message(&stack, 3).await;
    assert_eq!(stored.subject.as_str(), format!("{prefix}.ld.events.excel.C.sheets_activity"));
    let id = format!("excel:C:{}", sign::sha256(&third.json));
    assert_eq!(header(&stored, "Nats-Msg-Id"), Some(id.as_str()));
    assert_eq!(stored.payload, third.json);
}

#[tokio::test]
async fn of_a_github_form_the_payload_field_is_stored_and_of_a_sheet_the_json_whatever_it_is_called() {
    let stack = only_ingress().await;
    let mut push = github::push(1, [github::commit(&github::sha(1), "a+b & c=d % é 🐙 \"q\"")]);
    push["repository"]["description"] = json!("1 + 1 = 2");
    let form = Delivery::github("push", &push).form();
    let row = Delivery::sheets(&sheets::row(1)).form();
    for delivery in [&form, &row] {
        assert_eq!(stack.sender.send(delivery).await.unwrap().status, 200);
    }
    assert_eq!(message(&stack, 1).await.payload, form.json);
    assert_eq!(message(&stack, 2).await.payload, row.json);
}

#[tokio::test]
async fn a_content_type_with_a_charset_or_in_capitals_means_the_same() {
    let stack = only_ingress().await;
    let secrets = stack.sender.secrets();
    let push = github::push(1, [github::commit(&github::sha(1), "x")]);
    let form = Delivery::github("push", &push).form().request(secrets);
    let plain = Delivery::github("push", &push).request(secrets);
    let requests = [
        form.with("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
        plain.clone().with("content-type", "application/json; charset=utf-8"),
    ];
    for (sequence, request) in (1..).zip(&requests) {
        assert_eq!(stack.sender.request(request).await.unwrap().status, 200, "{}", request.header("content-type"));
        assert_eq!(message(&stack, sequence).await.payload, plain.body);
    }
}

#[tokio::test]
async fn a_payload_over_256_kib_travels_as_zstd_and_one_of_256_kib_as_it_is() {
    let stack = only_ingress().await;
    for (sequence, size) in (1..).zip([256 * 1024, 256 * 1024 + 1]) {
        let event = taiga::event("userstory", "create", "2026-11-23T17:42:03.511Z", taiga::userstory(size, "x"));
        let json = padded(&event.to_string(), usize::try_from(size).unwrap());
        let answer = stack.sender.send(&Delivery::taiga(&event).bytes(json.clone())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let stored = message(&stack, sequence).await;
        if size > 256 * 1024 {
            assert_eq!(header(&stored, "Content-Encoding"), Some("zstd"));
            assert!(stored.payload.len() < json.len());
            assert_eq!(zstd::stream::decode_all(&stored.payload[..]).unwrap(), json);
        } else {
            assert_eq!(header(&stored, "Content-Encoding"), None);
            assert_eq!(stored.payload, json);
        }
    }
}

#[tokio::test]
async fn a_body_of_exactly_25_mib_that_hardly_shrinks_is_stored_whole() {
    const SIZE: usize = 25 * 1024 * 1024;
    let stack = only_ingress().await;
    // Printable and random: the worst that JSON can do to a compressor.
    let mut random = rand::rng();
    let noise: String = (0..SIZE - 1000).map(|_| char::from(random.random_range(b'#'..=b'['))).collect();
    let mut story = taiga::userstory(1, "x");
    story["description"] = json!("");
    let event = taiga::event("userstory", "create", "2026-11-23T17:42:03.511Z", story).to_string();
    let json = event.replacen("\"description\":\"\"", &format!("\"description\":\"{noise}\""), 1);
    let json = if json.len() > SIZE { cut_noise(&json, &noise, SIZE) } else { padded(&json, SIZE) };
    assert_eq!(json.len(), SIZE);
    let answer = stack.sender.send(&Delivery::taiga(&json!({})).bytes(json.clone())).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let stored = message(&stack, 1).await;
    assert!(zstd::stream::decode_all(&stored.payload[..]).unwrap() == json, "the bytes differ");
}

/// The same JSON object, with spaces before its last brace, of this length.
fn padded(json: &str, length: usize) -> Vec<u8> {
    let object = json.strip_suffix('}').expect("an object");
    format!("{object}{}}}", " ".repeat(length - json.len())).into_bytes()
}

/// The same JSON with so much less noise that it has this length.
fn cut_noise(json: &str, noise: &str, length: usize) -> Vec<u8> {
    json.replacen(noise, &noise[..noise.len() - (json.len() - length)], 1).into_bytes()
}
