//! GitHub for commands: single objects, and lists page by page.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::asking::{items, json, unreadable, until_answered, with};
use crate::terminal::CommandError;
use worker_providers::asking::{ATTEMPTS, GITHUB};
use worker_providers::client::ProviderReply;
use worker_providers::github::{self, link};
use worker_providers::pages::{ENDLESS, Trail};
use worker_providers::tokens::Token;

/// GitHub's API with one token.
#[derive(Debug, Clone)]
pub struct GithubClient {
    pub(super) github: Arc<github::GithubClient>,
    pub(super) token: Token,
    pub(super) stop: CancellationToken,
}

impl GithubClient {
    /// What is there; `None` when it is not, or not for this token.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, CommandError> {
        json(GITHUB, path, &self.ask(Method::GET, path, None).await?)
    }

    /// The label of its token in metrics.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.token.credential.label
    }

    /// Whether the token is fine-grained: GitHub shows it less, and shows less about it.
    #[must_use]
    pub fn is_fine_grained(&self) -> bool {
        self.token.secret.expose().starts_with("github_pat_")
    }

    /// A list, page by page from its first.
    #[must_use]
    pub fn list(&self, path: String) -> Pages<'_> {
        Pages {
            github: self,
            next: Some(path),
            lenient: false,
            missing: false,
            read: 0,
            last: None,
            trail: Trail::default(),
        }
    }

    /// The whole list; `None` when there is none to see.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn all(&self, path: String) -> Result<Option<Vec<Value>>, CommandError> {
        self.list(path).rest().await
    }

    /// The whole list; `None` when there is none, or this token may not see it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn all_it_may_see(&self, path: String) -> Result<Option<Vec<Value>>, CommandError> {
        Pages { lenient: true, ..self.list(path) }.rest().await
    }

    /// The repository, or all of the organisation or person, as GitHub shows them; `None` when this token sees none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn visible_repositories(
        &self,
        org: &str,
        repo: Option<&str>,
    ) -> Result<Option<Vec<Value>>, CommandError> {
        if let Some(repo) = repo {
            return Ok(self.get(&format!("/repos/{org}/{repo}")).await?.map(|found| vec![found]));
        }
        match self.all_it_may_see(format!("/orgs/{org}/repos?per_page=100")).await? {
            // Some teams work under a person's account.
            None => self.all_it_may_see(format!("/users/{org}/repos?per_page=100")).await,
            all => Ok(all),
        }
    }

    /// As [`visible_repositories`](Self::visible_repositories), and none is an error.
    ///
    /// # Errors
    /// When there is none for this token; the text names the argument.
    pub async fn repositories(&self, org: &str, repo: Option<&str>) -> Result<Vec<Value>, CommandError> {
        self.visible_repositories(org, repo).await?.ok_or_else(|| match repo {
            Some(repo) => CommandError::not_found(
                format_args!("--repo: GitHub shows no repository {org}/{repo} to this token"),
                "Check both names, and that the token may read it",
            ),
            None => CommandError::not_found(
                format_args!("--org: GitHub shows no organisation or person {org} to this token"),
                "Check the name",
            ),
        })
    }

    /// Sends a request until it is answered, with any status.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ProviderReply, CommandError> {
        self.ask_at_most(ATTEMPTS, method, path, body).await
    }

    /// Sends a request once: a failed one may have been executed, and a repetition would do it twice.
    ///
    /// # Errors
    /// When it does not answer, or fails.
    pub async fn ask_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ProviderReply, CommandError> {
        self.ask_at_most(1, method, path, body).await
    }

    /// Sends a request, at most `most` times.
    ///
    /// # Errors
    /// When it does not answer, or fails that often.
    pub async fn ask_at_most(
        &self,
        most: u32,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ProviderReply, CommandError> {
        until_answered(GITHUB, path, &self.stop, most, || {
            let change = move |request: RequestBuilder| with(request, body);
            self.github.request(&self.token, "command", (method.clone(), path), change)
        })
        .await
    }
}

/// A list of GitHub's, page by page.
#[derive(Debug)]
pub struct Pages<'h> {
    github: &'h GithubClient,
    next: Option<String>,
    /// A list that this token may not see is none.
    lenient: bool,
    /// There is no such list, or not for this token.
    missing: bool,
    /// How many items were read.
    read: u64,
    /// How many items there are at most, by the number of the last page; lists with cursors do not say it.
    last: Option<u64>,
    trail: Trail,
}

impl Pages<'_> {
    /// The next page; `None` after the last, or when there is no such list.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, CommandError> {
        let Some(path) = self.next.take() else { return Ok(None) };
        if !self.trail.enter(&path) {
            return Err(unreadable(GITHUB, &path, ENDLESS));
        }
        let reply = self.github.ask(Method::GET, &path, None).await?;
        self.next = link(&reply.headers, "next");
        self.last = link(&reply.headers, "last").and_then(|last| upper_bound(&last)).or(self.last);
        if self.lenient && reply.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        // GitHub's answer for a repository without a commit.
        if reply.status == StatusCode::CONFLICT {
            return Ok(Some(Vec::new()));
        }
        self.missing = reply.status == StatusCode::NOT_FOUND;
        let items = items(GITHUB, &path, &reply)?;
        self.read += items.as_ref().map_or(0, |items| items.len() as u64);
        Ok(items)
    }

    /// Fails where there is no such list.
    ///
    /// # Errors
    /// When GitHub answered 404.
    pub fn there(&self, path: &str) -> Result<(), CommandError> {
        if !self.missing {
            return Ok(());
        }
        let advice = "Check that the token may read that part of the repository";
        Err(CommandError::not_found(format_args!("GitHub shows no {path} to this token"), advice))
    }

    /// How many items the list has, as far as its pages say; on the last one, how many it had.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        if self.next.is_none() { Some(self.read) } else { self.last }
    }

    /// All pages that are left, as one.
    async fn rest(&mut self) -> Result<Option<Vec<Value>>, CommandError> {
        let Some(mut all) = self.next().await? else { return Ok(None) };
        while let Some(more) = self.next().await? {
            all.extend(more);
        }
        Ok(Some(all))
    }
}

/// How many items there are at most when this is the address of the last page.
fn upper_bound(last: &str) -> Option<u64> {
    let url = Url::parse(last).ok()?;
    let number = |name: &str| url.query_pairs().find(|(key, _)| key == name)?.1.parse::<u64>().ok();
    number("page")?.checked_mul(number("per_page")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_bounds_a_list() {
        assert_eq!(upper_bound("https://x/a?per_page=100&page=9"), Some(900));
        assert_eq!(upper_bound("https://x/a?per_page=100&cursor=v1"), None);
    }
}
