//! Repositories as GitHub's REST API returns them. The content is given as webhooks, so that a test states it once: the
//! API's shape is made here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::time::utc_seconds;

#[derive(Debug, Default, Clone)]
pub struct Repo {
    /// Commits as a push has them, newest first, by branch.
    pub branches: BTreeMap<String, Vec<Value>>,
    /// The commits of pull requests.
    pub pull_commits: BTreeMap<u64, Vec<Value>>,
    /// `issues` events, by number: the issue with `closed_by`.
    pub issues: BTreeMap<u64, Value>,
    /// `pull_request` events, by number.
    pub pulls: BTreeMap<u64, Value>,
    /// Where issues were transferred to: `owner/name/issues/number`, by the number that they had.
    pub transferred: BTreeMap<u64, String>,
}

/// Answers `/repos/<full_name>/<rest>`; `None` for what is not there. A list is an array, an object itself.
pub(super) fn answer(full_name: &str, repo: &Repo, rest: &[&str], query: &str) -> Option<Value> {
    Some(match rest {
        [] => repository(full_name),
        ["branches"] => repo
            .branches
            .iter()
            .map(|(name, commits)| json!({ "name": name, "commit": { "sha": commits.first().map(|c| &c["id"]) }, "protected": false }))
            .collect(),
        ["commits"] => {
            let head = text(query, "sha")?;
            let of = repo.branches.values().find(|commits| commits.first().is_some_and(|c| c["id"] == head))?;
            let (since, until) = (text(query, "since"), text(query, "until"));
            let within = |commit: &&Value| {
                let date = utc(&commit["timestamp"]);
                since.is_none_or(|since| date.as_str() >= since) && until.is_none_or(|until| date.as_str() <= until)
            };
            of.iter().filter(within).map(|pushed| commit(full_name, pushed)).collect()
        }
        ["pulls"] => repo.pulls.values().map(|event| listed_pull(full_name, event)).collect(),
        ["pulls", n] => pull(full_name, repo.pulls.get(&n.parse().ok()?)?),
        ["pulls", n, "commits"] => {
            repo.pull_commits.get(&n.parse().ok()?)?.iter().map(|pushed| commit(full_name, pushed)).collect()
        }
        ["issues"] => {
            let since = text(query, "since").unwrap_or_default();
            let issues = repo.issues.values().map(listed_issue);
            // GitHub lists pull requests here too.
            let pulls = repo.pulls.values().map(|event| {
                let mut issue = event["pull_request"].clone();
                issue["pull_request"] = json!({ "url": "https://api.github.example/p" });
                issue
            });
            issues.chain(pulls).filter(|issue| utc(&issue["updated_at"]).as_str() >= since).collect()
        }
        ["issues", n] => {
            let mut issue = repo.issues.get(&n.parse().ok()?)?["issue"].clone();
            issue["repository_url"] = json!(format!("https://api.github.example/repos/{full_name}"));
            issue
        }
        _ => return None,
    })
}

fn text<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

pub(super) fn repository(full_name: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or(("", full_name));
    json!({
        "id": 4242, "name": name, "full_name": full_name, "private": true, "default_branch": "main",
        "owner": { "login": owner, "id": 99, "type": "Organization" },
        "pushed_at": "2026-11-23T17:42:03Z", "updated_at": "2026-11-23T17:42:03Z"
    })
}

/// Whole seconds in UTC, as the API writes every time.
fn utc(value: &Value) -> String {
    utc_seconds(value.as_str().unwrap_or_default())
}

fn user(login: &Value) -> Value {
    match login.as_str() {
        Some(login) => {
            json!({ "login": login, "id": 99, "url": format!("https://api.github.example/users/{login}"), "type": "User", "site_admin": false })
        }
        None => Value::Null,
    }
}

fn commit(full_name: &str, pushed: &Value) -> Value {
    let (sha, author) = (&pushed["id"], &pushed["author"]);
    let person = json!({ "name": author["name"], "email": author["email"], "date": utc(&pushed["timestamp"]) });
    json!({
        "sha": sha, "node_id": "C_x", "html_url": pushed["url"],
        "url": format!("https://api.github.example/repos/{full_name}/commits/{}", sha.as_str().unwrap_or_default()),
        "commit": { "author": person, "committer": person, "message": pushed["message"], "comment_count": 0,
                    "verification": { "verified": false, "reason": "unsigned" } },
        "author": user(&author["username"]), "committer": null, "parents": []
    })
}

/// Alone, an issue says who closed it.
fn listed_issue(event: &Value) -> Value {
    without(&event["issue"], &["closed_by"])
}

fn pull(full_name: &str, event: &Value) -> Value {
    let mut pull = event["pull_request"].clone();
    if pull.get("head").is_none() {
        pull["head"] = json!({ "sha": "f".repeat(40), "ref": "gone", "repo": null });
    } else if pull["head"].get("repo").is_none() {
        pull["head"]["repo"] = repository(full_name);
    }
    pull
}

/// Alone, a pull request says whether it was merged, and by whom.
fn listed_pull(full_name: &str, event: &Value) -> Value {
    without(&pull(full_name, event), &["merged", "merged_by"])
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut out = value.clone();
    if let Some(fields) = out.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    out
}
