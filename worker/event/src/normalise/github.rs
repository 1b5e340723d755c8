//! GitHub: push, issues, pull_request, repository.

use std::collections::HashSet;

use bson::{Bson, Document, doc};
use vocabulary::envelope::Envelope;

use super::bson_value::JsonValue;
use super::common::{notifications, state};
use super::json::{self, List, object};
use super::number::count;
use super::text;
use super::time::Stamp;
use crate::effect::{Effect, Key, Kind, Normalised, Order, Reject, State};

/// How many bytes the commits of one push may repeat, altogether. GitHub's names are shorter than 100 bytes, and its pushes
/// have 2,048 commits.
const LARGEST_REPEATED: usize = 16 * 1024 * 1024;

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

object!(RepositoryChanged {
    action: JsonValue = "action",
    changes: Option<Changes> = "changes",
    repository: Option<Repository> = "repository",
});

object!(Changes { repository: Option<NameChange> = "repository", owner: Option<OwnerChange> = "owner" });
object!(NameChange { name: Option<OldName> = "name" });
object!(OldName { from: JsonValue = "from" });
object!(OwnerChange { from: Option<OldOwner> = "from" });
object!(OldOwner { user: Option<User> = "user", organization: Option<User> = "organization" });

object!(Repository {
    full_name: JsonValue = "full_name",
    name: JsonValue = "name",
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
        "repository" => repository(envelope, sequence),
        other => Err(Reject::UnknownEvent(other.to_owned())),
    }
}

/// What a commit's document shows before the look-up at GitHub.
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
    context.fits_into(push.commits.0.len(), envelope.payload.len())?;
    // The earliest push decides. What the API says comes after every push.
    let order = Order::new(if envelope.read_at.is_some() { i64::MAX } else { context.pushed_at }, sequence);
    let mut seen = HashSet::new();
    let mut effects = Vec::with_capacity(push.commits.0.len());
    for commit in push.commits.0 {
        let fields = commit_fields(envelope, &context, commit)?;
        let sha = fields.get("sha").cloned().unwrap_or(Bson::Null);
        if seen.insert(sha.to_string()) {
            effects.push(state(Kind::Commit, vec![sha], order, fields));
        }
    }
    Ok(Normalised { effects, notifications: notifications(envelope, context.author) })
}

