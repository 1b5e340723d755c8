//! One repository as GitHub's API returns it, in the shape of webhooks.
//!
//! | webhook | made of |
//! |---|---|
//! | `push` | the commits of every branch, and of pull requests whose branch is gone |
//! | `issues` | the list of issues |
//! | `pull_request` `closed` | the list of pull requests; each by itself for `merged_by` |
//! | `pull_request` `reopened` | an open one that has a document |
//!
//! Lists are in the order of creation, so that an item that changes meanwhile stays on its page.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::client::{GithubApi, Halt};

/// A repository, as webhooks show it.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `owner/name`, as it is called now.
    pub full_name: String,
    /// What every webhook of it has.
    common: Map<String, Value>,
}

/// The list of one kind, and its time.
#[derive(Debug, Default)]
pub struct Numbered {
    /// By number.
    pub items: BTreeMap<u64, Value>,
    /// The time at which all of it is true, in milliseconds since 1970.
    pub as_of: i64,
    /// The list is complete.
    pub whole: bool,
}

impl Repository {
    /// From the answer to `/repos/…`.
    #[must_use]
    pub fn of(shown: &Value) -> Self {
        let owner = shown.get("owner").cloned().unwrap_or_default();
        // Without `pushed_at`: the API does not say when a commit was pushed.
        let part = |name: &str| (name.to_owned(), shown.get(name).cloned().unwrap_or_default());
        let repository: Map<_, _> =
            ["id", "name", "full_name", "private", "owner", "default_branch"].map(part).into_iter().collect();
        let mut common = Map::new();
        common.insert("repository".to_owned(), Value::Object(repository));
        if text(&owner, "type") == Some("Organization") {
            common.insert("organization".to_owned(), owner);
        }
        Self { full_name: text(shown, "full_name").unwrap_or_default().to_owned(), common }
    }

    fn webhook(&self, sender: &Value, own: Value) -> Value {
        let mut all = self.common.clone();
        all.insert("sender".to_owned(), sender.clone());
        if let Value::Object(own) = own {
            all.extend(own);
        }
        Value::Object(all)
    }

    /// Its issues; `since` limits them to those updated since then.
    ///
    /// # Errors
    /// When GitHub does not answer.
    pub async fn issues(&self, api: &GithubApi, since: Option<i64>) -> Result<Numbered, Halt> {
        let range = since.map(|since| format!("&since={}", seconds(since))).unwrap_or_default();
        let mut issues = self.numbered(api, "issues", &range, slim_issue).await?;
        // GitHub's list contains pull requests as issues.
        issues.items.retain(|_, issue| issue.get("pull_request").is_none());
        issues.whole &= since.is_none();
        Ok(issues)
    }

    /// Its pull requests.
    ///
    /// # Errors
    /// When GitHub does not answer.
    pub async fn pulls(&self, api: &GithubApi) -> Result<Numbered, Halt> {
        self.numbered(api, "pulls", "", slim_pull).await
    }

    async fn numbered(
        &self,
        api: &GithubApi,
        list: &str,
        range: &str,
        slim: fn(&Value) -> Value,
    ) -> Result<Numbered, Halt> {
        let path = format!("/repos/{}/{list}?state=all&sort=created&direction=asc&per_page=100{range}", self.full_name);
        let mut pages = api.pages(path, slim);
        let mut all = Numbered::default();
        while let Some(page) = pages.next().await? {
            all.whole = true;
            all.items.extend(page.into_iter().filter_map(|item| Some((number(&item)?, item))));
        }
        all.as_of = pages.first().map_or(0, crate::reading::as_of::Clock::as_of);
        Ok(all)
    }

    /// The webhook for the state of an issue.
    #[must_use]
    pub fn issue_webhook(&self, issue: &Value) -> Value {
        let action = match (text(issue, "state"), text(issue, "state_reason")) {
            (Some("closed"), _) => "closed",
            (_, Some("reopened")) => "reopened",
            _ => "opened",
        };
        let sender = issue.get("user").cloned().unwrap_or_default();
        self.webhook(&sender, json!({ "action": action, "issue": issue }))
    }

    /// The webhook for the deletion of an issue.
    #[must_use]
    pub fn issue_gone_webhook(&self, number: u64) -> Value {
        self.webhook(&Value::Null, json!({ "action": "deleted", "issue": { "number": number } }))
    }

    /// The webhook for the state of a closed pull request.
    #[must_use]
    pub fn pull_webhook(&self, pull: &Value) -> Value {
        let sender = [pull.get("merged_by"), pull.get("user")].into_iter().flatten().find(|user| user.is_object());
        let mut pull = pull.clone();
        // A list does not contain `merged`, but `merged_at`.
        if pull.get("merged").is_none_or(Value::is_null)
            && let Some(fields) = pull.as_object_mut()
        {
            let merged = fields.get("merged_at").is_some_and(Value::is_string);
            fields.insert("merged".to_owned(), merged.into());
        }
        let own = json!({ "action": "closed", "number": pull.get("number"), "pull_request": pull });
        self.webhook(&sender.cloned().unwrap_or_default(), own)
    }

