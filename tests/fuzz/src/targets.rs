//! What must hold for every input.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_nats::HeaderMap as NatsHeaders;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bson::{Bson, Document, doc};
use bytes::Bytes;
use ingress::webhook::inspect::Inspected;
use ingress::webhook::signature::Claim;
use ingress::webhook::source::{claim, inspect};
use serde::de::IgnoredAny;
use shared::envelope::{self, Envelope};
use shared::hash::hex;
use shared::ids::Project;
use shared::source::Source;
use worker_event::effect::{Effect, Normalised, State};
use worker_event::normalise::{Settings, normalise};

/// One thing that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder of old failures.
    pub name: &'static str,
    /// Whose payloads it takes, where that matters.
    pub(super) source: Option<Source>,
    pub(super) check: fn(&[u8]) -> Result<String, String>,
}

pub const ALL: [Target; 7] = [
    Target { name: "signature", source: None, check: signature },
    Target { name: "envelope", source: None, check: envelope },
    Target { name: "form", source: None, check: form },
    Target { name: "inspect", source: None, check: inspected },
    Target { name: "github", source: Some(Source::Github), check: |input| normalised(Source::Github, input) },
    Target { name: "taiga", source: Some(Source::Taiga), check: |input| normalised(Source::Taiga, input) },
    Target { name: "excel", source: Some(Source::Excel), check: |input| normalised(Source::Excel, input) },
];

/// `Name: value` lines; what is no header is left out, as HTTP would have refused it.
fn lines(input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    input.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// A claim is what its header says, digit by digit: nothing else is ever read as a signature.
fn signature(input: &[u8]) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines(input) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let says = |name: &str, value: String| {
        let all: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if all == [value.as_bytes()] { Ok(()) } else { Err(format!("{name} was read as {value}")) }
    };
    let mut outcome = String::new();
    for source in Source::ALL {
        let claimed = claim(source, &headers);
        outcome += if claimed.is_some() { "+" } else { "-" };
        match claimed {
            Some(Claim::Signed { sha1, sha256 }) => match (source, sha1, sha256) {
                (Source::Github, Some(sha1), Some(sha256)) => {
                    says("x-hub-signature", format!("sha1={}", hex(sha1)))?;
                    says("x-hub-signature-256", format!("sha256={}", hex(sha256)))?;
                }
                (Source::Taiga, Some(sha1), None) => says("x-taiga-webhook-signature", hex(sha1))?,
                (Source::Excel, None, Some(sha256)) => {
                    says("x-sheets-signature", format!("sha256={}", hex(sha256)))?;
                }
                (_, sha1, sha256) => return Err(format!("{sha1:?} and {sha256:?} were claimed of {source}")),
            },
            Some(Claim::Unsigned) => return Err("unsigned where a secret is set".to_owned()),
            None => {}
        }
    }
    Ok(outcome)
}

/// What can be decoded is the same after it was encoded and decoded again.
fn envelope(input: &[u8]) -> Result<String, String> {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, payload) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 2..]));
    let mut headers = NatsHeaders::new();
    for (name, value) in lines(head) {
        let name = std::str::from_utf8(name).ok().and_then(|name| name.parse::<async_nats::HeaderName>().ok());
        let value = std::str::from_utf8(value).ok().and_then(|value| value.parse::<async_nats::HeaderValue>().ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let envelope = match envelope::decode(&headers, &Bytes::copy_from_slice(payload)) {
        Ok(envelope) => envelope,
        Err(error) => return Ok(error.to_string()),
    };
    let (headers, bytes) = envelope::encode(&envelope);
    match envelope::decode(&headers, &bytes) {
        Ok(again) if again == envelope => Ok(format!("{} {}", envelope.source, envelope.quality_model.is_some())),
        Ok(again) => Err(format!("{envelope:?} came back as {again:?}")),
        Err(error) => Err(format!("{envelope:?} was not read again: {error}")),
    }
}

/// A form is read as the standard's reader reads it, but a second payload is refused.
fn form(input: &[u8]) -> Result<String, String> {
    let mut named = form_urlencoded::parse(input).filter(|(name, _)| name == "payload").map(|(_, value)| value);
    let (first, second) = (named.next(), named.next());
    match (ingress::webhook::form::payload(input), first, second) {
        (Ok(ours), Some(theirs), None) if String::from_utf8_lossy(&ours) == theirs => Ok("one".to_owned()),
        (Err(refusal), None, None) | (Err(refusal), Some(_), Some(_)) => Ok(refusal.to_string()),
        (ours, first, second) => Err(format!("{ours:?}, but the standard has {first:?} and {second:?}")),
    }
}

/// What ingress takes is one JSON object, untouched, under an identity that can travel in a header.
fn inspected(input: &[u8]) -> Result<String, String> {
    let mut outcome = String::new();
    for source in Source::ALL {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(kind));
            headers.insert("x-github-event", HeaderValue::from_static("push"));
            let body = Bytes::copy_from_slice(input);
            match inspect(source, &headers, body.clone()) {
                Ok(Inspected::Event { event, delivery, payload }) => {
                    let is_form = source == Source::Github && kind.ends_with("urlencoded");
                    if !is_form && payload != body {
                        return Err("the payload is not the body".to_owned());
                    }
                    let text = std::str::from_utf8(&payload).map_err(|error| error.to_string())?;
                    if !text.trim_ascii_start().starts_with('{') || serde_json::from_str::<IgnoredAny>(text).is_err() {
                        return Err("what was taken is not one JSON object".to_owned());
                    }
                    if delivery.is_empty() || !delivery.bytes().all(|byte| byte.is_ascii_graphic()) {
                        return Err(format!("the identity is {delivery:?}"));
                    }
                    outcome += event;
                }
                Ok(Inspected::Ignored { event })
                    if event.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) =>
                {
                    outcome += "ignored";
                }
                Ok(Inspected::Ignored { event }) => return Err(format!("the ignored event is {event:?}")),
                Err(refusal) => outcome += &refusal.to_string(),
            }
        }
    }
    Ok(outcome)
}

