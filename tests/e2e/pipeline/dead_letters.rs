//! What cannot be processed is kept with everything needed to look at it, and holds up nothing.

use std::time::Duration;

use anyhow::ensure;
use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::StreamMessage;
use bson::doc;
use bytes::Bytes;
use futures::StreamExt as _;
use harness::sender::{Delivery, github};
use harness::stack::Stack;
use serde_json::{Value, json};
use shared::config::StreamArgs;
use shared::envelope::Envelope;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology};

use crate::observe::{push, send, stored};
use crate::{LONG, SOON, only_ingress};

/// A message as an operator's tool or a broken producer might put it into the stream.
#[derive(Clone)]
struct Raw {
    subject: String,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

impl Raw {
    /// As ingress would write it, of project `Team`.
    fn new(stack: &Stack, source: Source, event: &str, payload: impl Into<Bytes>) -> Self {
        let envelope = Envelope {
            source,
            project: Project::new("Team").unwrap(),
            event: event.to_owned(),
            delivery: harness::sender::delivery::guid(),
            quality_model: None,
            received_at: 1_795_455_723_511,
            traceparent: None,
            origin_sequence: None,
            read_at: None,
            payload: payload.into(),
        };
        let (headers, payload) = envelope.encode();
        let subject = format!("{}.ld.events.{source}.Team.{event}", stack.prefix);
        Self { subject, headers: Some(headers), payload }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Puts it into `LD_EVENTS`; gives its sequence.
    async fn publish(&self, stack: &Stack) -> u64 {
        let jetstream = stack.jetstream().await.unwrap();
        let (subject, payload) = (self.subject.clone(), self.payload.clone());
        let ack = match self.headers.clone() {
            Some(headers) => jetstream.publish_with_headers(subject, headers, payload).await,
            None => jetstream.publish(subject, payload).await,
        };
        ack.unwrap().await.unwrap().sequence
    }
}

fn header<'a>(message: &'a StreamMessage, name: &str) -> &'a str {
    message.headers.get(name).map_or("", |value| value.as_str())
}

/// Waits for that many dead letters, then makes sure that everything else is settled too.
async fn dead_letters(stack: &Stack, wanted: usize) -> Vec<StreamMessage> {
    let dead_lettered = async || {
        let dead_letters = stack.dead_letters().await?;
        ensure!(dead_letters.len() == wanted, "{} of {wanted} dead letters", dead_letters.len());
        stack.nothing_pending().await?;
        Ok(dead_letters)
    };
    stack.eventually("the poison is dead-lettered and the rest is done", LONG, dead_lettered).await.unwrap()
}

/// The dead letter has the bytes and headers of the message, and says what happened to it.
fn is_a_true_copy(dead_letter: &StreamMessage, raw: &Raw, sequence: u64, reason: &str, attempts: u32) {
    let of = |text: &str| format!("{text} of the letter for {reason}, sequence {sequence}");
    assert!(dead_letter.payload == raw.payload, "{} differ", of("the bytes"));
    for (name, values) in raw.headers.iter().flat_map(HeaderMap::iter) {
        let name = name.to_string();
        let kept = if name == "Nats-Msg-Id" { "LD-Dead-Msg-Id" } else { &name };
        assert_eq!(header(dead_letter, kept), values.first().map_or("", |value| value.as_str()), "{}", of(&name));
    }
    assert_eq!(header(dead_letter, "LD-Dead-Reason"), reason, "{}", header(dead_letter, "LD-Dead-Error"));
    assert!(!header(dead_letter, "LD-Dead-Error").is_empty(), "{}", of("the error"));
    assert_eq!(header(dead_letter, "LD-Dead-Subject"), raw.subject);
    assert_eq!(header(dead_letter, "LD-Dead-Attempts"), attempts.to_string(), "{}", of("attempts"));
    let time = |name: &str| header(dead_letter, name).parse::<jiff::Timestamp>().unwrap();
    assert!(time("LD-Dead-First-At") <= time("LD-Dead-At"), "{}", of("times"));
}

