//! A provider's payload for an event: few fields, in the provider's shape.
//!
//! Every view of an entity names in some field the event that it came with, so that no two are equal.

use serde_json::{Value, json};
use shared::envelope::Envelope;
use shared::ids::{Project, QualityModel};
use shared::source::Source;
use worker_core::store;
use worker_event::normalise::{Settings, normalise};

use crate::history::{Event, Inside, What};

/// The instant 0 of every history: 2026-11-02T00:00:00Z, in milliseconds since 1970.
pub(crate) const EPOCH: i64 = 1_793_577_600_000;

/// The event as the store takes it, through the worker's own normalisation.
pub(crate) fn normalised(event: &Event, prj: &str) -> store::Event {
    let envelope = envelope(event, prj);
    let normalised = normalise(&envelope, event.sequence, &Settings::default()).unwrap();
    store::Event { prj: prj.to_owned(), delivery: envelope.delivery, effects: normalised.effects }
}

/// The bytes of a row, which are its identity.
pub(crate) fn row(number: u8) -> String {
    json!({ "comment": format!("row {number}"), "configRange": [number, 1] }).to_string()
}

/// The quality model of a row's URL.
pub(crate) fn model(event: &Event) -> Option<String> {
    matches!(event.what, What::Row { model: true, .. }).then(|| format!("M{}", event.sequence))
}

fn envelope(event: &Event, prj: &str) -> Envelope {
    let (source, kind, payload) = match event.what {
        What::Push { .. } => (Source::Github, "push", github(event).to_string()),
        What::Issue { .. } | What::IssueGone { .. } => (Source::Github, "issues", github(event).to_string()),
        What::PullClosed { .. } | What::PullReopened { .. } => {
            (Source::Github, "pull_request", github(event).to_string())
        }
        What::Renamed { .. } => (Source::Github, "repository", github(event).to_string()),
        What::Row { number, .. } => (Source::Excel, "sheets_activity", row(number)),
        _ => {
            let (kind, action, data) = taiga(event);
            let payload = json!({ "type": kind, "action": action, "by": { "username": "nuria" }, "date": date(event), "data": data });
            (Source::Taiga, kind, payload.to_string())
        }
    };
    Envelope {
        source,
        project: Project::new(prj).unwrap(),
        event: kind.to_owned(),
        delivery: format!("delivery-{}", event.sequence),
        quality_model: model(event).map(|model| QualityModel::new(&model).unwrap()),
        received_at: EPOCH + i64::from(event.at) * 1000,
        traceparent: None,
        origin_sequence: None,
        read_at: event.backfill.then(|| EPOCH + i64::from(event.at) * 1000),
        payload: payload.into(),
    }
}

fn date(event: &Event) -> String {
    shared::time::rfc3339(EPOCH + i64::from(event.at) * 1000)
}

/// Type, action, and `data`.
fn taiga(event: &Event) -> (&'static str, &'static str, Value) {
    let by = event.sequence;
    let milestone = |id: u8| json!({ "id": id, "name": format!("told by {by}"), "closed": by % 2 == 0, "estimated_start": "2026-11-02" });
    let item = |id: u8| {
        json!({
            "id": id, "ref": 100 + i32::from(id), "project": { "id": 31, "name": "Marmota" }, "status": { "name": "New" },
            "subject": format!("told by {by}"), "created_date": "2026-11-02T09:15:00.120Z",
        })
    };
    let story = |id: u8, of: Option<u8>| {
        let mut story = item(id);
        story["points"] = json!([{ "value": by }]);
        story["milestone"] = json!(of.map(milestone));
        story["is_closed"] = json!(by % 2 == 0);
        story
    };
    let inside = |one: Inside| match one.whole {
        true => story(one.id, one.milestone),
        // Sometimes it says whether it is closed.
        false if by % 2 == 0 => json!({ "id": one.id, "is_closed": by % 4 == 0 }),
        false => json!({ "id": one.id }),
    };
    let epic = |id: u8, is_whole: bool| {
        let mut epic = item(id);
        if !is_whole {
            epic.as_object_mut().unwrap().remove("status");
        }
        epic
    };
    match event.what {
        What::Story { id, milestone: of } => ("userstory", "change", story(id, of)),
        What::StoryGone { id } => ("userstory", "delete", item(id)),
        What::Task { id, story: of, milestone: in_it } => {
            let mut task = item(id);
            task["user_story"] = json!(of.map(inside));
            task["milestone"] = json!(in_it.map(milestone));
            ("task", "change", task)
        }
        What::TaskGone { id, story: of, promoted } => {
            // It contains the whole task, but is no event of the task.
            let mut task = item(id);
            task["user_story"] = json!(of.map(inside));
            task["promoted_to"] = if promoted { json!([12]) } else { json!([]) };
            ("task", if promoted { "change" } else { "delete" }, task)
        }
        What::Epic { id } => ("epic", "change", item(id)),
        What::EpicGone { id } => ("epic", "delete", item(id)),
        What::Link { story, epic: of, created } => {
            let action = if created { "create" } else { "change" };
            ("relateduserstory", action, json!({ "user_story": inside(story), "epic": epic(of, story.whole) }))
        }
        What::Unlink { story, epic: of } => {
            ("relateduserstory", "delete", json!({ "user_story": inside(story), "epic": epic(of, story.whole) }))
        }
        What::Milestone { id } => ("milestone", "change", milestone(id)),
        What::MilestoneGone { id } => ("milestone", "delete", milestone(id)),
        What::TaigaIssue { id, milestone: of } => {
            let mut issue = item(id);
            issue["milestone"] = json!(of.map(milestone));
            ("issue", "change", issue)
        }
        What::TaigaIssueGone { id } => ("issue", "delete", item(id)),
        other => panic!("{other:?} is not Taiga's"),
    }
}

fn github(event: &Event) -> Value {
    let by = event.sequence;
    let told = |repo: u8, action: &str, name: &str, data: Value| json!({ "action": action, name: data, "repository": repository(repo), "sender": { "id": 1, "login": "nuria" } });
    let updated = shared::time::rfc3339(EPOCH + i64::from(event.updated) * 1000);
    let thing = |number: u8| json!({ "number": number, "title": format!("told by {by}"), "updated_at": updated });
    match event.what {
        What::Issue { repo, number } => told(repo, "edited", "issue", thing(number)),
        What::IssueGone { repo, number, transferred } => {
            let mut issue = thing(number);
            if event.backfill {
                // A list that no longer contains it says nothing about it.
                issue = json!({ "number": number });
            }
            told(repo, if transferred { "transferred" } else { "deleted" }, "issue", issue)
        }
        What::PullClosed { number } => told(1, "closed", "pull_request", thing(number)),
        What::PullReopened { number } => told(1, "reopened", "pull_request", thing(number)),
        What::Renamed { from, to } => {
            let mut renamed =
                told(to, "renamed", "changes", json!({ "repository": { "name": { "from": format!("r{from}") } } }));
            renamed["repository"]["name"] = json!(format!("r{to}"));
            renamed
        }
        What::Push { first, last } => {
            let commit = |n: u8| json!({ "id": format!("c{n}"), "message": format!("Task #{by}") });
            let commits: Vec<Value> = (first..=last).map(commit).collect();
            let mut push = told(1, "push", "commits", json!(commits));
            push["repository"]["pushed_at"] = json!(EPOCH / 1000 + i64::from(event.at));
            push
        }
        other => panic!("{other:?} is not GitHub's"),
    }
}

fn repository(repo: u8) -> Value {
    json!({ "full_name": format!("upc/r{repo}"), "owner": { "login": "upc" } })
}
