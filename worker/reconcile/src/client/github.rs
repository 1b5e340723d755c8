//! GitHub: single objects, and lists page by page.

use std::sync::Arc;

use reqwest::header::{ETAG, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use worker_providers::asking::{GITHUB, REQUEST_TIMEOUT};
use worker_providers::github::{GithubClient, link};
use worker_providers::pages::{ENDLESS, Trail};
use worker_providers::tokens::Token;

use super::asking::{Answer, Asking, Halt};
use crate::kept::{Kept, KeptPages};
use crate::reading::as_of::Clock;

/// How many redirects of a renamed repository are followed.
const REDIRECTS: usize = 3;

/// GitHub's API with one token.
#[derive(Debug, Clone)]
pub struct GithubApi {
    /// The client that it shares with look-ups.
    pub github: Arc<GithubClient>,
    /// Whose rate limit is used.
    pub token: Token,
    pub asking: Asking,
    /// Pages of earlier readings; without them every page is read again.
    pub kept: Option<KeptPages>,
}

impl GithubApi {
    /// What is there; `None` when it is not, or not for this token.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Halt> {
        let mut answer = self.ask(Method::GET, path).await?;
        // A renamed repository redirects to its new address. The client follows to no other server.
        for _ in 0..REDIRECTS {
            let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
            let Some(location) = location.filter(|_| answer.status.is_redirection()) else { break };
            answer = self.ask(Method::GET, &location).await?;
        }
        answer.json(GITHUB, path)
    }

    /// The answer, whatever it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, method: Method, path: &str) -> Result<Answer, Halt> {
        self.ask_unless(method, path, None).await
    }

    async fn ask_unless(&self, method: Method, path: &str, etag: Option<&str>) -> Result<Answer, Halt> {
        self.asking
            .until_answered(GITHUB, || {
                self.github.request(&self.token, "reconcile", (method.clone(), path), move |request| {
                    let request = request.timeout(REQUEST_TIMEOUT);
                    match etag {
                        Some(etag) => request.header(IF_NONE_MATCH, etag),
                        None => request,
                    }
                })
            })
            .await
    }

    /// A list, page by page from its first; `slim` keeps the fields that are used.
    #[must_use]
    pub fn pages(&self, path: String, slim: fn(&Value) -> Value) -> Pages<'_> {
        Pages { api: self, next: Some(path), slim, lenient: false, first: None, trail: Trail::default() }
    }

    /// A whole list; `None` when there is none, or this token may not see it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn list(&self, path: String) -> Result<Option<Vec<Value>>, Halt> {
        let mut pages = Pages { lenient: true, ..self.pages(path, Value::clone) };
        let Some(mut all) = pages.next().await? else { return Ok(None) };
        while let Some(more) = pages.next().await? {
            all.extend(more);
        }
        Ok(Some(all))
    }

    /// The repository, or all of the organisation or person; `None` when this token sees none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn repositories(&self, owner: &str, name: Option<&str>) -> Result<Option<Vec<Value>>, Halt> {
        if let Some(name) = name {
            return Ok(self.get(&format!("/repos/{owner}/{name}")).await?.map(|found| vec![found]));
        }
        match self.list(format!("/orgs/{owner}/repos?per_page=100")).await? {
            // Some teams work under a person's account.
            None => self.list(format!("/users/{owner}/repos?per_page=100")).await,
            all => Ok(all),
        }
    }
}

/// A list of GitHub's, page by page.
#[derive(Debug)]
pub struct Pages<'a> {
    api: &'a GithubApi,
    next: Option<String>,
    slim: fn(&Value) -> Value,
    lenient: bool,
    first: Option<Clock>,
    trail: Trail,
}

impl Pages<'_> {
    /// When the first page was requested.
    #[must_use]
    pub const fn first(&self) -> Option<Clock> {
        self.first
    }

    /// The next page; `None` after the last, or when there is no such list.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, Halt> {
        let Some(path) = self.next.take() else { return Ok(None) };
        if !self.trail.enter(&path) {
            return Err(Halt::unreadable(GITHUB, &path, ENDLESS));
        }
        let kept = match &self.api.kept {
            Some(pages) => pages.get(&self.api.token.credential.id, &path).await,
            None => None,
        };
        let etag = kept.as_ref().map(|kept| kept.etag.as_str());
        let answer = self.api.ask_unless(Method::GET, &path, etag).await?;
        self.first.get_or_insert(answer.clock);
        if answer.status == StatusCode::NOT_MODIFIED
            && let Some(kept) = kept
        {
            self.next = kept.next;
            return Ok(Some(kept.items));
        }
        self.next = link(&answer.headers, "next");
        if self.lenient && answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        match answer.items(GITHUB, &path)? {
            Some(items) => {
                let items: Vec<Value> = items.iter().map(self.slim).collect();
                let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
                if let (Some(pages), Some(etag)) = (&self.api.kept, etag) {
                    let kept = Kept { etag: etag.to_owned(), next: self.next.clone(), items };
                    pages.put(&self.api.token.credential.id, &path, &kept).await;
                    return Ok(Some(kept.items));
                }
                Ok(Some(items))
            }
            None => Ok(None),
        }
    }
}