/// Poison of every kind, with the reason under which it must be listed.
fn poison(stack: &Stack) -> Vec<(Raw, &'static str)> {
    let event = |event: &str, body: &Value| Raw::new(stack, Source::Github, event, body.to_string());
    let issue = github::issue(1, "opened", "2026-11-23T17:42:03Z");
    let mut anonymous = issue.clone();
    anonymous["issue"]["number"] = Value::Null;
    let mut shapeless = issue.clone();
    shapeless["issue"] = json!("no object");
    let mut huge = issue.clone();
    huge["issue"]["body"] = json!("x".repeat(17 * 1024 * 1024));
    let large = zstd::encode_all(&vec![b' '; 300 * 1024][..], 1).unwrap();
    let bomb = zstd::encode_all(&vec![b' '; 26 * 1024 * 1024][..], 1).unwrap();
    let bare = Raw { headers: None, ..event("issues", &issue) };
    vec![
        (event("issues", &issue).payload("not JSON"), "unreadable"),
        (event("issues", &issue).payload(""), "unreadable"),
        (event("issues", &issue).payload(&b"\xff\xfe{}"[..]), "unreadable"),
        (event("issues", &shapeless), "unreadable"),
        (event("issues", &anonymous), "no_identity"),
        (bare, "unreadable"),
        (event("issues", &issue).header("LD-Version", "99"), "unreadable"),
        (event("issues", &issue).header("LD-Received-At", "yesterday"), "unreadable"),
        (event("issues", &issue).header("LD-Project", "not a name"), "unreadable"),
        (event("issues", &issue).header("Content-Encoding", "br"), "unreadable"),
        (event("issues", &issue).header("Content-Encoding", "zstd"), "unreadable"),
        (
            event("issues", &issue).header("Content-Encoding", "zstd").payload(large[..large.len() / 2].to_vec()),
            "unreadable",
        ),
        (event("issues", &issue).header("Content-Encoding", "zstd").payload(bomb), "unreadable"),
        (event("star", &issue), "unknown_event"),
        (event("issues", &huge), "unstorable"),
    ]
}

