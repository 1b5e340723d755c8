//! One request of a command or a reconciliation, until it is answered: rate limits are waited for, failures are retried.

use std::fmt::Display;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use shared::duration::duration;
use tokio_util::sync::CancellationToken;

use crate::ProviderError;
use crate::client::ProviderReply;

/// The provider's name in messages.
pub const GITHUB: &str = "GitHub";
/// See [`GITHUB`].
pub const TAIGA: &str = "Taiga";

/// After this many failures in a row a request is given up. The pauses between them grow to a minute.
pub const ATTEMPTS: u32 = 8;

/// Timeout of a request and its whole answer: Taiga's whole lists take longer than a look-up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A shorter wait is not announced.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(3);

/// How a request is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Attempts<'a> {
    /// See [`GITHUB`].
    pub provider: &'static str,
    /// Failures in a row, after which the request is given up.
    pub most: u32,
    /// A longer wait for a rate limit is not waited for; `None` waits for each.
    pub longest_wait: Option<Duration>,
    pub stop: &'a CancellationToken,
    /// Where waits and failures are written.
    pub notice: fn(&str),
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum NotAnswered {
    Stopped,
    /// The rate limit lasts longer than the longest wait.
    Limited(Duration),
    /// It failed this often in a row. The text is the last cause.
    Failing(u32, String),
    /// The token is refused, or the reply cannot be used. The text is a sentence.
    Refused(String),
}

impl Attempts<'_> {
    /// Sends a request until it is answered, with any status but 401 and those of rate limits and failures.
    ///
    /// # Errors
    /// See [`NotAnswered`].
    pub async fn until_answered<F>(&self, send: impl Fn() -> F) -> Result<ProviderReply, NotAnswered>
    where
        F: Future<Output = Result<ProviderReply, ProviderError>>,
    {
        let provider = self.provider;
        let mut failures = 0;
        loop {
            let reply = self.stop.run_until_cancelled(send()).await.ok_or(NotAnswered::Stopped)?;
            let wait = match reply {
                Ok(reply) => return Ok(reply),
                Err(ProviderError::Limited(wait)) if self.longest_wait.is_some_and(|longest| wait > longest) => {
                    return Err(NotAnswered::Limited(wait));
                }
                Err(ProviderError::Limited(wait)) => wait,
                Err(ProviderError::Unavailable(cause)) => {
                    failures += 1;
                    if failures >= self.most {
                        return Err(NotAnswered::Failing(failures, cause));
                    }
                    (self.notice)(&format!("{provider} failed ({cause}); retrying"));
                    // The client's next answer says how long to wait.
                    Duration::ZERO
                }
                Err(ProviderError::Refused(error) | ProviderError::Unreadable(error)) => {
                    return Err(NotAnswered::Refused(error));
                }
            };
            if wait >= ANNOUNCED_WAIT {
                (self.notice)(&format!("{provider}: waiting {} for the rate limit", duration(wait)));
            }
            self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(NotAnswered::Stopped)?;
        }
    }
}

/// Why an answer has no content.
#[derive(Debug)]
pub enum NoContent {
    /// A 4xx, with the provider's own text, if there was one.
    Refused(StatusCode, String),
    /// It is not of the shape that the API documents. The text is the cause.
    Unreadable(String),
}

/// The JSON of an answer; `None` when there is nothing (404, 410, GitHub's 409 of an empty repository).
///
/// # Errors
/// See [`NoContent`].
pub fn json(status: StatusCode, body: &[u8]) -> Result<Option<Value>, NoContent> {
    match status {
        status if status.is_success() => serde_json::from_slice(body).map(Some).map_err(unreadable),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => Ok(None),
        _ => Err(NoContent::Refused(status, said(body))),
    }
}

/// The items of a list; `None` when there is no list.
///
/// # Errors
/// See [`NoContent`].
pub fn items(status: StatusCode, body: &[u8]) -> Result<Option<Vec<Value>>, NoContent> {
    match json(status, body)? {
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => Err(unreadable("it is no list")),
        None => Ok(None),
    }
}

/// The provider's own text in a refusal.
#[must_use]
pub fn said(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["message", "_error_message", "detail"].iter().find_map(|name| body.get(*name)?.as_str());
    said.unwrap_or_default().to_owned()
}

/// The setting of a provider's address.
#[must_use]
pub fn setting(provider: &str) -> &'static str {
    if provider == GITHUB { "GITHUB_API_URL" } else { "TAIGA_API_URL" }
}

fn unreadable(cause: impl Display) -> NoContent {
    NoContent::Unreadable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use reqwest::header::HeaderMap;

    use super::*;

    fn attempts(stop: &CancellationToken, most: u32, longest_wait: Option<Duration>) -> Attempts<'_> {
        Attempts { provider: TAIGA, most, longest_wait, stop, notice: |_| {} }
    }

    fn reply() -> ProviderReply {
        ProviderReply { status: StatusCode::OK, headers: HeaderMap::new(), body: Vec::new() }
    }

    /// Answers a request by its number, from 0.
    fn each<F: Future>(answer: impl Fn(u32) -> F) -> impl Fn() -> F {
        let count = AtomicU32::new(0);
        move || answer(count.fetch_add(1, Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_is_waited_for_and_a_failure_is_retried() {
        let stop = CancellationToken::new();
        let send = each(async |n| match n {
            0 => Err(ProviderError::Limited(Duration::from_secs(3_000))),
            1..8 => Err(ProviderError::Unavailable("503".to_owned())),
            _ => Ok(reply()),
        });
        assert!(attempts(&stop, ATTEMPTS, None).until_answered(send).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_given_up_after_its_attempts_a_long_limit_a_refusal_or_a_stop() {
        let stop = CancellationToken::new();
        let fails = each(async |_| Err(ProviderError::Unavailable("503".to_owned())));
        let given_up = attempts(&stop, 3, None).until_answered(fails).await;
        assert!(matches!(&given_up, Err(NotAnswered::Failing(3, cause)) if cause == "503"), "{given_up:?}");

        let limit = Duration::from_secs(30);
        let limited = each(async |_| Err(ProviderError::Limited(limit)));
        let given_up = attempts(&stop, 3, Some(Duration::from_secs(20))).until_answered(limited).await;
        assert!(matches!(given_up, Err(NotAnswered::Limited(wait)) if wait == limit), "{given_up:?}");

        let refused = each(async |_| Err(ProviderError::Refused("401".to_owned())));
        let given_up = attempts(&stop, 3, None).until_answered(refused).await;
        assert!(matches!(given_up, Err(NotAnswered::Refused(_))), "{given_up:?}");

        stop.cancel();
        let hangs = each(async |_| std::future::pending().await);
        let given_up = attempts(&stop, 3, None).until_answered(hangs).await;
        assert!(matches!(given_up, Err(NotAnswered::Stopped)), "{given_up:?}");
    }

    #[test]
    fn an_answer_is_content_nothing_or_a_refusal_with_the_providers_text() {
        assert!(matches!(json(StatusCode::OK, b"{}"), Ok(Some(_))));
        assert!(matches!(json(StatusCode::NOT_FOUND, b"{}"), Ok(None)));
        let refused = json(StatusCode::FORBIDDEN, br#"{"_error_message":"no"}"#);
        assert!(
            matches!(&refused, Err(NoContent::Refused(StatusCode::FORBIDDEN, said)) if said == "no"),
            "{refused:?}"
        );
        assert!(matches!(items(StatusCode::OK, b"{}"), Err(NoContent::Unreadable(_))));
        assert!(matches!(items(StatusCode::OK, b"[1]"), Ok(Some(items)) if items.len() == 1));
    }
}