    /// The deletion of a pull request, for which GitHub has no webhook.
    #[must_use]
    pub fn pull_gone_webhook(&self, number: u64) -> Value {
        let pull = json!({ "number": number });
        self.webhook(&Value::Null, json!({ "action": "deleted", "number": number, "pull_request": pull }))
    }

    /// The webhook for the reopening of a pull request.
    #[must_use]
    pub fn pull_open_webhook(&self, number: u64, updated_at: &Value) -> Value {
        let pull = json!({ "number": number, "state": "open", "updated_at": updated_at });
        self.webhook(&Value::Null, json!({ "action": "reopened", "number": number, "pull_request": pull }))
    }

    /// The webhook for the renaming of the repository; none when both parts of its name changed.
    #[must_use]
    pub fn renamed_webhook(&self, from: &str) -> Option<Value> {
        let ((owner, name), (new_owner, new_name)) = (from.split_once('/')?, self.full_name.split_once('/')?);
        let (action, changes) = match (owner.eq_ignore_ascii_case(new_owner), name == new_name) {
            (true, _) => ("renamed", json!({ "repository": { "name": { "from": name } } })),
            (false, true) => ("transferred", json!({ "owner": { "from": { "organization": { "login": owner } } } })),
            (false, false) => return None,
        };
        Some(self.webhook(&Value::Null, json!({ "action": action, "changes": changes })))
    }

    /// Pushes of these commits, one for each author: its sender is the sender in the documents.
    #[must_use]
    pub fn pushes(&self, commits: &[&Value]) -> Vec<(Value, usize)> {
        let mut by_author: BTreeMap<&str, (Value, Vec<Value>)> = BTreeMap::new();
        for commit in commits {
            let author = commit.get("author").cloned().unwrap_or_default();
            let login = commit.get("author").and_then(|author| text(author, "login")).unwrap_or_default();
            by_author.entry(login).or_insert_with(|| (author, Vec::new())).1.push(pushed(commit));
        }
        let push = |(author, commits): (Value, Vec<Value>)| {
            let count = commits.len();
            (self.webhook(&author, json!({ "commits": commits })), count)
        };
        by_author.into_values().map(push).collect()
    }
}

/// Reads the commits of a repository, each once, page by page.
#[derive(Debug)]
pub struct Commits<'a> {
    api: &'a GithubApi,
    repository: &'a Repository,
    range: String,
    seen: HashSet<String>,
}

impl<'a> Commits<'a> {
    /// Of a repository; with a range, those of its time.
    #[must_use]
    pub fn new(api: &'a GithubApi, repository: &'a Repository, (since, until): (Option<i64>, Option<i64>)) -> Self {
        let since = since.map(|at| format!("&since={}", seconds(at))).unwrap_or_default();
        let until = until.map(|at| format!("&until={}", seconds(at))).unwrap_or_default();
        Self { api, repository, range: since + &until, seen: HashSet::new() }
    }

    /// The commits of all branches: pushes go to any.
    ///
    /// # Errors
    /// When GitHub does not answer.
    pub async fn branches(&mut self) -> Result<Vec<Value>, Halt> {
        let name = &self.repository.full_name;
        let mut pages = self.api.pages(format!("/repos/{name}/branches?per_page=100"), slim_branch);
        let mut heads = Vec::new();
        while let Some(page) = pages.next().await? {
            heads.extend(page.iter().filter_map(|branch| Some(text(branch.get("commit")?, "sha")?.to_owned())));
        }
        let mut all = Vec::new();
        for head in heads {
            if !self.seen.contains(&head) {
                all.extend(self.of(format!("/repos/{name}/commits?sha={head}&per_page=100{}", self.range)).await?);
            }
        }
        Ok(all)
    }

    /// The commits of a pull request that no branch has any more: they were squashed, or the branch was deleted.
    /// `known` are commits that have documents.
    ///
    /// # Errors
    /// When GitHub does not answer.
    pub async fn orphans(&mut self, pull: &Value, known: &HashMap<String, bson::Document>) -> Result<Vec<Value>, Halt> {
        let (Some(head), Some(number)) = (pull.get("head"), number(pull)) else { return Ok(Vec::new()) };
        let here = head.get("repo").and_then(|repo| text(repo, "full_name")) == Some(&self.repository.full_name);
        // Commits of a fork were not pushed here.
        if !here || text(head, "sha").is_none_or(|sha| self.seen.contains(sha) || known.contains_key(sha)) {
            return Ok(Vec::new());
        }
        self.of(format!("/repos/{}/pulls/{number}/commits?per_page=100", self.repository.full_name)).await
    }

