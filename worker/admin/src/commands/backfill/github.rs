//! GitHub's REST API as webhooks.
//!
//! | webhook | made of | as of |
//! |---|---|---|
//! | `push` | the commits of every branch, and of pull requests whose branch is gone | after every push that tells its time: any of them wins |
//! | `issues` | the list; a closed one by itself, for who closed it | `updated_at` |
//! | `pull_request` `closed` | each by itself, for `merged` and `merged_by` | `updated_at` |
//! | `pull_request` `reopened` | every open one: it removes a document that a missed webhook left | `updated_at` |

use std::collections::{BTreeMap, HashSet};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use shared::source::Source;

use super::{BackfillArgs, BackfillPublisher, text};
use crate::clients::{GithubClient, name};
use crate::terminal::{CommandError, Progress, Tally};

pub(super) const EXAMPLES: &str = "Examples:
  worker backfill github --org upc-pes --prj PES11A
  worker backfill github --org upc-pes --repo marmota --prj PES11A --events commits --from-date 2026-11-01
  worker backfill github --org upc-pes --prj PES11A --dry-run";

/// From where, and what.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The organisation, or the person, whose repositories they are.
    #[arg(long, value_parser = name)]
    org: String,
    /// Only this repository, without its owner; all of them when it is left out.
    #[arg(long, value_parser = name)]
    repo: Option<String>,
    /// What to read.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "commits,issues,pull_requests")]
    events: Vec<Kind>,
    #[command(flatten)]
    common: BackfillArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    Commits,
    Issues,
    PullRequests,
}

pub(super) async fn run(options: &Options) -> Result<(), CommandError> {
    options.common.check()?;
    let remote = options.common.remote.open()?;
    let github = remote.github(Some(&options.common.prj))?;
    let publisher = BackfillPublisher::open(&options.common, Source::Github, remote.stop.clone()).await?;
    let repositories = github.repositories(&options.org, options.repo.as_deref()).await?;
    let mut reader = Reader { options, github: &github, publisher, tally: Tally::of("read", "reads") };
    let read = reader.all(&repositories).await;
    reader.publisher.finish(read, reader.tally).await
}

/// A repository, as webhooks show it.
struct Repository {
    full_name: String,
    /// The fields of every webhook of it.
    common: Map<String, Value>,
}

impl Repository {
    fn of(shown: &Value) -> Self {
        let owner = shown.get("owner").cloned().unwrap_or_default();
        // Not `pushed_at`: the API does not say when a commit was pushed.
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
}

struct Reader<'o> {
    options: &'o Options,
    github: &'o GithubClient,
    publisher: BackfillPublisher<'o>,
    tally: Tally,
}

