//! What cannot be processed is kept with everything needed to look at it, and holds up nothing.

use anyhow::ensure;
use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::StreamExt as _;
use harness::sender::github;
use harness::stack::Stack;
use serde_json::{Value, json};
use shared::config::StreamArgs;
use shared::envelope::{self, Envelope};
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
        let (headers, payload) = envelope::encode(&envelope);
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
async fn poison_in_a_stream_that_was_created_again_becomes_a_dead_letter_too() {
    let stack = Stack::start().await.unwrap();
    let poison = |text: &str| Raw::new(&stack, Source::Github, "issues", "{}").payload(text.to_owned());
    let first = poison("first");
    let first_sequence = first.publish(&stack).await;
    dead_letters(&stack, 1).await;
    let name = format!("{}_LD_EVENTS", stack.prefix);
    stack.jetstream().await.unwrap().delete_stream(&name).await.unwrap();
    stack.eventually("the stream is made again", SOON, async || stack.stream("LD_EVENTS").await).await.unwrap();
    let second = poison("second");
    let second_sequence = second.publish(&stack).await;
    assert!(second_sequence > first_sequence, "numbers go on: {second_sequence} after {first_sequence}");
    let dead_letters = dead_letters(&stack, 2).await;
    is_a_true_copy(&dead_letters[0], &first, first_sequence, "unreadable", 1);
    is_a_true_copy(&dead_letters[1], &second, second_sequence, "unreadable", 1);
}

/// The workers' consumer, made as the first worker would make it.
async fn consumer(stack: &Stack) -> PullConsumer {
    let topology = Topology::new(Some(&stack.prefix), StreamArgs::default());
    topology.consumer(&stack.jetstream().await.unwrap(), StreamName::Events).await.unwrap()
}

/// Pulls that many messages and negative-acknowledges them, as stopping workers do.
async fn hand_back(consumer: &PullConsumer, messages: usize, times: usize) {
    for _ in 0..times {
        let mut taken = consumer.batch().max_messages(messages).expires(SOON).messages().await.unwrap();
        for _ in 0..messages {
            taken.next().await.unwrap().unwrap().double_ack_with(AckKind::Nak(None)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_event_that_was_negative_acknowledged_thirty_times_is_stored() {
    let mut stack = only_ingress().await;
    send(&stack, &push("Team", 1)).await;
    let consumer = consumer(&stack).await;
    hand_back(&consumer, 1, 30).await;
    send(&stack, &push("Team", 2)).await;
    hand_back(&consumer, 2, 5).await;
    stack.add_worker().await.unwrap();
    stored(&stack, "Team", 2, SOON).await;
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}