    async fn of(&mut self, path: String) -> Result<Vec<Value>, Halt> {
        let mut pages = self.api.pages(path, slim_commit);
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            let count = page.len();
            let fresh: Vec<Value> = page
                .into_iter()
                .filter(|commit| text(commit, "sha").is_some_and(|sha| self.seen.insert(sha.to_owned())))
                .collect();
            // The parents of known commits are known.
            let known = fresh.is_empty() && count > 0;
            all.extend(fresh);
            if known {
                break;
            }
        }
        Ok(all)
    }
}

/// A commit of the API as one of a push.
fn pushed(commit: &Value) -> Value {
    let git = commit.get("commit").cloned().unwrap_or_default();
    let author = git.get("author").cloned().unwrap_or_default();
    let username = commit.get("author").and_then(|user| text(user, "login"));
    json!({
        "id": commit.get("sha"),
        "message": git.get("message"),
        "timestamp": author.get("date"),
        "url": commit.get("html_url"),
        "author": { "name": author.get("name"), "email": author.get("email"), "username": username },
    })
}

fn slim(value: &Value, names: &[&str]) -> Value {
    let part = |name: &&str| Some(((*name).to_owned(), value.get(*name)?.clone()));
    Value::Object(names.iter().filter_map(part).collect())
}

fn slim_user(value: &Value) -> Value {
    if value.is_object() { slim(value, &["id", "login", "url", "type", "site_admin"]) } else { Value::Null }
}

fn with_users(mut out: Value, from: &Value, names: &[&str]) -> Value {
    for name in names {
        if let (Some(user), Some(fields)) = (from.get(*name), out.as_object_mut()) {
            fields.insert((*name).to_owned(), slim_user(user));
        }
    }
    out
}

fn slim_issue(issue: &Value) -> Value {
    let names = ["number", "title", "state", "state_reason", "body", "updated_at", "repository_url"];
    let mut out = with_users(slim(issue, &names), issue, &["user"]);
    if issue.get("pull_request").is_some() {
        out["pull_request"] = json!({});
        out["body"] = Value::Null;
    }
    out
}

fn slim_pull(pull: &Value) -> Value {
    let names = ["number", "title", "state", "created_at", "updated_at", "closed_at", "merged_at"];
    let mut out = with_users(slim(pull, &names), pull, &["user", "assignee"]);
    let reviewers = pull.get("requested_reviewers").and_then(Value::as_array);
    out["requested_reviewers"] = reviewers.into_iter().flatten().map(slim_user).collect();
    if let Some(head) = pull.get("head") {
        let repo = head.get("repo").map_or(Value::Null, |repo| slim(repo, &["full_name"]));
        out["head"] = json!({ "sha": head.get("sha"), "repo": repo });
    }
    out
}

fn slim_commit(commit: &Value) -> Value {
    let git = commit.get("commit").map_or(Value::Null, |git| slim(git, &["author", "committer", "message"]));
    let mut out = with_users(slim(commit, &["sha", "html_url"]), commit, &["author"]);
    out["commit"] = git;
    out
}

fn slim_branch(branch: &Value) -> Value {
    json!({ "commit": { "sha": branch.get("commit").and_then(|commit| commit.get("sha")) } })
}

fn number(value: &Value) -> Option<u64> {
    value.get("number")?.as_u64()
}

/// A field of JSON as text.
#[must_use]
pub fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// An instant as GitHub's queries take it.
fn seconds(ms: i64) -> String {
    let text = shared::time::rfc3339(ms);
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_made_of_the_api_tells_nothing_of_when_it_was_pushed() {
        let shown = json!({ "id": 1, "full_name": "upc/r", "pushed_at": "2026-11-23T10:00:00Z",
                            "owner": { "login": "upc", "type": "Organization" } });
        let repository = Repository::of(&shown);
        let commit = json!({ "sha": "c", "author": { "login": "a" }, "commit": { "message": "m" } });
        let pushes = repository.pushes(&[&commit]);
        let (webhook, count) = &pushes[0];
        assert_eq!((webhook["repository"].get("pushed_at"), *count), (None, 1));
        assert_eq!((&webhook["organization"]["login"], &webhook["sender"]["login"]), (&json!("upc"), &json!("a")));
        assert_eq!(seconds(1_795_455_723_511), "2026-11-23T17:42:03Z");
    }

    #[test]
    fn a_listed_pull_request_was_merged_when_it_says_when() {
        let repository = Repository::of(&json!({ "full_name": "upc/r", "owner": { "login": "upc" } }));
        let merged = |pull: Value| repository.pull_webhook(&pull)["pull_request"]["merged"].clone();
        assert_eq!(merged(json!({ "number": 1, "merged_at": "2026-11-23T10:00:00Z" })), json!(true));
        assert_eq!(merged(json!({ "number": 1, "merged_at": null })), json!(false));
        assert_eq!(merged(json!({ "number": 1, "merged": false, "merged_at": "2026-11-23T10:00:00Z" })), json!(false));
    }
}
