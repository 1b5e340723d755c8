//! GitHub: of a commit its changed lines, whether it is a merge, and whether its signature is valid.
//!
//! One commit takes one REST request. Several take one GraphQL request, where the token allows it: by REST, a push of
//! 100 commits costs 100 of the 5,000 requests that a token has in an hour; by GraphQL it costs one. Both give the same
//! [`CommitFacts`].

mod graphql;
mod link;
mod rest;

pub use self::link::link;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use tokio::time::Instant;

use crate::ProviderError;
use crate::client::{ProviderClient, ProviderReply};
use crate::limiter::QueueSlot;
use crate::report::Reporter;
use crate::tokens::Token;

/// Commits that are looked up by REST before the results are written.
const COMMITS_PER_PART: usize = 10;

/// After a token was refused GraphQL (or the server has none), only REST is used for this long.
const REST_ONLY_TTL: Duration = Duration::from_secs(3_600);

/// GitHub asks for a second between requests that change something.
const CHANGES_APART: Duration = Duration::from_secs(1);

/// From this attempt on, only REST is used: a server that times out on 100 commits may answer for one.
const REST_FROM_ATTEMPT: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// `stats.total`
    pub total: i64,
    /// `stats.additions`
    pub additions: i64,
    /// `stats.deletions`
    pub deletions: i64,
    /// Two parents or more.
    pub is_merge: bool,
    pub verified: bool,
    /// In REST's words, also from GraphQL.
    pub verified_reason: String,
}

/// The result for a part of the commits.
#[derive(Debug)]
struct LookedUp {
    /// Without the commits that GitHub does not have.
    facts: Vec<(String, CommitFacts)>,
    /// How many commits, from the first on, have a result, found or not.
    answered: usize,
    /// Why the others have none.
    then: Option<ProviderError>,
}

#[derive(Debug)]
pub struct GithubClient {
    api: ProviderClient,
    base: String,
    graphql_url: String,
    rest_only: Mutex<HashMap<String, Instant>>,
    changes_apart: Duration,
    /// When each token may change something again.
    next_change: Mutex<HashMap<String, Instant>>,
}

/// Looks up the commits of one message part by part.
#[derive(Debug)]
pub struct CommitSearch<'g> {
    github: &'g GithubClient,
    token: &'g Token,
    repo: &'g str,
    attempt: u32,
    left: Vec<String>,
    not_found_in_a_row: usize,
}

