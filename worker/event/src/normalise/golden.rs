//! Golden files: `worker/event/testdata/<source>/<what_it_proves>.json` beside `.expected.json`.
//!
//! An input is an envelope without its boilerplate: `event`, optionally `quality_model`, `received_at`, `sequence`,
//! `read_at` (of the API), and either `payload` (JSON, byte by byte as in the file) or `text` (a payload that is not
//! JSON). `BLESS=1 cargo test -p worker-event golden` rewrites the expected files; read the difference before you
//! commit it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bson::{Bson, Document, doc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use vocabulary::envelope::Envelope;
use vocabulary::ids::{Project, QualityModel};
use vocabulary::source::Source;

use super::{MEASURE_FROM, Settings, normalise};
use crate::effect::{Effect, Normalised, Order, Reject, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    event: String,
    quality_model: Option<QualityModel>,
    received_at: Option<i64>,
    sequence: Option<i64>,
    read_at: Option<i64>,
    payload: Option<Box<RawValue>>,
    text: Option<String>,
}

pub(super) struct Golden {
    pub(super) path: PathBuf,
    pub(super) envelope: Envelope,
    pub(super) sequence: i64,
}

/// Every input under `testdata`, in the order of their names.
pub(super) fn goldens() -> Vec<Golden> {
    let mut out = Vec::new();
    for source in Source::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(source.as_str());
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.retain(|path| !path.to_string_lossy().ends_with(".expected.json"));
        for path in paths {
            assert_eq!(path.extension(), Some(OsStr::new("json")), "{} is no golden file", path.display());
            let text = fs::read_to_string(&path).unwrap();
            let input: Input =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let payload = match (&input.payload, input.text) {
                (Some(payload), None) => payload.get().to_owned(),
                (None, Some(text)) => text,
                _ => panic!("{}: either a payload or a text", path.display()),
            };
            let envelope = Envelope {
                source,
                project: Project::new("TeamA").unwrap(),
                event: input.event,
                delivery: "d".to_owned(),
                quality_model: input.quality_model,
                received_at: input.received_at.unwrap_or(1_800_000_000_000),
                traceparent: None,
                origin_sequence: None,
                read_at: input.read_at,
                payload: payload.into(),
            };
            out.push(Golden { path, envelope, sequence: input.sequence.unwrap_or(7) });
        }
    }
    out
}

