//! GitHub: push, issues, pull_request (CONTRACT §3, commits, GitHub issues, pull_requests).

use std::collections::HashSet;

use bson::{Bson, Document, doc};
use shared::envelope::Envelope;

use super::json::{self, List, object};
use super::bson_value::JsonValue;
use super::notification;
use super::number::count;
use super::text;
use super::time::Stamp;
use crate::effect::{Effect, Key, Kind, Normalised, Order, Reject};

object!(Push {
    commits: List<Commit> = "commits",
    repository: Option<Repository> = "repository",
    organization: Option<User> = "organization",
    sender: Option<User> = "sender",
});

object!(Commit {
    id: JsonValue = "id",
    url: JsonValue = "url",
    author: Option<Author> = "author",
    timestamp: Stamp = "timestamp",
    message: JsonValue = "message",
});

object!(Author { username: JsonValue = "username", name: JsonValue = "name", email: JsonValue = "email" });

object!(Issues {
    action: JsonValue = "action",
    issue: Option<Issue> = "issue",
    repository: Option<Repository> = "repository",
    organization: Option<User> = "organization",
    sender: Option<User> = "sender",
});

object!(Issue {
    number: JsonValue = "number",
    title: JsonValue = "title",
    state: JsonValue = "state",
    body: JsonValue = "body",
    user: Option<User> = "user",
    updated_at: Stamp = "updated_at",
});

object!(PullRequests {
    action: JsonValue = "action",
    pull_request: Option<PullRequest> = "pull_request",
    repository: Option<Repository> = "repository",
    organization: Option<User> = "organization",
    sender: Option<User> = "sender",
});

object!(PullRequest {
    number: JsonValue = "number",
    title: JsonValue = "title",
    created_at: Stamp = "created_at",
    updated_at: Stamp = "updated_at",
    closed_at: Stamp = "closed_at",
    merged: JsonValue = "merged",
    merged_at: Stamp = "merged_at",
    merged_by: Option<User> = "merged_by",
    assignee: Option<User> = "assignee",
    requested_reviewers: List<User> = "requested_reviewers",
});

object!(Repository {
    full_name: JsonValue = "full_name",
    owner: Option<User> = "owner",
    pushed_at: JsonValue = "pushed_at",
});

object!(
    /// Anyone with a login: a person, a bot, an organisation.
    User {
        id: JsonValue = "id",
        login: JsonValue = "login",
        name: JsonValue = "name",
        url: JsonValue = "url",
        kind: JsonValue = "type",
        site_admin: JsonValue = "site_admin",
    }
);

/// What one of GitHub's events means.
pub(super) fn normalise(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    match envelope.event.as_str() {
        "push" => push(envelope, sequence),
        "issues" => issues(envelope, sequence),
        "pull_request" => pull_request(envelope, sequence),
        other => Err(Reject::UnknownEvent(other.to_owned())),
    }
}

/// What a commit's document says until GitHub has been asked (CONTRACT §3, commits, and §4).
///
/// Not part of the commit's state: the store sets it once, when it inserts the document, so that a later
/// push of the same commit cannot undo an enrichment.
#[must_use]
pub fn unenriched() -> Document {
    doc! {
        "stats": { "total": 0, "additions": 0, "deletions": 0 },
        "is_merge": Bson::Null,
        "verified": false,
        "verified_reason": "unsigned",
    }
}

fn push(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let push: Push = json::read(&envelope.payload)?;
    if push.commits.0.is_empty() {
        return Ok(Normalised::default());
    }
    let context = Context::of(push.repository.unwrap_or_default(), push.organization, push.sender);
    let order = Order { t: context.pushed_at, s: sequence };
    let mut seen = HashSet::new();
    let mut effects = Vec::with_capacity(push.commits.0.len());
    for commit in push.commits.0 {
        let fields = commit_fields(envelope, &context, commit)?;
        let sha = fields.get("sha").cloned().unwrap_or(Bson::Null);
        if seen.insert(sha.to_string()) {
            effects.push(Effect::State {
                kind: Kind::Commit,
                key: vec![sha],
                order,
                fields,
                milestone: None,
                story: None,
            });
        }
    }
    Ok(Normalised { effects, notifications: vec![notification(envelope, "push", context.author)] })
}

fn commit_fields(envelope: &Envelope, context: &Context, commit: Commit) -> Result<Document, Reject> {
    let sha = commit.id.text_key("commits[].id")?;
    let message = commit.message.text().unwrap_or_default();
    let (chars, words) = (count(message.chars().count()), count(text::words(message)));
    let (task_is_written, task_reference) = text::task(message);
    let author = commit.author.unwrap_or_default();
    // An empty user name is none: a login that nobody has would become a person on LD Eval's list.
    let login = if author.username.text() == Some("") { JsonValue::default() } else { author.username };
    Ok(doc! {
        "event": "commit",
        "prj": envelope.project.as_str(),
        "team_name": context.team_name.clone(),
        "repository": context.repo_name.clone(),
        "repo_name": context.repo_name.clone(),
        "sender_info": context.sender_info.clone(),
        "sha": sha,
        "url": commit.url,
        "user": { "login": login.or("anonymous"), "name": author.name, "email": author.email },
        "date": commit.timestamp,
        "message": commit.message,
        "message_char_count": chars,
        "message_word_count": words,
        "task_is_written": task_is_written,
        "task_reference": task_reference,
    })
}

