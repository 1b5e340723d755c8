//! One request, asked for a person who waits: rate limits, failures, refusals, and Ctrl-C at any moment.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use worker_providers::ProviderError;
use worker_providers::client::ProviderReply;

use crate::terminal::{CommandError, notice};

/// After how many failures in a row a request is given up. The pauses between them grow to a minute.
pub(super) const FAILURES: u32 = 8;

/// How long an answer may take: Taiga's whole lists take longer than what a look-up asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A shorter wait is not announced.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(3);

/// Their names in what is printed.
pub const GITHUB: &str = "GitHub";
/// See [`GITHUB`].
pub const TAIGA: &str = "Taiga";

pub(super) fn with(request: RequestBuilder, body: Option<&Value>) -> RequestBuilder {
    let request = request.timeout(REQUEST_TIMEOUT);
    match body {
        Some(body) => request.json(body),
        None => request,
    }
}

/// Sends a request until there is an answer: waits at rate limits, retries after failures, gives up at a refusal.
pub(super) async fn patiently(
    provider: &'static str,
    request: &str,
    stop: &CancellationToken,
    most: u32,
    ask: impl AsyncFn() -> Result<ProviderReply, ProviderError>,
) -> Result<ProviderReply, CommandError> {
    let mut failures = 0;
    loop {
        let answer = stop.run_until_cancelled(ask()).await.ok_or_else(CommandError::interrupted)?;
        let wait = match answer {
            Ok(reply) => return Ok(reply),
            Err(ProviderError::Limited(wait)) => wait,
            Err(ProviderError::Unavailable(cause)) => {
                failures += 1;
                if failures >= most {
                    let request = request.to_owned();
                    return Err(CommandError::Failing { provider, failures, request, cause });
                }
                notice(format_args!("{provider} failed ({cause}); trying again"));
                // The client's next answer says how long to wait.
                Duration::ZERO
            }
            Err(ProviderError::Refused(error) | ProviderError::Unreadable(error)) => {
                return Err(CommandError::failed(error, "Check that the token or account may do this"));
            }
        };
        if wait >= ANNOUNCED_WAIT {
            notice(format_args!("{provider} asks for a pause of {} s", wait.as_secs()));
        }
        stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or_else(CommandError::interrupted)?;
    }
}

/// An answer as JSON; `None` when it says that there is nothing (404, 410, GitHub's 409 of an empty repository).
pub(super) fn read(provider: &'static str, path: &str, reply: &ProviderReply) -> Result<Option<Value>, CommandError> {
    match reply.status {
        status if status.is_success() => {
            serde_json::from_slice(&reply.body).map(Some).map_err(|error| unreadable(provider, path, error))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => Ok(None),
        _ => Err(refused(provider, path, reply)),
    }
}

/// An answer that is not of the shape that the API documents.
pub(super) fn unreadable(provider: &'static str, path: &str, cause: impl std::fmt::Display) -> CommandError {
    let setting = if provider == GITHUB { "GITHUB_API_URL" } else { "TAIGA_API_URL" };
    CommandError::Unreadable { provider, request: path.to_owned(), cause: cause.to_string(), setting }
}

/// What a provider said to a request that it refused.
#[must_use]
pub fn refused(provider: &'static str, request: &str, reply: &ProviderReply) -> CommandError {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let said = ["message", "_error_message", "detail"].iter().find_map(|name| body.get(*name)?.as_str());
    let (request, said) = (request.to_owned(), said.unwrap_or_default().to_owned());
    CommandError::Refused { provider, status: reply.status, request, said }
}
