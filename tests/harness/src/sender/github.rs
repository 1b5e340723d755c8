//! What GitHub sends, invented and short: the fields that matter, the objects that may be null, and some
//! that are never read. A test changes the fields that it is about.

use serde_json::{Value, json};

use super::sign::sha256;

/// Who does everything, unless a test says otherwise.
pub const LOGIN: &str = "mduran";

/// The repository, unless a test says otherwise.
pub const REPO: &str = "upc-pes/marmota";

/// A commit's id made of a number: 40 hex digits, different for each.
#[must_use]
pub fn sha(n: u64) -> String {
    sha256(&n.to_be_bytes())[..40].to_owned()
}

/// A commit of a push.
#[must_use]
pub fn commit(sha: &str, message: &str) -> Value {
    json!({
        "id": sha,
        "tree_id": "0".repeat(40),
        "distinct": true,
        "message": message,
        "timestamp": "2026-11-23T18:42:03+01:00",
        "url": format!("https://github.example/{REPO}/commit/{sha}"),
        "author": { "name": "Mireia Duran", "email": "mireia@upc.example", "username": LOGIN },
        "committer": { "name": "GitHub", "email": "noreply@github.example", "username": "web-flow" },
        "added": ["src/lib.rs"], "removed": [], "modified": []
    })
}

/// A push of these commits to `main`. `pushed_at` is in seconds since 1970.
#[must_use]
pub fn push(pushed_at: i64, commits: impl IntoIterator<Item = Value>) -> Value {
    let commits: Vec<Value> = commits.into_iter().collect();
    let mut repository = repository(REPO);
    // In a push, and only there, these two are numbers and the owner has a `name`.
    repository["pushed_at"] = json!(pushed_at);
    repository["created_at"] = json!(1_790_000_000);
    repository["owner"]["name"] = json!("upc-pes");
    json!({
        "ref": "refs/heads/main",
        "before": "1".repeat(40),
        "after": "2".repeat(40),
        "created": false, "deleted": false, "forced": false, "base_ref": null,
        "head_commit": commits.last(),
        "commits": commits,
        "repository": repository,
        "pusher": { "name": LOGIN, "email": "mireia@upc.example" },
        "sender": user(LOGIN)
    })
}

/// An `issues` event.
#[must_use]
pub fn issue(number: u64, action: &str, updated_at: &str) -> Value {
    json!({
        "action": action,
        "issue": {
            "id": 7_000_000 + number, "number": number, "title": format!("Issue {number}"), "body": null,
            "state": if action == "closed" { "closed" } else { "open" },
            "user": user(LOGIN), "labels": [], "assignee": null, "milestone": null,
            "created_at": "2026-11-02T08:00:00Z", "updated_at": updated_at, "closed_at": null
        },
        "repository": repository(REPO),
        "sender": user(LOGIN)
    })
}

/// A `pull_request` event.
#[must_use]
pub fn pull_request(number: u64, action: &str, updated_at: &str) -> Value {
    let closed = action == "closed";
    json!({
        "action": action,
        "number": number,
        "pull_request": {
            "id": 9_000_000 + number, "number": number, "title": format!("Pull request {number}"),
            "state": if closed { "closed" } else { "open" }, "user": user(LOGIN), "body": null,
            "created_at": "2026-11-02T08:00:00Z", "updated_at": updated_at,
            "closed_at": closed.then_some(updated_at), "merged_at": closed.then_some(updated_at),
            "merged": closed, "merged_by": closed.then(|| user(LOGIN)),
            "assignee": null, "requested_reviewers": [user("rtorrents")], "requested_teams": []
        },
        "repository": repository(REPO),
        "sender": user(LOGIN)
    })
}

/// An event that is not stored.
#[must_use]
pub fn ping() -> Value {
    json!({ "zen": "Half measures are as bad as nothing at all.", "hook_id": 1, "repository": repository(REPO), "sender": user(LOGIN) })
}

/// A repository of an owner without an organisation.
fn repository(full_name: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or(("", full_name));
    json!({ "id": 4242, "name": name, "full_name": full_name, "private": true, "owner": user(owner), "default_branch": "main" })
}

/// An account.
fn user(login: &str) -> Value {
    json!({ "login": login, "id": 99, "url": format!("https://api.github.example/users/{login}"), "type": "User", "site_admin": false })
}
