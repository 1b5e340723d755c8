//! What is sent: an object that cannot be anybody's, and how it is taken away again.

use serde_json::{Value, json};
use shared::source::Source;
use shared::time::rfc3339;

/// Who does it: no login at GitHub, where a name has at most 39 characters.
const AUTHOR: &str = "ld-connect-test-of-a-connection-not-a-person";

/// Where: no repository.
const REPOSITORY: &str = "ld-connect/test-of-a-connection";

/// What people read, should they see it in a dashboard.
const TITLE: &str = "LD Connect: test of the connection, removed in a moment";

/// A webhook of a test.
#[derive(Debug)]
pub(super) struct Sample {
    pub event: &'static str,
    pub body: Value,
}

/// The webhook that makes the object. `number` is different for each test; `now` is in milliseconds since 1970.
pub(super) fn made(source: Source, number: u32, now: i64) -> Sample {
    match source {
        Source::Github => issue("opened", number, now),
        Source::Taiga => taiga_issue("create", number, now),
        Source::Excel => Sample {
            event: "",
            body: json!({
                "timestamp": rfc3339(now), "iteration": TITLE, "date": rfc3339(now), "duration": 0, "activity": TITLE,
                "comment": format!("{TITLE} ({number})"), "epic": "", "members": [], "memberHours": [], "configRange": [],
            }),
        },
    }
}

/// The webhook that takes it away; a sheet has none.
pub(super) fn gone(source: Source, number: u32, now: i64) -> Option<Sample> {
    match source {
        Source::Github => Some(issue("deleted", number, now)),
        Source::Taiga => Some(taiga_issue("delete", number, now)),
        Source::Excel => None,
    }
}

fn issue(action: &str, number: u32, now: i64) -> Sample {
    let user = json!({ "login": AUTHOR, "id": 0, "url": "", "type": "Bot", "site_admin": false });
    let body = json!({
        "action": action,
        "issue": {
            "id": number, "number": number, "title": TITLE, "body": null, "state": "closed", "user": user, "labels": [],
            "assignee": null, "milestone": null, "created_at": rfc3339(now), "updated_at": rfc3339(now),
            "closed_at": rfc3339(now),
        },
        "repository": { "id": 0, "name": "test-of-a-connection", "full_name": REPOSITORY, "owner": { "login": "ld-connect" } },
        "sender": user,
    });
    Sample { event: "issues", body }
}

fn taiga_issue(action: &str, number: u32, now: i64) -> Sample {
    let by =
        json!({ "id": 0, "username": AUTHOR, "full_name": AUTHOR, "permalink": "", "photo": null, "gravatar_id": "" });
    let status = json!({ "id": 0, "name": "Closed", "slug": "closed", "color": "", "is_closed": true });
    let body = json!({
        "action": action, "type": "issue", "by": by, "date": rfc3339(now),
        "data": {
            "id": number, "ref": number, "subject": TITLE, "description": "", "created_date": rfc3339(now),
            "modified_date": rfc3339(now), "finished_date": rfc3339(now), "due_date": null, "tags": [], "watchers": [],
            "is_blocked": false, "owner": by, "assigned_to": null, "milestone": null, "status": status, "severity": null,
            "priority": null, "type": null, "custom_attributes_values": null,
            "project": { "id": 0, "name": TITLE, "permalink": "", "logo_big_url": null },
        },
    });
    Sample { event: "", body }
}
