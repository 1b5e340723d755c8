//! What Taiga sends, invented: every object it really has, with the nulls it really sends.

use serde_json::{Value, json};

/// Who does everything, unless a test says otherwise.
pub const USERNAME: &str = "mireia";

/// One webhook: `kind` is `userstory`, `task`, …; `date` is the envelope's.
#[must_use]
pub fn event(kind: &str, action: &str, date: &str, data: Value) -> Value {
    let mut event = json!({ "action": action, "type": kind, "by": user(1, USERNAME), "date": date, "data": data });
    if action == "change" {
        event["change"] = json!({ "comment": "", "comment_html": "", "delete_comment_date": null, "diff": {} });
    }
    event
}

/// A user story without a milestone.
#[must_use]
pub fn userstory(id: i64, subject: &str) -> Value {
    json!({
        "custom_attributes_values": {}, "id": id, "ref": id, "project": project(), "is_closed": false,
        "created_date": "2026-11-02T09:15:00.120Z", "modified_date": "2026-11-02T09:15:00.125Z", "finish_date": null,
        "due_date": null, "due_date_reason": "", "subject": subject, "client_requirement": false,
        "team_requirement": false, "generated_from_issue": null, "generated_from_task": null, "from_task_ref": null,
        "external_reference": null, "tribe_gig": null, "watchers": [], "is_blocked": false, "blocked_note": "",
        "description": "", "tags": [], "permalink": format!("https://taiga.example/us/{id}"), "owner": user(1, USERNAME),
        "assigned_to": null, "assigned_users": [],
        "points": [{ "role": "Back", "name": "?", "value": null }, { "role": "Front", "name": "1/2", "value": 0.5 }],
        "status": status("New", false), "milestone": null
    })
}

/// A task of a story.
#[must_use]
pub fn task(id: i64, subject: &str, story: Value) -> Value {
    json!({
        "custom_attributes_values": {}, "id": id, "ref": id, "created_date": "2026-11-03T09:15:00.120Z",
        "modified_date": "2026-11-03T09:15:00.125Z", "finished_date": null, "due_date": null, "due_date_reason": "",
        "subject": subject, "us_order": 1_795_437_275_986_i64, "taskboard_order": 1_795_437_275_986_i64,
        "is_iocaine": false, "external_reference": null, "watchers": [], "is_blocked": false, "blocked_note": "",
        "description": "", "tags": [], "permalink": format!("https://taiga.example/task/{id}"), "project": project(),
        "owner": user(1, USERNAME), "assigned_to": user(2, "roger"), "status": status("In progress", false),
        "user_story": story, "milestone": null, "promoted_to": []
    })
}

#[must_use]
pub fn issue(id: i64, subject: &str) -> Value {
    let named = |id: i64, name: &str| json!({ "id": id, "name": name, "color": "#E44057" });
    json!({
        "custom_attributes_values": null, "id": id, "ref": id, "created_date": "2026-11-04T09:15:00.120Z",
        "modified_date": "2026-11-04T09:15:00.125Z", "finished_date": null, "due_date": "2026-11-30",
        "due_date_reason": "", "subject": subject, "external_reference": null, "watchers": [], "description": "It breaks.",
        "tags": [], "permalink": format!("https://taiga.example/issue/{id}"), "project": project(), "milestone": null,
        "owner": user(1, USERNAME), "assigned_to": null, "status": status("Closed", true), "type": named(1, "Bug"),
        "priority": named(2, "High"), "severity": named(3, "Minor"), "promoted_to": []
    })
}

#[must_use]
pub fn epic(id: i64, subject: &str) -> Value {
    json!({
        "custom_attributes_values": {}, "id": id, "ref": id, "created_date": "2026-11-01T09:15:00.120Z",
        "modified_date": "2026-11-01T09:15:00.125Z", "subject": subject, "watchers": [], "description": "", "tags": [],
        "permalink": format!("https://taiga.example/epic/{id}"), "project": project(), "owner": user(1, USERNAME),
        "assigned_to": null, "status": status("New", false), "epics_order": 1, "color": "#75507b",
        "client_requirement": false, "team_requirement": false
    })
}

#[must_use]
pub fn milestone(id: i64, name: &str) -> Value {
    json!({
        "id": id, "name": name, "slug": format!("sprint-{id}"), "estimated_start": "2026-11-02",
        "estimated_finish": "2026-11-15", "created_date": "2026-11-01T08:00:00.500Z",
        "modified_date": "2026-11-01T08:00:00.501Z", "closed": false, "disponibility": 0.0,
        "permalink": format!("https://taiga.example/taskboard/sprint-{id}"), "project": project(), "owner": user(1, USERNAME)
    })
}

/// A story's link to an epic (`relateduserstory`).
#[must_use]
pub fn related(story: Value, epic: Value) -> Value {
    json!({ "id": 1, "user_story": story, "epic": epic, "order": 1_795_437_282_748_i64 })
}

/// What Taiga's "Test" button sends.
#[must_use]
pub fn test() -> Value {
    event("test", "test", "2026-11-23T12:34:28.652Z", json!({ "test": "test" }))
}

fn project() -> Value {
    json!({ "id": 31, "permalink": "https://taiga.example/project/marmota", "name": "Marmota – Pràctica", "logo_big_url": null })
}

fn status(name: &str, closed: bool) -> Value {
    json!({ "id": 5, "name": name, "slug": "s", "color": "#70728F", "is_closed": closed, "is_archived": false })
}

fn user(id: i64, username: &str) -> Value {
    json!({
        "id": id, "permalink": format!("https://taiga.example/profile/{username}"), "username": username,
        "full_name": "Mireia Duran", "photo": null, "gravatar_id": "0".repeat(32)
    })
}