fn commit_fields(envelope: &Envelope, context: &Context, commit: Commit) -> Result<Document, Reject> {
    let sha = commit.id.text_key("commits[].id")?;
    let message = commit.message.text().unwrap_or_default();
    let (chars, words) = (count(message.chars().count()), count(text::words(message)));
    let (task_is_written, task_reference) = text::task(message);
    let author = commit.author.unwrap_or_default();
    // An empty user name is none: else an empty login would become a person on LD Eval's list.
    let login = if author.username.text() == Some("") { JsonValue::default() } else { author.username };
    Ok(doc! {
        "event": "commit",
        "prj": envelope.project.as_str(),
        "team_name": context.team_name.clone(),
        "repository": context.repo_name.clone(),
        "repo_name": context.repo_name.clone(),
        // Only a push contains who pushed.
        "sender_info": envelope.read_at.is_none().then(|| context.sender_info.clone()),
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
    let key = vec![context.repository_key()?, number.clone()];
    let change = Change { envelope, sequence, kind: Kind::GithubIssue, updated_at: issue.updated_at };
    let effects = if matches!(event.action.text(), Some("deleted" | "transferred")) {
        change.gone(key)
    } else {
        let user = issue.user.unwrap_or_default();
        let fields = doc! {
            "event": "issue",
            "prj": envelope.project.as_str(),
            "team_name": context.team_name,
            "repo_name": context.repo_name,
            "issue_id": number.clone(),
            "issue": {
                "number": number,
                "title": issue.title,
                "state": issue.state,
                "body": issue.body,
                "user": { "login": user.login, "id": user.id },
            },
        };
        change.state(key, fields, event.action, context.sender_info)
    };
    Ok(Normalised { effects, notifications: notifications(envelope, context.author) })
}

fn pull_request(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let event: PullRequests = json::read(&envelope.payload)?;
    let action = event.action.text().unwrap_or_default();
    // Only the API says that one was deleted: with its repository.
    let is_known = match action {
        "closed" | "reopened" => true,
        "deleted" => envelope.read_at.is_some(),
        _ => false,
    };
    if !is_known {
        return Ok(Normalised::default());
    }
    let context = Context::of(event.repository.unwrap_or_default(), event.organization, event.sender);
    let pull = event.pull_request.unwrap_or_default();
    let number = pull.number.integer_key("pull_request.number")?;
    let key = vec![context.repository_key()?, number.clone()];
    let change = Change { envelope, sequence, kind: Kind::PullRequest, updated_at: pull.updated_at };
    let effects = match action {
        "deleted" => change.gone(key),
        "reopened" => vec![Effect::Superseded { kind: Kind::PullRequest, key, order: change.order() }],
        _ => {
            let login = |user: Option<User>| user.unwrap_or_default().login;
            let reviewers: Vec<Bson> = pull.requested_reviewers.0.into_iter().map(|user| user.login.into()).collect();
            let fields = doc! {
                "event": "pull_request",
                "prj": envelope.project.as_str(),
                "team_name": context.team_name,
                "repo_name": context.repo_name,
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
            change.state(key, fields, event.action, context.sender_info)
        }
    };
    Ok(Normalised { effects, notifications: notifications(envelope, context.author) })
}

/// The new name of a repository's issues and pull requests. It makes no document, and LD Eval computes nothing by
/// repository, so it makes no notification.
fn repository(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let event: RepositoryChanged = json::read(&envelope.payload)?;
    let (changes, now) = (event.changes.unwrap_or_default(), event.repository.unwrap_or_default());
    let full = |owner: &JsonValue, name: &JsonValue| Some(format!("{}/{}", owner.text()?, name.text()?));
    let owner = now.owner.unwrap_or_default().login;
    let from = match event.action.text() {
        Some("renamed") => {
            let old = changes.repository.unwrap_or_default().name.unwrap_or_default().from;
            full(&owner, &old)
        }
        Some("transferred") => {
            let old = changes.owner.unwrap_or_default().from.unwrap_or_default();
            let old = [old.organization, old.user].into_iter().flatten().find(|owner| owner.login.text().is_some());
            full(&old.unwrap_or_default().login, &now.name)
        }
        _ => return Ok(Normalised::default()),
    };
    let from = from.ok_or(Reject::MissingKey("changes"))?;
    let to = now.full_name.text_key("repository.full_name")?;
    let to = to.as_str().unwrap_or_default().to_owned();
    let order = Order::new(envelope.read_at.unwrap_or(envelope.received_at), sequence);
    let effects = if from == to { Vec::new() } else { vec![Effect::Renamed { from, to, order }] };
    Ok(Normalised { effects, notifications: Vec::new() })
}

/// When the state of an issue or a pull request became true.
struct Change<'a> {
    envelope: &'a Envelope,
    sequence: i64,
    kind: Kind,
    updated_at: Stamp,
}

impl Change<'_> {
    /// The object's own last change, whatever delivery contains it.
    fn order(&self) -> Order {
        Order::new(self.updated_at.millis().unwrap_or(0), self.sequence)
    }

    fn state(&self, key: Key, fields: Document, action: JsonValue, sender_info: Document) -> Vec<Effect> {
        let read = self.envelope.read_at.map(|at| Order::new(at, self.sequence));
        let action = read.is_none().then(|| doc! { "action": action, "sender_info": sender_info });
        let (kind, order) = (self.kind, self.order());
        vec![Effect::State(State { kind, key, order, read, fields, action, milestone: None, story: None })]
    }

    /// A deletion does not change `updated_at`, which may be months old: it is as of its arrival. A lagging replica may
    /// return an older state at any later time.
    fn gone(&self, key: Key) -> Vec<Effect> {
        let kind = self.kind;
        let at = self.envelope.read_at.unwrap_or(self.envelope.received_at);
        let last = self.updated_at.millis().map(|_| Effect::Superseded { kind, key: key.clone(), order: self.order() });
        last.into_iter().chain([Effect::Gone { kind, key, order: Order::new(at, self.sequence) }]).collect()
    }
}

/// The fields that every document of an event has.
struct Context {
    repo_name: Bson,
    team_name: Bson,
    sender_info: Document,
    /// `author_login` of the notification.
    author: String,
    /// When a push's commits were pushed, in milliseconds since 1970.
    pushed_at: i64,
}

impl Context {
    /// The repository's name as a part of a natural key.
    fn repository_key(&self) -> Result<Bson, Reject> {
        JsonValue(self.repo_name.clone()).text_key("repository.full_name")
    }

    /// Refuses what would take far more memory in a document for each commit than in the payload.
    fn fits_into(&self, documents: usize, payload: usize) -> Result<(), Reject> {
        // BSON is 13 times its JSON at worst: most pushes need no look.
        if documents * payload * 13 <= LARGEST_REPEATED {
            return Ok(());
        }
        let Self { repo_name, team_name, sender_info, .. } = self;
        let repeated = doc! { "names": [repo_name, repo_name, team_name], "sender_info": sender_info };
        let each = repeated.to_vec().map_err(|error| Reject::Unstorable(error.to_string()))?.len();
        if each * documents <= LARGEST_REPEATED {
            return Ok(());
        }
        let error = format!("each of its {documents} commits would repeat {each} bytes of sender and repository");
        Err(Reject::Unstorable(error))
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
fn pushed_at(value: &JsonValue) -> i64 {
    let known = match &value.0 {
        Bson::Int32(seconds) => Some(i64::from(*seconds) * 1000),
        Bson::Int64(seconds) => seconds.checked_mul(1000),
        Bson::String(text) => Stamp::of(text).millis(),
        _ => None,
    };
    known.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_does_not_repeat_a_huge_login_in_each_commit() {
        let login = |bytes: usize| JsonValue("x".repeat(bytes).into());
        let of =
            |bytes| Context::of(Repository::default(), None, Some(User { login: login(bytes), ..User::default() }));
        assert_eq!(of(100).fits_into(2_048, usize::pow(2, 20)), Ok(()));
        assert_eq!(of(300_000).fits_into(1, usize::pow(2, 20)), Ok(()));
        let refused = of(300_000).fits_into(2_000, usize::pow(2, 20)).unwrap_err().to_string();
        assert!(refused.contains("each of its 2000 commits would repeat 300"), "{refused}");
    }

    #[test]
    fn the_time_of_a_push_comes_in_seconds_or_as_text() {
        for (value, expected) in [
            (Bson::Int32(1_557_933_657), 1_557_933_657_000),
            (Bson::Int64(32_503_680_000), 32_503_680_000_000),
            (Bson::String("2019-05-15T15:20:57Z".into()), 1_557_933_657_000),
            (Bson::String("yesterday".into()), 0),
            (Bson::Int64(i64::MAX), 0),
            (Bson::Null, 0),
        ] {
            assert_eq!(pushed_at(&JsonValue(value.clone())), expected, "{value}");
        }
    }
}
