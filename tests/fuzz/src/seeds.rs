//! Where mutation begins: what senders really send, the worker's golden inputs, and what has failed before.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::source::Source;

use super::Target;
use harness::paths::workspace;
use harness::sender::{self, Delivery, Secrets, github, sheets, taiga};

/// All seeds of a target, always in the same order.
pub(super) fn of(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = match target.name {
        "signature" => signatures(),
        "form" => forms(),
        "envelope" => envelopes(),
        _ => payloads(target.source),
    };
    seeds.push(Vec::new());
    seeds.extend(failed_before(target));
    seeds
}

/// What fuzzing has found, and was fixed.
pub(super) fn failed_before(target: &Target) -> Vec<Vec<u8>> {
    files(&workspace().join("tests/fuzz/corpus").join(target.name))
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn deliveries() -> Vec<Delivery> {
    let date = "2026-11-23T17:42:03.511Z";
    let story = taiga::userstory(1, "As a user I want it so that it works");
    vec![
        Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "task #1")])),
        Delivery::github("issues", &github::issue(1, "opened", date)),
        Delivery::github("pull_request", &github::pull_request(1, "closed", date)),
        Delivery::taiga(&taiga::event("userstory", "create", date, story.clone())),
        Delivery::taiga(&taiga::event("task", "change", date, taiga::task(1, "x", story.clone()))),
        Delivery::taiga(&taiga::event("issue", "delete", date, taiga::issue(1, "x"))),
        Delivery::taiga(&taiga::event("milestone", "change", date, taiga::milestone(5, "Sprint"))),
        Delivery::taiga(&taiga::event("relateduserstory", "create", date, taiga::related(story.clone(), story))),
        Delivery::sheets(&sheets::row(1)),
    ]
}

fn payloads(source: Option<Source>) -> Vec<Vec<u8>> {
    let of_source = |delivery: &Delivery| source.is_none_or(|source| source.as_str() == delivery.source.as_str());
    let mut all: Vec<_> = deliveries().iter().filter(|d| of_source(d)).map(|d| d.json.to_vec()).collect();
    for source in Source::ALL.into_iter().filter(|this| source.is_none_or(|source| source == *this)) {
        for golden in files(&workspace().join("worker/event/testdata").join(source.as_str())) {
            let payload = serde_json::from_slice::<Value>(&golden).ok().and_then(|golden| match &golden["payload"] {
                Value::Null => None,
                Value::String(text) => Some(text.clone().into_bytes()),
                json => Some(json.to_string().into_bytes()),
            });
            all.extend(payload);
        }
    }
    all
}

/// Header lines, each with its end.
fn signatures() -> Vec<Vec<u8>> {
    let secrets = Secrets { excel: Some("x".to_owned()), ..Secrets::default() };
    let line = |(name, value): &(String, String)| format!("{name}: {value}\n");
    let requests = deliveries().into_iter().map(|delivery| delivery.request(&secrets));
    requests.map(|request| request.headers.iter().map(line).collect::<String>().into_bytes()).collect()
}

fn forms() -> Vec<Vec<u8>> {
    let forms = deliveries().into_iter().filter(|delivery| delivery.source == sender::Source::Github);
    let mut all: Vec<_> = forms.map(|delivery| delivery.form().request(&Secrets::default()).body.to_vec()).collect();
    all.extend([&b"payload=%7B%7D"[..], b"a=b&payload={}&c", b"%70ayload=+", b"payload=%FF%00"].map(<[u8]>::to_vec));
    all
}

/// The product's name of who sends.
fn shared_source(delivery: &Delivery) -> Source {
    let same = |source: &Source| source.as_str() == delivery.source.as_str();
    Source::ALL.into_iter().find(same).unwrap_or(Source::Github)
}

/// Header lines, an empty line, the payload.
fn envelopes() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (size, delivery) in deliveries().into_iter().enumerate() {
        let Ok(project) = Project::new("Team") else { continue };
        // Some are large enough to be compressed.
        let filling = if size % 3 == 0 { " ".repeat(envelope::COMPRESS_OVER + 1) } else { String::new() };
        let envelope = Envelope {
            source: shared_source(&delivery),
            project,
            event: "push".to_owned(),
            delivery: delivery.id,
            quality_model: "AMEP".parse().ok(),
            received_at: 1_795_455_723_511,
            traceparent: Some("00-x".to_owned()),
            origin_sequence: Some(7),
            read_at: None,
            payload: [filling.as_bytes(), &delivery.json].concat().into(),
        };
        let (headers, payload) = envelope::encode(&envelope);
        let mut lines: Vec<_> = headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {}\n", value.as_str())))
            .collect();
        // A map has no order of its own, and seeds must.
        lines.sort();
        all.push([lines.concat().as_bytes(), b"\n", &payload[..]].concat());
    }
    all
}