impl Reader<'_> {
    async fn all(&mut self, repositories: &[Value]) -> Result<(), CommandError> {
        for repository in repositories {
            self.repository(&Repository::of(repository)).await?;
        }
        Ok(())
    }

    /// One repository. GitHub may refuse a part of it (451, 403, …), and the rest goes on.
    async fn repository(&mut self, repository: &Repository) -> Result<(), CommandError> {
        let wants = |kind| self.options.events.contains(&kind);
        let (commits, issues, pulls) = (wants(Kind::Commits), wants(Kind::Issues), wants(Kind::PullRequests));
        let name = &repository.full_name;
        let mut seen = HashSet::new();
        if commits {
            let read = self.branches(repository, &mut seen).await;
            self.tally.tried(format_args!("{name}, commits"), read)?;
        }
        if commits || pulls {
            let read = self.pulls(repository, pulls, commits.then_some(&mut seen)).await;
            self.tally.tried(format_args!("{name}, pull requests"), read)?;
        }
        if issues {
            let read = self.issues(repository).await;
            self.tally.tried(format_args!("{name}, issues"), read)?;
        }
        Ok(())
    }

    /// Pushes go to any branch, so every branch is read; what another one has is published once.
    async fn branches(&mut self, repository: &Repository, seen: &mut HashSet<String>) -> Result<(), CommandError> {
        let name = &repository.full_name;
        let branches = self.github.all(format!("/repos/{name}/branches?per_page=100")).await?;
        let branches = branches.ok_or_else(|| {
            let advice = "Check that the token may read the repository's contents";
            CommandError::not_found(format_args!("GitHub shows no branches of {name} to this token"), advice)
        })?;
        let heads = branches.iter().filter_map(|branch| text(branch.get("commit")?, "sha"));
        let mut progress = Progress::new(format!("{name}: read"), "commits of branches", None);
        for head in heads {
            if seen.contains(head) {
                // Then all that it is built on was read with it.
                continue;
            }
            let path = format!("/repos/{name}/commits?sha={head}&per_page=100{}", self.range());
            self.commits(repository, path, seen, Some(&mut progress)).await?;
        }
        progress.end();
        Ok(())
    }

    async fn commits(
        &mut self,
        repository: &Repository,
        path: String,
        seen: &mut HashSet<String>,
        mut progress: Option<&mut Progress>,
    ) -> Result<(), CommandError> {
        let github = self.github;
        let before = progress.as_ref().map_or(0, |progress| progress.done());
        let mut pages = github.list(path);
        while let Some(page) = pages.next().await? {
            if let Some(progress) = &mut progress {
                progress.expect(pages.expected().map(|expected| before + expected));
                progress.add(page.len() as u64);
            }
            // One push a person: its sender is what the documents say of who sent it.
            let mut by_author: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
            for commit in page {
                let git = commit.get("commit").cloned().unwrap_or_default();
                let when = git.get("committer").and_then(|who| text(who, "date"));
                let Some(sha) = text(&commit, "sha") else { continue };
                if !self.options.common.wants(when) || !seen.insert(sha.to_owned()) {
                    continue;
                }
                let author = commit.get("author").cloned().unwrap_or_default();
                let login = text(&author, "login").unwrap_or_default().to_owned();
                by_author.entry(login).or_insert_with(|| (author, Vec::new())).1.push(pushed(&commit, &git));
            }
            for (author, commits) in by_author.into_values() {
                let count = commits.len();
                let push = repository.webhook(&author, json!({ "commits": commits }));
                self.publisher.add(("commits", count), ("push", &["push"]), &push).await?;
            }
        }
        Ok(())
    }

    async fn pulls(
        &mut self,
        repository: &Repository,
        publish: bool,
        mut seen: Option<&mut HashSet<String>>,
    ) -> Result<(), CommandError> {
        let (github, name) = (self.github, &repository.full_name);
        // In the order they were made: what changes meanwhile stays on its page.
        let mut pages = github.list(format!("/repos/{name}/pulls?state=all&sort=created&direction=asc&per_page=100"));
        let mut progress = Progress::new(format!("{name}: read"), "pull requests", None);
        while let Some(page) = pages.next().await? {
            progress.expect(pages.expected());
            for pull in page {
                progress.add(1);
                let Some(number) = pull.get("number").and_then(Value::as_u64) else { continue };
                if let Some(seen) = seen.as_deref_mut() {
                    let read = self.orphans(repository, number, &pull, seen).await;
                    self.tally.tried(format_args!("{name}#{number}, commits"), read)?;
                }
                if publish && self.options.common.wants(text(&pull, "updated_at")) {
                    let read = self.pull(repository, number, pull).await;
                    self.tally.tried(format_args!("{name}#{number}"), read)?;
                }
            }
        }
        progress.end();
        pages.there(&format!("/repos/{name}/pulls"))
    }

    /// The commits of a pull request that no branch has any more: they were squashed, or the branch was deleted.
    async fn orphans(
        &mut self,
        repository: &Repository,
        number: u64,
        pull: &Value,
        seen: &mut HashSet<String>,
    ) -> Result<(), CommandError> {
        let Some(head) = pull.get("head") else { return Ok(()) };
        let here = head.get("repo").and_then(|repo| text(repo, "full_name")) == Some(&repository.full_name);
        // Of a fork nothing was pushed here.
        if !here || text(head, "sha").is_none_or(|sha| seen.contains(sha)) {
            return Ok(());
        }
        let path = format!("/repos/{}/pulls/{number}/commits?per_page=100", repository.full_name);
        self.commits(repository, path, seen, None).await
    }

    async fn pull(&mut self, repository: &Repository, number: u64, listed: Value) -> Result<(), CommandError> {
        let what = ("pull_requests", 1);
        let as_of = |action: &str, pull: Value| json!({ "action": action, "number": number, "pull_request": pull });
        if text(&listed, "state") == Some("open") {
            let sender = listed.get("user").cloned().unwrap_or_default();
            let webhook = repository.webhook(&sender, as_of("reopened", listed));
            return self.publisher.add(what, ("pull_request", &["pull_request"]), &webhook).await;
        }
        let found = self.github.get(&format!("/repos/{}/pulls/{number}", repository.full_name)).await?;
        // Reopened since the list was made: then its webhook says it.
        let Some(pull) = found.filter(|pull| text(pull, "state") == Some("closed")) else { return Ok(()) };
        let sender = [pull.get("merged_by"), pull.get("user")].into_iter().flatten().find(|user| user.is_object());
        let webhook = repository.webhook(&sender.cloned().unwrap_or_default(), as_of("closed", pull));
        self.publisher.add(what, ("pull_request", &["pull_request"]), &webhook).await
    }

    async fn issues(&mut self, repository: &Repository) -> Result<(), CommandError> {
        let (github, name) = (self.github, &repository.full_name);
        let since = self.options.common.from_date.map(|from| format!("&since={}", seconds(from.ms())));
        let since = since.unwrap_or_default();
        let mut pages =
            github.list(format!("/repos/{name}/issues?state=all&sort=created&direction=asc&per_page=100{since}"));
        let mut progress = Progress::new(format!("{name}: read"), "issues and pull requests", None);
        while let Some(page) = pages.next().await? {
            progress.expect(pages.expected());
            for issue in page {
                progress.add(1);
                // To GitHub's list, a pull request is an issue too.
                let is_pull = issue.get("pull_request").is_some();
                if !is_pull && self.options.common.wants(text(&issue, "updated_at")) {
                    let number = issue.get("number").cloned().unwrap_or_default();
                    let read = self.issue(repository, issue).await;
                    self.tally.tried(format_args!("{name}#{number}"), read)?;
                }
            }
        }
        progress.end();
        pages.there(&format!("/repos/{name}/issues"))
    }

    async fn issue(&mut self, repository: &Repository, listed: Value) -> Result<(), CommandError> {
        let Some(number) = listed.get("number").and_then(Value::as_u64) else { return Ok(()) };
        let issue = match text(&listed, "state") {
            // Who closed it is only said of a single issue.
            Some("closed") => full_issue(self.github, repository, number).await?,
            _ => Some(listed),
        };
        // Deleted since the list was made.
        let Some(issue) = issue else { return Ok(()) };
        let action = match (text(&issue, "state"), text(&issue, "state_reason")) {
            (Some("closed"), _) => "closed",
            (_, Some("reopened")) => "reopened",
            _ => "opened",
        };
        let closer = issue.get("closed_by").filter(|user| action == "closed" && user.is_object());
        let sender = closer.or_else(|| issue.get("user")).cloned().unwrap_or_default();
        let webhook = repository.webhook(&sender, json!({ "action": action, "issue": issue }));
        self.publisher.add(("issues", 1), ("issues", &["issues"]), &webhook).await
    }

    fn range(&self) -> String {
        let common = &self.options.common;
        let since = common.from_date.map(|from| format!("&since={}", seconds(from.ms()))).unwrap_or_default();
        let until = common.to_date.map(|to| format!("&until={}", seconds(to.0))).unwrap_or_default();
        since + &until
    }
}

async fn full_issue(
    github: &GithubClient,
    repository: &Repository,
    number: u64,
) -> Result<Option<Value>, CommandError> {
    github.get(&format!("/repos/{}/issues/{number}", repository.full_name)).await
}

/// A commit of the API as one of a push.
fn pushed(commit: &Value, git: &Value) -> Value {
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
        let webhook = Repository::of(&shown).webhook(&json!({ "login": "a" }), json!({ "commits": [] }));
        assert_eq!(webhook["repository"].get("pushed_at"), None);
        assert_eq!((&webhook["organization"]["login"], &webhook["sender"]["login"]), (&json!("upc"), &json!("a")));
        assert_eq!(seconds(1_795_455_723_511), "2026-11-23T17:42:03Z");
    }
}