/// What normalising makes can be stored, and normalising again makes the same.
fn normalised(source: Source, input: &[u8]) -> Result<String, String> {
    let mut outcome = String::new();
    for event in source.description().events {
        let envelope = Envelope {
            source,
            project: Project::new("Team").map_err(|error| error.to_string())?,
            event: (*event).to_owned(),
            delivery: "d".to_owned(),
            quality_model: None,
            received_at: 1_795_455_723_511,
            traceparent: None,
            origin_sequence: None,
            read_at: None,
            payload: Bytes::copy_from_slice(input),
        };
        let once = normalise(&envelope, 7, &Settings::default());
        if once != normalise(&envelope, 7, &Settings::default()) {
            return Err(format!("{event}: twice the same is not the same"));
        }
        match once {
            Ok(Normalised { effects, notifications }) => {
                if *event != "repository" && effects.is_empty() != notifications.is_empty() {
                    return Err(format!("{event}: {} effects, {} notifications", effects.len(), notifications.len()));
                }
                outcome += &format!(" {event}{}", effects.len());
                for effect in &effects {
                    outcome += &storable(effect).map_err(|error| format!("{event}: {error}"))?;
                }
            }
            Err(reject) => outcome += &format!(" {}", reject.reason().as_str()),
        }
    }
    Ok(outcome)
}

/// The effect's documents as BSON and back, in a word: a hash of their fields' names and types.
fn storable(effect: &Effect) -> Result<String, String> {
    let document = match effect {
        Effect::State(State { kind, key, fields, action, milestone, story, .. }) => {
            let in_fields: Vec<_> = kind.key_fields().iter().filter_map(|name| fields.get(name)).collect();
            if in_fields != key.iter().collect::<Vec<_>>() {
                return Err(format!("the key is {key:?}, the document says {in_fields:?}"));
            }
            let story = story.as_ref().map(|story| vec![story.id.clone(), story.is_closed.clone().into()]);
            doc! {
                "key": key.clone(), "fields": fields.clone(), "action": action.clone(), "milestone": milestone.clone(),
                "story": story,
            }
        }
        Effect::Gone { key, .. } | Effect::Superseded { key, .. } => doc! { "key": key.clone() },
        Effect::Linked { story, epic, .. } | Effect::Unlinked { story, epic, .. } => {
            doc! { "story": story.clone(), "epic": epic.clone() }
        }
        Effect::Milestone { id, fields, .. } | Effect::EpicName { id, fields, .. } => {
            doc! { "id": id.clone(), "fields": fields.clone() }
        }
        Effect::MilestoneGone { id, .. } => doc! { "id": id.clone() },
        Effect::Renamed { from, to, .. } => doc! { "from": from, "to": to },
    };
    let bytes = document.to_vec().map_err(|error| format!("it cannot be encoded: {error}"))?;
    let raw = bson::RawDocument::from_bytes(&bytes).map_err(|error| format!("it cannot be decoded: {error}"))?;
    let again = Document::try_from(raw).map_err(|error| format!("it cannot be decoded: {error}"))?;
    // Not as values: a NaN is no NaN's equal.
    if again.to_vec().ok().as_deref() != Some(&bytes) {
        return Err(format!("{document} came back as {again}"));
    }
    let mut hasher = DefaultHasher::new();
    let deepest = shape(&Bson::Document(document), 0, &mut hasher);
    // MongoDB takes 100 levels, and a statement is some levels itself.
    if deepest > 96 {
        return Err(format!("it is {deepest} levels deep"));
    }
    Ok(format!("{:x}", hasher.finish() % 256))
}

/// Feeds names and types to the hasher; gives the depth.
fn shape(value: &Bson, depth: usize, hasher: &mut DefaultHasher) -> usize {
    (value.element_type() as u8).hash(hasher);
    match value {
        Bson::Document(fields) => {
            let inner = fields.iter().map(|(name, value)| {
                name.len().min(32).hash(hasher);
                shape(value, depth + 1, hasher)
            });
            inner.max().unwrap_or(depth + 1)
        }
        Bson::Array(values) => values.iter().map(|value| shape(value, depth + 1, hasher)).max().unwrap_or(depth + 1),
        _ => depth,
    }
}
