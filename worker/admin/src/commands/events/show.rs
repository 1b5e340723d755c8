//! `worker events show`.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use shared::time::rfc3339;
use worker_core::deliveries::Reader;
use worker_core::deliveries::story::{Now, Says, Story, Touched};

use super::chosen::{From, unreadable};
use super::line::Line;
use crate::terminal::{CommandError, Output, print, print_block, print_json};

pub(super) const EXAMPLES: &str = "Examples:
  worker events show 72d3162e-cc78-11e3-81ab-4c9367dc0958
  worker events show github:PES11A:72d3162e-cc78-11e3-81ab-4c9367dc0958
  worker events show 1795455723511042 --payload";

/// How long the event stream is searched.
const SEARCH: Duration = Duration::from_secs(120);

/// How many documents of a delivery are looked at.
const DOCUMENTS: usize = 200;

/// Which delivery.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The delivery's id as its sender shows it (X-GitHub-Delivery; ingress's answer names it, too), its sequence in
    /// LD_EVENTS, or its Nats-Msg-Id.
    id: String,
    /// Also its payload and its author: personal data.
    #[arg(long)]
    payload: bool,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    from: From,
}

pub(super) async fn run(options: Options) -> Result<(), CommandError> {
    let (reader, _connection) = options.from.open().await?;
    let found = reader.find(&options.id, SEARCH).await.map_err(unreadable)?;
    if found.is_empty() {
        let what = format!("no delivery {} is known here", options.id);
        let advice = match found.complete {
            true => {
                "Either it never reached ingress, or it is older than the event stream; of refused ones only each team's \
                 last 20 are kept. `worker events list` shows what came, `worker redeliver` asks GitHub and Taiga for what did not"
            }
            false => "Not the whole event stream was searched: give the Nats-Msg-Id (<source>:<prj>:<delivery>)",
        };
        return Err(CommandError::not_found(what, advice));
    }
    let mut is_first = true;
    let mut gap = || {
        if !std::mem::take(&mut is_first) && options.output == Output::Table {
            print("");
        }
    };
    for refusal in &found.refusals {
        gap();
        let line = Line::of_refusal(refusal);
        match options.output {
            Output::Json => print_json(&line.json()),
            Output::Table => {
                pair("delivery", line.delivery());
                pair("sent to", format_args!("{} of {}", line.source, line.prj()));
                pair("refused at", rfc3339(refusal.at));
                pair("reason", &refusal.reason);
                if !refusal.verified {
                    pair("note", "its signature was not right, so anyone can have sent it");
                }
            }
        }
    }
    for event in found.events {
        gap();
        let outcomes = reader.outcomes(Some(&event.prj)).await.map_err(unreadable)?;
        let story = reader.story(&outcomes, event, DOCUMENTS).await.map_err(unreadable)?;
        tell(&reader, &story, &options).await?;
    }
    Ok(())
}

async fn tell(reader: &Reader, story: &Story, options: &Options) -> Result<(), CommandError> {
    let (headers, payload) = reader.contents(story.delivery.sequence).await.map_err(unreadable)?;
    let line = Line::of(story);
    if options.output == Output::Json {
        print_json(&of(story, &line, &headers, &payload, options.payload));
        return Ok(());
    }
    pair("delivery", line.delivery());
    pair("event", format_args!("{} {} of {}", line.source, line.event(), line.prj()));
    pair("sequence", story.delivery.sequence);
    pair("received at", rfc3339(story.delivery.received_at));
    let detail = line.detail();
    pair(
        "state",
        if detail.is_empty() { line.state.as_str().to_owned() } else { format!("{}; {detail}", line.state.as_str()) },
    );
    if let Some(error) = &story.error {
        pair("error", error);
    }
    print("documents");
    story
        .documents
        .iter()
        .for_each(|document| print(format_args!("  {}", document_line(document, &story.delivery.id))));
    if story.more_documents > 0 {
        print(format_args!("  and {} more", story.more_documents));
    }
    if story.documents.is_empty() {
        print("  none");
    }
    print("notifications");
    for notified in &story.notifications {
        let author = if options.payload { format!(" of {:?}", notified.author_login) } else { String::new() };
        let model = notified.quality_model.as_ref().map(|model| format!(", quality model {model}")).unwrap_or_default();
        let outcome = match (notified.accepted, notified.last_accepted) {
            (true, Some(at)) => format!("accepted; LD Eval accepted the last one of this type at {}", rfc3339(at)),
            (true, None) => "accepted".to_owned(),
            (false, _) => "waits".to_owned(),
        };
        print(format_args!("  {}{author}{model}: {outcome}", notified.event_type));
    }
    if story.notifications.is_empty() {
        let why =
            if story.delivery.read_at.is_some() { "  none: reconciliation notifies once at its end" } else { "  none" };
        print(why);
    }
    if let Some(letter) = &story.dead_letter {
        print("dead letter");
        print(format_args!("  {}: {}, after {} attempts: {}", letter.id, letter.reason, letter.attempts, letter.error));
        print(format_args!("  worker dead-letters show {0}; worker dead-letters redrive --id {0}", letter.id));
    }
    print("headers");
    headers.iter().for_each(|(name, value)| print(format_args!("  {name}: {value}")));
    if options.payload {
        print("payload");
        print_block(&String::from_utf8_lossy(&payload));
    } else {
        print(format_args!("payload of {} bytes: --payload shows it", payload.len()));
    }
    Ok(())
}

fn pair(name: &str, value: impl std::fmt::Display) {
    print(format_args!("{name:<12} {value}"));
}

fn document_line(document: &Touched, delivery: &str) -> String {
    let Touched { collection, key, says, now, .. } = document;
    let says = match (says, now) {
        (Says::View, _) => "what documents show of it",
        (Says::Removed, Some(Now::Absent)) => "removed",
        (Says::Removed, Some(_)) => "says that it is gone; a newer delivery shows it again",
        (Says::Removed, None) => "says that it is gone",
        (Says::State, Some(Now::Ours)) => "shows this delivery",
        (Says::State, Some(Now::Other(other))) if other == delivery => "shows this delivery",
        (Says::State, Some(Now::Other(other))) => return format!("{collection}  {key}: shows delivery {other}"),
        (Says::State, Some(Now::Absent)) => "not there",
        (Says::State, None) => "MongoDB could not be asked",
    };
    format!("{collection}  {key}: {says}")
}

fn of(story: &Story, line: &Line, headers: &[(String, String)], payload: &[u8], personal: bool) -> Value {
    let mut shown = line.json();
    let headers: Map<String, Value> =
        headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let notifications: Vec<Value> = story
        .notifications
        .iter()
        .map(|notified| {
            let mut one = json!({
                "event_type": notified.event_type, "quality_model": notified.quality_model,
                "accepted": notified.accepted, "last_accepted": notified.last_accepted.map(rfc3339),
            });
            if personal {
                one["author_login"] = notified.author_login.as_str().into();
            }
            one
        })
        .collect();
    shown["headers"] = headers.into();
    shown["documents"] = json!(story.documents);
    shown["more_documents"] = story.more_documents.into();
    shown["notifications"] = notifications.into();
    shown["bytes"] = payload.len().into();
    if personal {
        // As text: it may not be JSON, and its bytes are what matters.
        shown["payload"] = String::from_utf8_lossy(payload).into();
    }
    shown
}