impl GithubClient {
    /// `base` is the URL of the REST API.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, reporter: Reporter) -> Result<Self, reqwest::Error> {
        let base = base.trim_end_matches('/').to_owned();
        // GitHub Enterprise has REST at /api/v3 and GraphQL beside it.
        let graphql_url = match base.strip_suffix("/api/v3") {
            Some(root) => format!("{root}/api/graphql"),
            None => format!("{base}/graphql"),
        };
        Ok(Self {
            api: ProviderClient::new("github", reporter)?,
            base,
            graphql_url,
            rest_only: Mutex::default(),
            changes_apart: CHANGES_APART,
            next_change: Mutex::default(),
        })
    }

    /// The same, with another time between two requests of a token that change something.
    #[must_use]
    pub const fn with_changes_apart(mut self, time: Duration) -> Self {
        self.changes_apart = time;
        self
    }

    /// A slot for a look-up.
    ///
    /// # Errors
    /// [`ProviderError::Limited`].
    pub fn queue_slot(&self, token: &Token) -> Result<QueueSlot, ProviderError> {
        self.api.queue_slot(&token.credential)
    }

    /// `attempt` counts from 1.
    #[must_use]
    pub fn search<'g>(
        &'g self,
        token: &'g Token,
        repo: &'g str,
        mut shas: Vec<String>,
        attempt: u32,
    ) -> CommitSearch<'g> {
        // GitHub can fail on one commit, such as one with a huge diff. Rotate, so that it does not always come first.
        let first = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0) % shas.len().max(1);
        shas.rotate_left(first);
        CommitSearch { github: self, token, repo, attempt, left: shas, not_found_in_a_row: 0 }
    }

    /// Any other request, for a command. One that changes something waits until a second has passed since the token's
    /// last such request. `target` is a path that begins with a slash, or a URL from a `Link` header;
    /// `change` adds query and body.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] when GitHub does not accept the token.
    pub async fn request(
        &self,
        token: &Token,
        endpoint: &'static str,
        (method, target): (Method, &str),
        change: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<ProviderReply, ProviderError> {
        let url = self.address(target).ok_or_else(|| {
            // The token must not go to another server, whatever a reply says.
            ProviderError::Refused("GitHub's answer points to another server: check GITHUB_API_URL".to_owned())
        })?;
        if !method.is_safe() {
            tokio::time::sleep_until(self.next_change_of(token)).await;
        }
        let request = self
            .api
            .http
            .request(method, url)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .bearer_auth(token.secret.expose());
        let reply = self.api.call(&token.credential, endpoint, change(request)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            let label = &token.credential.label;
            return Err(ProviderError::Refused(format!("GitHub refuses the token of {label}: replace it")));
        }
        Ok(reply)
    }

    /// Takes the token's next time at which it may change something.
    fn next_change_of(&self, token: &Token) -> Instant {
        let mut all = self.next_change.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, next| *next > now);
        let next = all.entry(token.credential.id.clone()).or_insert(now);
        let taken = *next;
        *next += self.changes_apart;
        taken
    }

    /// `None` for a URL of another server.
    fn address(&self, target: &str) -> Option<String> {
        if target.starts_with('/') {
            return Some(format!("{}{target}", self.base));
        }
        let (base, given) = (Url::parse(&self.base).ok()?, Url::parse(target).ok()?);
        (base.origin() == given.origin()).then(|| target.to_owned())
    }

    fn is_rest_only(&self, token: &Token) -> bool {
        let mut rest_only = self.rest_only.lock().unwrap_or_else(PoisonError::into_inner);
        rest_only.retain(|_, since| since.elapsed() < REST_ONLY_TTL);
        rest_only.contains_key(&token.credential.id)
    }

    fn set_rest_only(&self, token: &Token) {
        self.rest_only
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.credential.id.clone(), Instant::now());
    }
}

impl CommitSearch<'_> {
    /// Looks up the next part; `None` after the last. Gives the results, to be written before the next call, and why
    /// the rest cannot be looked up now.
    pub async fn next(&mut self) -> Option<(Vec<(String, CommitFacts)>, Option<ProviderError>)> {
        if self.left.is_empty() {
            return None;
        }
        let LookedUp { facts, answered, then } = self.look_up().await;
        self.left.drain(..answered.min(self.left.len()));
        if answered == 0 && then.is_none() {
            // Cannot happen; without this check a bug would be an endless loop.
            return Some((
                facts,
                Some(ProviderError::Unreadable("GitHub's reply has no commit that was asked for".into())),
            ));
        }
        Some((facts, then))
    }

    async fn look_up(&mut self) -> LookedUp {
        let Self { github, token, repo, attempt, .. } = *self;
        if self.left.len() > 1 && attempt < REST_FROM_ATTEMPT && !github.is_rest_only(token) {
            match graphql::ask(github, token, repo, &self.left).await {
                Ok(facts) => return LookedUp { facts, answered: self.left.len(), then: None },
                Err(graphql::Fallback::Retry(then)) => {
                    return LookedUp { facts: Vec::new(), answered: 0, then: Some(then) };
                }
                Err(graphql::Fallback::Rest { always }) => {
                    if always {
                        github.set_rest_only(token);
                    }
                }
            }
        }
        let part = self.left.iter().take(COMMITS_PER_PART).cloned().collect();
        rest::ask(github, token, repo, part, &mut self.not_found_in_a_row).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Token;

    #[tokio::test(start_paused = true)]
    async fn requests_of_a_token_that_change_something_are_a_second_apart() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let github = GithubClient::new("https://api.example", Reporter::silent()).unwrap();
        let [a, b] = ["a", "b"].map(|secret| Token::new(secret, &secret.parse().unwrap()));
        let began = Instant::now();
        let after = |next: Instant| next.duration_since(began).as_millis();
        assert_eq!([&a, &a, &b, &a].map(|token| after(github.next_change_of(token))), [0, 1_000, 0, 2_000]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(after(github.next_change_of(&a)), 10_000);
        let quick = github.with_changes_apart(Duration::ZERO);
        assert_eq!([&b, &b].map(|token| after(quick.next_change_of(token))), [10_000; 2]);
    }
}
