//! One request of a command; its errors are the command's.

use reqwest::RequestBuilder;
use serde_json::Value;
use shared::duration::duration;
use tokio_util::sync::CancellationToken;
use worker_providers::ProviderError;
use worker_providers::asking::{self, Attempts, NoContent, NotAnswered, REQUEST_TIMEOUT};
use worker_providers::client::ProviderReply;

use crate::terminal::{CommandError, notice};

pub(super) fn with(request: RequestBuilder, body: Option<&Value>) -> RequestBuilder {
    let request = request.timeout(REQUEST_TIMEOUT);
    match body {
        Some(body) => request.json(body),
        None => request,
    }
}

/// Sends a request until it is answered, at most `most` times.
pub(super) async fn until_answered<F>(
    provider: &'static str,
    request: &str,
    stop: &CancellationToken,
    most: u32,
    send: impl Fn() -> F,
) -> Result<ProviderReply, CommandError>
where
    F: Future<Output = Result<ProviderReply, ProviderError>>,
{
    let attempts = Attempts { provider, most, longest_wait: None, stop, notice: |line| notice(line) };
    attempts.until_answered(send).await.map_err(|error| match error {
        NotAnswered::Stopped => CommandError::interrupted(),
        NotAnswered::Failing(failures, cause) => {
            CommandError::Failing { provider, failures, request: request.to_owned(), cause }
        }
        NotAnswered::Refused(error) => CommandError::failed(error, "Check that the token or account may do this"),
        NotAnswered::Limited(wait) => CommandError::failed(
            format_args!("{provider}'s rate limit is used for {}", duration(wait)),
            "Run the same command again later",
        ),
    })
}

/// The JSON of an answer; `None` when there is nothing.
pub(super) fn json(provider: &'static str, path: &str, reply: &ProviderReply) -> Result<Option<Value>, CommandError> {
    asking::json(reply.status, &reply.body).map_err(|error| no_content(provider, path, error))
}

/// The items of a list; `None` when there is no list.
pub(super) fn items(
    provider: &'static str,
    path: &str,
    reply: &ProviderReply,
) -> Result<Option<Vec<Value>>, CommandError> {
    asking::items(reply.status, &reply.body).map_err(|error| no_content(provider, path, error))
}

/// A refusal, with the provider's text.
#[must_use]
pub fn refused(provider: &'static str, request: &str, reply: &ProviderReply) -> CommandError {
    no_content(provider, request, NoContent::Refused(reply.status, asking::said(&reply.body)))
}

/// An answer that is not of the shape that its API documents.
pub(super) fn unreadable(provider: &'static str, request: &str, cause: &str) -> CommandError {
    no_content(provider, request, NoContent::Unreadable(cause.to_owned()))
}

fn no_content(provider: &'static str, request: &str, error: NoContent) -> CommandError {
    let request = request.to_owned();
    match error {
        NoContent::Refused(status, said) => CommandError::Refused { provider, status, request, said },
        NoContent::Unreadable(cause) => {
            CommandError::Unreadable { provider, request, cause, setting: asking::setting(provider) }
        }
    }
}