#[test]
fn every_golden_file_shows_what_it_proves() {
    let bless = option_env!("BLESS").is_some();
    let goldens = goldens();
    assert!(goldens.len() >= 40, "only {} golden files: testdata is not where it was", goldens.len());
    let mut wrong = Vec::new();
    for golden in goldens {
        let actual = readable(normalise(&golden.envelope, golden.sequence, &Settings::default()));
        let path = golden.path.with_extension("expected.json");
        let expected = fs::read(&path).unwrap_or_default();
        // As values, because the order of fields means nothing; 5 and 5.0 differ as values too.
        if serde_json::from_slice(&expected).ok().as_ref() == Some(&actual) {
            continue;
        }
        let text = format!("{actual:#}\n");
        if bless {
            fs::write(&path, text).unwrap();
        } else {
            wrong.push(format!("{} should be\n{text}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expected_file_has_its_input() {
    let inputs: Vec<PathBuf> =
        goldens().into_iter().map(|golden| golden.path.with_extension("expected.json")).collect();
    for source in Source::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(source.as_str());
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let expected = path.to_string_lossy().ends_with(".expected.json");
            assert!(!expected || inputs.contains(&path), "{} has no input", path.display());
        }
    }
}

/// Output as relaxed extended JSON, one field a line: `5` is an integer and `5.0` a double.
fn readable(result: Result<Normalised, Reject>) -> Value {
    match result {
        Ok(Normalised { effects, notifications }) => {
            let effects: Vec<Bson> = effects.into_iter().map(|effect| describe(effect).into()).collect();
            let notifications = serde_json::to_value(notifications).unwrap();
            serde_json::json!({
                "effects": Bson::Array(effects).into_relaxed_extjson(),
                "notifications": notifications,
            })
        }
        Err(reject) => {
            serde_json::json!({ "reject": reject.reason().as_str(), "error": reject.to_string() })
        }
    }
}

pub(super) fn describe(effect: Effect) -> Document {
    let at = |order: Order| doc! { "t": order.t, "s": order.s, "r": order.r };
    match effect {
        Effect::State(State { kind, key, order, read, fields, action, milestone, story }) => {
            let mut state =
                doc! { "state": kind.collection("TeamA"), "key": key, "order": at(order), "fields": fields };
            state.extend(read.map(|read| ("read".to_owned(), at(read).into())));
            state.extend(action.map(|action| ("action".to_owned(), action.into())));
            state.extend(milestone.map(|milestone| ("milestone".to_owned(), milestone)));
            let story = story.map(|story| doc! { "id": story.id, "is_closed": story.is_closed });
            state.extend(story.map(|story| ("story".to_owned(), story.into())));
            state
        }
        Effect::Gone { kind, key, order } => {
            doc! { "gone": kind.collection("TeamA"), "key": key, "order": at(order) }
        }
        Effect::Superseded { kind, key, order } => {
            doc! { "superseded": kind.collection("TeamA"), "key": key, "order": at(order) }
        }
        Effect::Linked { story, epic, order, created } => {
            doc! { "linked": story, "epic": epic, "order": at(order), "created": created }
        }
        Effect::Unlinked { story, epic, order } => {
            doc! { "unlinked": story, "epic": epic, "order": at(order) }
        }
        Effect::Milestone { id, order, fields } => {
            doc! { "milestone": id, "order": at(order), "fields": fields }
        }
        Effect::MilestoneGone { id, order } => doc! { "milestone_gone": id, "order": at(order) },
        Effect::EpicName { id, order, fields } => doc! { "epic": id, "order": at(order), "fields": fields },
        Effect::Renamed { from, to, order } => doc! { "renamed": from, "to": to, "order": at(order) },
    }
}

#[test]
fn a_document_over_15_mib_is_refused() {
    let golden = goldens().remove(0);
    let check = |source: Source, event: &str, payload: String| {
        let envelope = Envelope { source, event: event.to_owned(), payload: payload.into(), ..golden.envelope.clone() };
        normalise(&envelope, 1, &Settings::default()).map(drop)
    };
    let row =
        |comment: usize| check(Source::Excel, "sheets_activity", format!(r#"{{"comment":"{}"}}"#, "x".repeat(comment)));
    assert_eq!(row(14 * 1024 * 1024), Ok(()));
    assert!(matches!(row(16 * 1024 * 1024), Err(Reject::Unstorable(_))));
    // The most BSON that JSON can become, at both sides of where measuring begins and of what fits.
    let story = |digits: usize| {
        let list = vec!["0"; digits].join(",");
        check(
            Source::Taiga,
            "userstory",
            format!(r#"{{"data":{{"id":1,"custom_attributes_values":{{"Priority":[{list}]}}}}}}"#),
        )
    };
    assert_eq!(story(MEASURE_FROM / 2 + 50_000), Ok(()));
    assert!(matches!(story(700_000), Err(Reject::Unstorable(_))));
}

#[test]
fn what_other_documents_show_of_a_milestone_is_small() {
    let golden = goldens().remove(0);
    let check = |name: usize| {
        let payload = format!(r#"{{"action":"change","data":{{"id":1,"name":"{}"}}}}"#, "x".repeat(name));
        let (source, event) = (Source::Taiga, "milestone".to_owned());
        let envelope = Envelope { source, event, payload: payload.into(), ..golden.envelope.clone() };
        normalise(&envelope, 1, &Settings::default()).map(drop)
    };
    assert_eq!(check(200_000), Ok(()));
    assert!(matches!(check(9_000_000), Err(Reject::Unstorable(_))));
}
