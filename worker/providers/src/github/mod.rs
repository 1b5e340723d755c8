//! GitHub: what a commit changed, whether it is a merge, and what its signature is worth (CONTRACT §4).
//!
//! One commit is asked for by `rest`, several by one `graphql` request where the token allows it. Both
//! give the same [`CommitFacts`].

mod graphql;
mod rest;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use tokio::time::Instant;

use crate::NotYet;
use crate::budget::Seat;
use crate::client::{Api, Reply};
use crate::report::Teller;
use crate::tokens::Token;

/// How many commits are asked for one by one before what is known is written.
const SINGLES: usize = 10;

/// For how long a token that may not use GraphQL (or a server that has none) is taken at its word.
const SINGLY: Duration = Duration::from_secs(3_600);

/// From which attempt on commits are asked for singly: a server that cannot answer for a hundred at once in
/// time answers for one.
const GIVE_UP_GRAPHQL: u32 = 3;

/// What GitHub knows of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// `stats.total`
    pub total: i64,
    /// `stats.additions`
    pub additions: i64,
    /// `stats.deletions`
    pub deletions: i64,
    /// It has two parents or more.
    pub is_merge: bool,
    /// Its signature is good.
    pub verified: bool,
    /// Why, or why not, in REST's words.
    pub verified_reason: String,
}

/// What came of asking for some commits.
#[derive(Debug)]
struct Asked {
    /// What is known now. A commit GitHub does not know is not among them.
    facts: Vec<(String, CommitFacts)>,
    /// How many were answered for, known to GitHub or not, from the first on.
    answered: usize,
    /// Why the others were not asked for.
    then: Option<NotYet>,
}

/// GitHub's API.
#[derive(Debug)]
pub struct Github {
    api: Api,
    base: String,
    graphql_url: String,
    singly: Mutex<HashMap<String, Instant>>,
}

/// One look-up's commits, asked for part by part.
#[derive(Debug)]
pub struct Search<'g> {
    github: &'g Github,
    token: &'g Token,
    repo: &'g str,
    attempt: u32,
    left: Vec<String>,
    strangers: usize,
}

impl Github {
    /// At this base URL.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, teller: Teller) -> Result<Self, reqwest::Error> {
        let base = base.trim_end_matches('/').to_owned();
        // GitHub Enterprise has REST at /api/v3 and GraphQL beside it.
        let graphql_url = match base.strip_suffix("/api/v3") {
            Some(root) => format!("{root}/api/graphql"),
            None => format!("{base}/graphql"),
        };
        Ok(Self { api: Api::new("github", teller)?, base, graphql_url, singly: Mutex::default() })
    }

    /// A place for a look-up.
    ///
    /// # Errors
    /// [`NotYet::Wait`].
    pub fn seat(&self, token: &Token) -> Result<Seat, NotYet> {
        self.api.seat(&token.payer)
    }

    /// Looks for commits of a repository; `attempt` counts from 1.
    #[must_use]
    pub fn search<'g>(&'g self, token: &'g Token, repo: &'g str, mut shas: Vec<String>, attempt: u32) -> Search<'g> {
        // A commit that GitHub fails at (its own diffs can be too much for it) must not stand before the others.
        let first = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0) % shas.len().max(1);
        shas.rotate_left(first);
        Search { github: self, token, repo, attempt, left: shas, strangers: 0 }
    }

    /// Any other request, for a person who waits: `target` is a path that begins with a slash, or the address that
    /// a `Link` gave; `change` adds what is sent with it.
    ///
    /// # Errors
    /// Why it cannot be answered now; [`NotYet::Refused`] when GitHub does not take the token.
    pub async fn request(
        &self,
        token: &Token,
        endpoint: &'static str,
        (method, target): (Method, &str),
        change: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply, NotYet> {
        let url = self.address(target).ok_or_else(|| {
            // A token goes to GitHub and to nobody else, whatever an answer says.
            NotYet::Refused("GitHub's answer points to another server: check GITHUB_API_URL".to_owned())
        })?;
        let request = self
            .api
            .http
            .request(method, url)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .bearer_auth(token.secret.expose());
        let reply = self.api.call(&token.payer, endpoint, change(request)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            let label = &token.payer.label;
            return Err(NotYet::Refused(format!("GitHub refuses the token of {label}: replace it")));
        }
        Ok(reply)
    }

    /// The whole address of a path, or of one that GitHub gave; none when that is of another server.
    fn address(&self, target: &str) -> Option<String> {
        if target.starts_with('/') {
            return Some(format!("{}{target}", self.base));
        }
        let (base, given) = (Url::parse(&self.base).ok()?, Url::parse(target).ok()?);
        (base.origin() == given.origin()).then(|| target.to_owned())
    }

    fn asks_singly(&self, token: &Token) -> bool {
        let mut singly = self.singly.lock().unwrap_or_else(PoisonError::into_inner);
        singly.retain(|_, since| since.elapsed() < SINGLY);
        singly.contains_key(&token.payer.id)
    }

    fn ask_singly(&self, token: &Token) {
        self.singly.lock().unwrap_or_else(PoisonError::into_inner).insert(token.payer.id.clone(), Instant::now());
    }
}

impl Search<'_> {
    /// Asks for the next part; `None` when all is asked. Gives what was learned, which should be written before
    /// the next, and why the rest cannot be asked for now.
    pub async fn next(&mut self) -> Option<(Vec<(String, CommitFacts)>, Option<NotYet>)> {
        if self.left.is_empty() {
            return None;
        }
        let Asked { facts, answered, then } = self.ask().await;
        self.left.drain(..answered.min(self.left.len()));
        if answered == 0 && then.is_none() {
            // Cannot be; but a loop without an end must not be a matter of trust.
            return Some((facts, Some(NotYet::Unreadable("nothing was answered".into()))));
        }
        Some((facts, then))
    }

    async fn ask(&mut self) -> Asked {
        let Self { github, token, repo, attempt, .. } = *self;
        if self.left.len() > 1 && attempt < GIVE_UP_GRAPHQL && !github.asks_singly(token) {
            match graphql::ask(github, token, repo, &self.left).await {
                Ok(facts) => return Asked { facts, answered: self.left.len(), then: None },
                Err(graphql::Refusal::NotYet(then)) => {
                    return Asked { facts: Vec::new(), answered: 0, then: Some(then) };
                }
                Err(graphql::Refusal::Singly { always }) => {
                    if always {
                        github.ask_singly(token);
                    }
                }
            }
        }
        let part = self.left.iter().take(SINGLES).cloned().collect();
        rest::ask(github, token, repo, part, &mut self.strangers).await
    }
}
