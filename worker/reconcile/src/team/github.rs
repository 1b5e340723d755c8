//! Compares the lists of one repository with the documents of one `prj`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::Document;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::source::Source;
use shared::time::parse_instant;
use worker_event::effect::Kind;

use crate::client::{GithubApi, Halt};
use crate::compare::differences;
use crate::compare::removal::needs_a_person;
use crate::compare::shown;
use crate::feed::Feed;
use crate::parts::Parts;
use crate::reading::github::{Commits, Numbered, Repository, text};
use crate::report::{Finding, Report};
use crate::scope::{GithubKind, Scope};
use crate::stored::{self, Stored};

/// What a list of pull requests does not contain.
const PULL_NOT_LISTED: [&str; 1] = ["merged_by"];

/// Reconciles a project's documents with the repositories of an organisation or person, or with one of them.
///
/// # Errors
/// When a server does not answer, or at a stop.
pub async fn reconcile(
    parts: &Parts,
    api: &GithubApi,
    scope: &Scope,
    owner: &str,
    name: Option<&str>,
) -> Result<Report, Halt> {
    let before = api.asking.calls();
    let mut report = Report::default();
    match api.repositories(owner, name).await? {
        Some(found) => {
            let found = found.iter().map(Repository::of).map(|one| (one.full_name.clone(), one));
            let found: BTreeMap<String, Repository> = found.collect();
            report.extend(former_names(parts, api, scope, &found).await?);
            for one in found.values() {
                match repository(parts, api, scope, one).await {
                    Ok(found) => report.extend(found),
                    // One repository's failure does not stop the others.
                    Err(error @ Halt::Failed { .. }) => {
                        let finding = format!("{}: {error}", one.full_name);
                        report.findings.push(Finding { prj: scope.prj.clone(), source: Source::Github, finding });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        None => {
            let what = name
                .map_or_else(|| format!("organisation or person {owner}"), |name| format!("repository {owner}/{name}"));
            let label = &api.token.credential.label;
            report.findings.push(Finding {
                prj: scope.prj.clone(),
                source: Source::Github,
                finding: format!(
                    "GitHub shows no {what} to the token of {label}; check the name, and what the token may read"
                ),
            });
        }
    }
    report.calls = api.asking.calls() - before;
    Ok(report)
}

async fn repository(parts: &Parts, api: &GithubApi, scope: &Scope, repository: &Repository) -> Result<Report, Halt> {
    let feed = Feed::open(parts, scope, Source::Github, &repository.full_name).await?;
    let mut pass = Pass { parts, api, scope, repository, feed };
    let wants = |kind| scope.github.contains(&kind);
    if wants(GithubKind::Issues) {
        pass.issues().await?;
    }
    if wants(GithubKind::PullRequests) || wants(GithubKind::Commits) {
        let pulls = repository.pulls(api).await?;
        if !pulls.whole {
            // Issues can be switched off, pull requests cannot.
            let (name, label) = (&repository.full_name, &api.token.credential.label);
            pass.feed.finding(format!(
                "GitHub shows no pull requests of {name} to the token of {label}; check what the token may read"
            ));
        }
        if wants(GithubKind::PullRequests) {
            pass.pulls(&pulls).await?;
        }
        if wants(GithubKind::Commits) {
            pass.commits(&pulls).await?;
        }
    }
    pass.feed.finish().await
}

struct Pass<'a> {
    parts: &'a Parts,
    api: &'a GithubApi,
    scope: &'a Scope,
    repository: &'a Repository,
    feed: Feed<'a>,
}

impl Pass<'_> {
    async fn stored(&self, kind: Kind) -> Result<Stored, Halt> {
        let name = &self.repository.full_name;
        stored::by_number(self.parts.store.database(), kind, self.scope.prj.as_str(), Some(name)).await
    }

    async fn issues(&mut self) -> Result<(), Halt> {
        const KIND: &str = "issues";
        let listed = self.repository.issues(self.api, self.scope.range.0).await?;
        let stored = self.stored(Kind::GithubIssue).await?;
        for (number, issue) in &listed.items {
            if !self.scope.wants(text(issue, "updated_at")) {
                continue;
            }
            let event = self.feed.event("issues", listed.as_of, &self.repository.issue_webhook(issue));
            self.feed.counts(KIND).checked += 1;
            if self.differs(&event, document(&stored, *number), issue, &[])? {
                self.feed.counts(KIND).repaired += 1;
                self.feed.publish(&event).await?;
            } else {
                self.feed.counts(KIND).same += 1;
            }
        }
        let (name, as_of) = (&self.repository.full_name, listed.as_of);
        for number in self.missing(KIND, &listed, &stored).await? {
            let path = format!("/repos/{name}/issues/{number}");
            let answer = self.api.ask(Method::GET, &path).await?;
            let gone = match answer.status {
                StatusCode::NOT_FOUND | StatusCode::GONE => true,
                // It was transferred: its repository has another address, unless that was renamed too.
                status if status.is_redirection() => true,
                status if status.is_success() => {
                    let found = answer.json("GitHub", &path)?.unwrap_or_default();
                    text(&found, "repository_url").is_some_and(|url| !leads_to(url, name))
                }
                _ => false,
            };
            if gone {
                self.feed.counts(KIND).removed += 1;
                let event = self.feed.event("issues", as_of, &self.repository.issue_gone_webhook(number));
                self.feed.publish(&event).await?;
            } else {
                self.feed.counts(KIND).same += 1;
            }
        }
        Ok(())
    }

    async fn pulls(&mut self, listed: &Numbered) -> Result<(), Halt> {
        const KIND: &str = "pull_requests";
        let stored = self.stored(Kind::PullRequest).await?;
        let (repository, as_of) = (self.repository, listed.as_of);
        for (number, pull) in &listed.items {
            let changed = text(pull, "updated_at");
            if !self.scope.wants(changed) {
                continue;
            }
            let held = document(&stored, *number);
            if text(pull, "state") == Some("open") {
                self.feed.counts(KIND).checked += 1;
                // It was reopened.
                if held.is_some_and(|held| !is_newer(held, pull)) {
                    self.feed.counts(KIND).removed += 1;
                    let updated = pull.get("updated_at").cloned().unwrap_or_default();
                    let event =
                        self.feed.event("pull_request", as_of, &repository.pull_open_webhook(*number, &updated));
                    self.feed.publish(&event).await?;
                } else {
                    self.feed.counts(KIND).same += 1;
                }
                continue;
            }
            self.feed.counts(KIND).checked += 1;
            let event = self.feed.event("pull_request", as_of, &repository.pull_webhook(pull));
            let due = self.scope.depth.reads(*number, changed);
            if !due && !self.differs(&event, held, pull, &PULL_NOT_LISTED)? {
                self.feed.counts(KIND).same += 1;
                continue;
            }
            let found = self.api.get(&format!("/repos/{}/pulls/{number}", repository.full_name)).await?;
            // Reopened since it was listed: its webhook says so.
            let Some(pull) = found.filter(|pull| text(pull, "state") == Some("closed")) else {
                self.feed.counts(KIND).same += 1;
                continue;
            };
            let event = self.feed.event("pull_request", as_of, &repository.pull_webhook(&pull));
            if self.differs(&event, held, &pull, &[])? {
                self.feed.counts(KIND).repaired += 1;
                self.feed.publish(&event).await?;
            } else {
                self.feed.counts(KIND).same += 1;
            }
        }
        let name = &repository.full_name;
        for number in self.missing(KIND, listed, &stored).await? {
            let answer = self.api.ask(Method::GET, &format!("/repos/{name}/pulls/{number}")).await?;
            if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
                self.feed.counts(KIND).removed += 1;
                let event = self.feed.event("pull_request", as_of, &repository.pull_gone_webhook(number));
                self.feed.publish(&event).await?;
            } else {
                self.feed.counts(KIND).same += 1;
            }
        }
        Ok(())
    }

    /// A stored commit keeps the view of its push, and is never removed: only commits that are not stored differ.
    async fn commits(&mut self, pulls: &Numbered) -> Result<(), Halt> {
        const KIND: &str = "commits";
        let mut reading = Commits::new(self.api, self.repository, self.scope.range);
        let mut found = reading.branches().await?;
        let db = self.parts.store.database();
        let heads: Vec<&str> = pulls.items.values().filter_map(|pull| text(pull.get("head")?, "sha")).collect();
        let known: HashMap<String, Document> = stored::commits(db, self.scope.prj.as_str(), &heads).await?;
        for pull in pulls.items.values() {
            found.extend(reading.orphans(pull, &known).await?);
        }
        let when = |commit: &Value| {
            let committer = commit.get("commit").and_then(|git| git.get("committer"));
            committer.and_then(|committer| text(committer, "date")).map(str::to_owned)
        };
        found.retain(|commit| self.scope.wants(when(commit).as_deref()));
        let shas: Vec<&str> = found.iter().filter_map(|commit| text(commit, "sha")).collect();
        let known = stored::commits(db, self.scope.prj.as_str(), &shas).await?;
        let missing: Vec<&Value> =
            found.iter().filter(|commit| text(commit, "sha").is_some_and(|sha| !known.contains_key(sha))).collect();
        let counts = self.feed.counts(KIND);
        counts.checked += found.len();
        counts.same += found.len() - missing.len();
        counts.repaired += missing.len();
        // Its push is unknown: the push of any webhook is earlier.
        let as_of = pulls.as_of;
        for part in missing.chunks(COMMITS_TOGETHER) {
            for (webhook, _) in self.repository.pushes(part) {
                let event = self.feed.event("push", as_of, &webhook);
                self.feed.publish(&event).await?;
            }
        }
        Ok(())
    }

    /// Whether a document differs from the object in the API.
    fn differs(
        &self,
        event: &shared::envelope::Envelope,
        stored: Option<&Document>,
        object: &Value,
        but: &[&str],
    ) -> Result<bool, Halt> {
        let Some(shown) = shown::shown(event, &self.feed.forgotten, &self.parts.settings).map_err(super::refused)?
        else {
            return Ok(false);
        };
        Ok(stored.is_none_or(|stored| !is_newer(stored, object) && !differences(stored, &shown.fields, but).is_empty()))
    }

    /// Documents that are no longer listed; none while the removal waits for an operator. Documents of a repository
    /// that does not answer itself stay.
    async fn missing(&mut self, kind: &'static str, listed: &Numbered, stored: &Stored) -> Result<BTreeSet<u64>, Halt> {
        if !self.scope.is_whole() || !listed.whole {
            return Ok(BTreeSet::new());
        }
        let numbers = stored.keys().filter_map(|number| u64::try_from(*number).ok());
        let missing: BTreeSet<u64> = numbers.filter(|number| !listed.items.contains_key(number)).collect();
        self.feed.counts(kind).checked += missing.len();
        if !self.scope.confirmed && needs_a_person(missing.len(), stored.len()) {
            self.feed.counts(kind).unconfirmed += missing.len();
            self.feed.finding(super::unconfirmed(missing.len(), kind, &self.scope.prj));
            return Ok(BTreeSet::new());
        }
        if !missing.is_empty() && self.api.get(&format!("/repos/{}", self.repository.full_name)).await?.is_none() {
            return Ok(BTreeSet::new());
        }
        Ok(missing)
    }
}

/// How many commits one event holds at most.
const COMMITS_TOGETHER: usize = 100;

fn document(stored: &Stored, number: u64) -> Option<&Document> {
    stored.get(&i64::try_from(number).ok()?)
}

/// Whether a document shows a newer state than an answer of a lagging replica.
fn is_newer(stored: &Document, object: &Value) -> bool {
    let updated = text(object, "updated_at").and_then(parse_instant);
    stored::as_of(stored).zip(updated).is_some_and(|(stored, updated)| stored > updated)
}

/// Whether the address of a repository's API is this repository's.
fn leads_to(url: &str, full_name: &str) -> bool {
    let path = url.to_lowercase();
    path.ends_with(&format!("/repos/{}", full_name.to_lowercase()))
}

/// Former names of repositories: documents under a name that GitHub redirects to another.
///
/// # Errors
/// When a server does not answer.
pub async fn former_names(
    parts: &Parts,
    api: &GithubApi,
    scope: &Scope,
    current: &BTreeMap<String, Repository>,
) -> Result<Report, Halt> {
    let mut report = Report::default();
    for name in stored::repositories(parts.store.database(), scope.prj.as_str()).await? {
        if current.contains_key(&name) || name.split('/').count() != 2 {
            continue;
        }
        // It may have left the organisation, or belong to another course: only a repository that we read under its new
        // name is renamed here.
        let Some(shown) = api.get(&format!("/repos/{name}")).await? else { continue };
        let Some(repository) = text(&shown, "full_name").and_then(|full_name| current.get(full_name)) else { continue };
        let mut feed = Feed::open(parts, scope, Source::Github, &repository.full_name).await?;
        let counts = feed.counts("repositories");
        (counts.checked, counts.repaired) = (1, 1);
        match repository.renamed_webhook(&name) {
            Some(webhook) => {
                let event = feed.event("repository", shared::time::now_ms(), &webhook);
                feed.publish(&event).await?;
            }
            None => feed.finding(format!(
                "{name} was renamed and transferred: its documents stay beside those of {}; run: worker forget, or wait for the end of the course",
                repository.full_name
            )),
        }
        report.extend(feed.finish().await?);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_lives_elsewhere_when_its_repository_is_another() {
        assert!(leads_to("https://api.github.com/repos/UPC/Marmota", "upc/marmota"));
        assert!(!leads_to("https://api.github.com/repos/upc/marmota2", "upc/marmota"));
        assert!(!leads_to("https://api.github.com/repositories/4242", "upc/marmota"));
    }
}