fn issues(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let event: Issues = json::read(&envelope.payload)?;
    let context = Context::of(event.repository.unwrap_or_default(), event.organization, event.sender);
    let issue = event.issue.unwrap_or_default();
    let number = issue.number.integer_key("issue.number")?;
    let order = Order { t: issue.updated_at.millis().unwrap_or(envelope.received_at), s: sequence };
    let key = vec![context.repository_key()?, number.clone()];
    let effect = if matches!(event.action.text(), Some("deleted" | "transferred")) {
        Effect::Gone { kind: Kind::GithubIssue, key, order }
    } else {
        let user = issue.user.unwrap_or_default();
        let fields = doc! {
            "event": "issue",
            "action": event.action,
            "prj": envelope.project.as_str(),
            "team_name": context.team_name,
            "repo_name": context.repo_name,
            "sender_info": context.sender_info,
            "issue_id": number.clone(),
            "issue": {
                "number": number,
                "title": issue.title,
                "state": issue.state,
                "body": issue.body,
                "user": { "login": user.login, "id": user.id },
            },
        };
        state(Kind::GithubIssue, key, order, fields)
    };
    Ok(Normalised { effects: vec![effect], notifications: vec![notification(envelope, "issues", context.author)] })
}

fn pull_request(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let event: PullRequests = json::read(&envelope.payload)?;
    let closed = match event.action.text() {
        Some("closed") => true,
        Some("reopened") => false,
        _ => return Ok(Normalised::default()),
    };
    let context = Context::of(event.repository.unwrap_or_default(), event.organization, event.sender);
    let pull = event.pull_request.unwrap_or_default();
    let number = pull.number.integer_key("pull_request.number")?;
    let order = Order { t: pull.updated_at.millis().unwrap_or(envelope.received_at), s: sequence };
    let key = vec![context.repository_key()?, number.clone()];
    let effect = if closed {
        let login = |user: Option<User>| user.unwrap_or_default().login;
        let reviewers: Vec<Bson> = pull.requested_reviewers.0.into_iter().map(|user| user.login.into()).collect();
        let fields = doc! {
            "event": "pull_request",
            "action": event.action,
            "prj": envelope.project.as_str(),
            "team_name": context.team_name,
            "repo_name": context.repo_name,
            "sender_info": context.sender_info,
            "pr_number": number,
            "title": pull.title,
            "created_at": pull.created_at,
            "closed_at": pull.closed_at,
            // A bool by contract, so never null.
            "merged": pull.merged.0.as_bool().unwrap_or(false),
            "merged_at": pull.merged_at,
            "merged_by": login(pull.merged_by),
            "assignee": login(pull.assignee),
            "reviewers": reviewers,
        };
        state(Kind::PullRequest, key, order, fields)
    } else {
        Effect::Gone { kind: Kind::PullRequest, key, order }
    };
    Ok(Normalised {
        effects: vec![effect],
        notifications: vec![notification(envelope, "pull_request", context.author)],
    })
}

fn state(kind: Kind, key: Key, order: Order, fields: Document) -> Effect {
    Effect::State { kind, key, order, fields, milestone: None, story: None }
}

/// What every document of an event shares.
struct Context {
    repo_name: Bson,
    team_name: Bson,
    sender_info: Document,
    /// Who LD Eval is told.
    author: String,
    /// As of when a push's commits are seen, in milliseconds since 1970.
    pushed_at: i64,
}

impl Context {
    /// The repository's name as a part of a natural key.
    fn repository_key(&self) -> Result<Bson, Reject> {
        JsonValue(self.repo_name.clone()).text_key("repository.full_name")
    }

    fn of(repository: Repository, organization: Option<User>, sender: Option<User>) -> Self {
        let owner = repository.owner.unwrap_or_default();
        let organization = organization.unwrap_or_default();
        let sender = sender.unwrap_or_default();
        Self {
            pushed_at: pushed_at(&repository.pushed_at),
            repo_name: repository.full_name.into(),
            team_name: organization.login.or(owner.login.or(owner.name.or("UnknownTeam"))),
            author: sender.login.name(),
            sender_info: doc! {
                "id": sender.id,
                "login": sender.login,
                "url": sender.url,
                "type": sender.kind,
                "site_admin": sender.site_admin.or(false),
            },
        }
    }
}

/// Milliseconds of `repository.pushed_at`: unix seconds in a push, RFC 3339 elsewhere in GitHub's API.
///
/// The earliest push decides, so an unknown time is the latest of all: it loses to every known one.
fn pushed_at(value: &JsonValue) -> i64 {
    let known = match &value.0 {
        Bson::Int32(seconds) => Some(i64::from(*seconds) * 1000),
        Bson::Int64(seconds) => seconds.checked_mul(1000),
        Bson::String(text) => Stamp::of(text).millis(),
        _ => None,
    };
    known.unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_push_comes_in_seconds_or_as_text() {
        for (value, expected) in [
            (Bson::Int32(1_557_933_657), 1_557_933_657_000),
            (Bson::Int64(32_503_680_000), 32_503_680_000_000),
            (Bson::String("2019-05-15T15:20:57Z".into()), 1_557_933_657_000),
            (Bson::String("yesterday".into()), i64::MAX),
            (Bson::Int64(i64::MAX), i64::MAX),
            (Bson::Null, i64::MAX),
        ] {
            assert_eq!(pushed_at(&JsonValue(value.clone())), expected, "{value}");
        }
    }
}