#[tokio::test]
async fn poison_becomes_a_dead_letter_at_once_with_all_that_is_known_and_delays_nothing() {
    let stack = Stack::start().await.unwrap();
    let poison = poison(&stack);
    // Frozen, so that poison and good events come in the same batches.
    stack.worker().process.freeze().unwrap();
    let mut sequences = Vec::new();
    for (n, (raw, _)) in (0..).zip(&poison) {
        send(&stack, &push("Team", n)).await;
        sequences.push(raw.publish(&stack).await);
    }
    send(&stack, &push("Team", 99)).await;
    let pid = stack.worker().process.pid();
    stack.worker().process.thaw().unwrap();
    stored(&stack, "Team", poison.len() + 1, LONG).await;
    let dead_letters = dead_letters(&stack, poison.len()).await;
    for ((raw, reason), sequence) in poison.iter().zip(sequences) {
        let dead_letter =
            dead_letters.iter().find(|dead_letter| header(dead_letter, "LD-Dead-Sequence") == sequence.to_string());
        is_a_true_copy(dead_letter.unwrap(), raw, sequence, reason, 1);
    }
    assert_eq!(stack.worker().process.pid(), pid);
    assert!(stack.documents("github_Team.issues").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_document_that_mongodb_refuses_takes_no_other_event_of_its_batch_or_entity_with_it() {
    let stack = Stack::start().await.unwrap();
    let db = stack.db().await.unwrap();
    let forbidden = doc! { "issue.title": { "$ne": "forbidden" } };
    db.create_collection("github_Team.issues").validator(forbidden).await.unwrap();
    let issue = |number: u64, at: &str, title: &str| {
        let mut body = github::issue(number, "edited", at);
        body["issue"]["title"] = json!(title);
        Delivery::github("issues", &body)
    };
    stack.worker().process.freeze().unwrap();
    for delivery in [
        issue(1, "2026-11-23T10:00:00Z", "first"),
        issue(1, "2026-11-23T11:00:00Z", "second"),
        issue(1, "2026-11-23T12:00:00Z", "forbidden"),
        issue(2, "2026-11-23T10:00:00Z", "another"),
        issue(3, "2026-11-23T10:00:00Z", "forbidden"),
    ] {
        send(&stack, &delivery).await;
    }
    stack.worker().process.thaw().unwrap();
    let mut dead_letters = dead_letters(&stack, 2).await;
    // Two lanes may hold one each, and dead-letter them in either order.
    dead_letters.sort_by(|a, b| header(a, "LD-Dead-Sequence").cmp(header(b, "LD-Dead-Sequence")));
    for (dead_letter, sequence) in dead_letters.iter().zip(["3", "5"]) {
        assert_eq!(header(dead_letter, "LD-Dead-Reason"), "unstorable");
        assert_eq!(header(dead_letter, "LD-Dead-Sequence"), sequence);
    }
    let mut titles: Vec<_> = stack.documents("github_Team.issues").await.unwrap();
    titles
        .sort_by_key(|issue| issue.get_i32("issue_id").map_or_else(|_| issue.get_i64("issue_id").unwrap(), i64::from));
    let titles: Vec<_> =
        titles.iter().map(|issue| issue.get_document("issue").unwrap().get_str("title").unwrap()).collect();
    assert_eq!(titles, ["second", "another"]);
}

#[tokio::test]
async fn poison_at_a_sequence_where_a_lost_stream_had_some_becomes_a_dead_letter_too() {
    let stack = Stack::start().await.unwrap();
    let poison = |text: &str| Raw::new(&stack, Source::Github, "issues", "{}").payload(text.to_owned());
    let first = poison("first");
    assert_eq!(first.publish(&stack).await, 1);
    dead_letters(&stack, 1).await;
    let name = format!("{}_LD_EVENTS", stack.prefix);
    stack.jetstream().await.unwrap().delete_stream(&name).await.unwrap();
    stack.eventually("the stream is made again", SOON, async || stack.stream("LD_EVENTS").await).await.unwrap();
    let second = poison("second");
    assert_eq!(second.publish(&stack).await, 1);
    let dead_letters = dead_letters(&stack, 2).await;
    is_a_true_copy(&dead_letters[0], &first, 1, "unreadable", 1);
    is_a_true_copy(&dead_letters[1], &second, 1, "unreadable", 1);
}

/// The workers' consumer, made as the first worker would make it.
async fn consumer(stack: &Stack) -> PullConsumer {
    let limits =
        StreamArgs { ld_events_max_age: Duration::ZERO, ld_events_max_bytes: Default::default(), ld_replicas: 1 };
    let topology = Topology::new(Some(&stack.prefix), limits);
    topology.consumer(&stack.jetstream().await.unwrap(), StreamName::Events).await.unwrap()
}

/// Takes that many messages and hands them back, as often as workers die of them.
async fn die(consumer: &PullConsumer, messages: usize, times: usize) {
    for _ in 0..times {
        let mut taken = consumer.batch().max_messages(messages).expires(SOON).messages().await.unwrap();
        for _ in 0..messages {
            taken.next().await.unwrap().unwrap().double_ack_with(AckKind::Nak(None)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_event_that_kills_every_worker_becomes_a_dead_letter_and_one_that_kills_some_does_not() {
    let mut stack = only_ingress().await;
    let killer = Raw::new(&stack, Source::Github, "push", push("Team", 1).json);
    let sequence = killer.publish(&stack).await;
    let consumer = consumer(&stack).await;
    die(&consumer, 1, 14).await;
    send(&stack, &push("Team", 2)).await;
    die(&consumer, 2, 10).await;
    stack.add_worker().await.unwrap();
    let dead_letters = dead_letters(&stack, 1).await;
    is_a_true_copy(&dead_letters[0], &killer, sequence, "redelivered_too_often", 25);
    let stored = stack.document("github_Team.commits").await.unwrap();
    assert_eq!(stored.get_str("sha").unwrap(), github::sha(2));
}
