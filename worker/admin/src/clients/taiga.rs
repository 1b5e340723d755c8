//! Taiga for commands.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::asking::{items, json, unreadable, until_answered, with};
use crate::terminal::CommandError;
use worker_providers::asking::{ATTEMPTS, TAIGA};
use worker_providers::client::ProviderReply;
use worker_providers::pages::{ENDLESS, MOST_PAGES};
use worker_providers::taiga;
use worker_providers::tokens::Account;

/// Taiga's API with one account.
#[derive(Debug, Clone)]
pub struct TaigaClient {
    pub(super) taiga: Arc<taiga::TaigaClient>,
    pub(super) account: Account,
    pub(super) stop: CancellationToken,
}

impl TaigaClient {
    /// What is there; `None` when it is not, or not for this account.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, CommandError> {
        json(TAIGA, path, &self.ask(Method::GET, path, None).await?)
    }

    /// A whole list: in one answer where Taiga gives one, else page by page.
    ///
    /// # Errors
    /// When it does not answer, or is not there.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, CommandError> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = if page == 1 { path.to_owned() } else { format!("{path}{joint}page={page}") };
            let reply = self.ask(Method::GET, &path, None).await?;
            let items = items(TAIGA, &path, &reply)?.ok_or_else(|| {
                CommandError::not_found(
                    format_args!("Taiga shows no list at {path} to this account"),
                    "Check that the account may see that part of the project",
                )
            })?;
            let count = reply.headers.get("x-pagination-count").and_then(|count| count.to_str().ok()?.parse().ok());
            let ended = items.is_empty();
            all.extend(items);
            if ended || count.is_none_or(|count: usize| all.len() >= count) {
                return Ok(all);
            }
        }
        Err(unreadable(TAIGA, path, ENDLESS))
    }

    /// The project with this slug, as Taiga shows it in full; `None` when this account does not see one.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn visible_project(&self, slug: &str) -> Result<Option<Value>, CommandError> {
        self.get(&format!("/projects/by_slug?slug={slug}")).await
    }

    /// As [`visible_project`](Self::visible_project), and none is an error.
    ///
    /// # Errors
    /// When there is none for this account; the text names `--slug`.
    pub async fn project(&self, slug: &str) -> Result<Value, CommandError> {
        self.visible_project(slug).await?.ok_or_else(|| no_project(slug, "this account"))
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
        until_answered(TAIGA, path, &self.stop, most, || {
            // Lists come in one answer.
            let change = move |request: RequestBuilder| with(request, body).header("x-disable-pagination", "True");
            self.taiga.request(&self.account, "command", (method.clone(), path), change)
        })
        .await
    }
}

/// The error for an unknown slug.
#[must_use]
pub fn no_project(slug: &str, whom: &str) -> CommandError {
    CommandError::not_found(
        format_args!("--slug: Taiga shows no project {slug} to {whom}"),
        "A slug is the last part of the project's address, such as mireia-marmota",
    )
}
