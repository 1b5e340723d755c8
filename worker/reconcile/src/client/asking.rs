//! One request, until it is answered: rate limits are waited for, failures are retried.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};
use serde_json::Value;
use shared::time::now_ms;
use tokio_util::sync::CancellationToken;
use worker_providers::ProviderError;
use worker_providers::client::ProviderReply;

use crate::reading::as_of::Clock;

/// After this many failures in a row a request is given up. The pauses between them grow to a minute.
const FAILURES: u32 = 8;

/// How long an answer may take: Taiga's whole lists take longer than a look-up.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A shorter wait is not announced.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(3);

/// A background reconciliation does not wait longer than this; it is done later.
const LONG_WAIT: Duration = Duration::from_secs(20);

/// Why something ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// A stop: a signal, or the loss of the lease.
    Stopped,
    /// A provider, MongoDB or NATS does not answer, or the token is refused: nothing else can go on either.
    Down {
        /// What happened, to what.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// Our share of a rate limit is used for this long.
    Later(Duration),
    /// It cannot go on; others can.
    Failed {
        /// What happened, to what.
        what: String,
        /// What to do.
        advice: &'static str,
    },
}

impl Halt {
    /// What happened, to what, and what to do.
    pub fn failed(what: impl fmt::Display, advice: &'static str) -> Self {
        Self::Failed { what: what.to_string(), advice }
    }

    /// What happened, to what, and what to do, where nothing else can go on either.
    pub fn down(what: impl fmt::Display, advice: &'static str) -> Self {
        Self::Down { what: what.to_string(), advice }
    }

    /// The answer of a provider does not have the shape that its API documents.
    pub fn unreadable(provider: &str, path: &str, what: impl fmt::Display) -> Self {
        let what = format_args!("{provider}'s answer to {path} cannot be read: {what}");
        Self::failed(what, "Check GITHUB_API_URL and TAIGA_API_URL")
    }

    /// MongoDB does not answer.
    pub fn mongo(cause: impl fmt::Display) -> Self {
        Self::down(format_args!("MongoDB cannot be read: {cause}"), "Check MONGO_URI, and that mongod is up")
    }

    /// NATS does not answer.
    pub fn nats(cause: impl fmt::Display) -> Self {
        Self::down(format_args!("NATS cannot be asked: {cause}"), "Check NATS_URL, and that nats-server is up")
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was stopped"),
            Self::Later(wait) => write!(f, "our share of the rate limit is used for {} s", wait.as_secs()),
            Self::Down { what, advice } | Self::Failed { what, advice } => write!(f, "{what}. {advice}"),
        }
    }
}

/// How much of a token's rate limit may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of it: a person waits, or documents are known to be wrong.
    Whole,
    /// Half of it, so that look-ups always have the other half.
    Half,
}

/// How requests are made, for whom.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Ends every wait.
    pub stop: CancellationToken,
    /// How much of the rate limit may be used.
    pub share: Share,
    /// Where waits and failures are written.
    pub notice: fn(&str),
    calls: Arc<AtomicU64>,
}

impl Asking {
    /// No request yet.
    #[must_use]
    pub fn new(stop: CancellationToken, share: Share, notice: fn(&str)) -> Self {
        Self { stop, share, notice, calls: Arc::default() }
    }

    /// How many requests were answered so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Sends a request until it is answered: waits at limits, retries after failures, gives up at a refusal.
    pub(super) async fn until_answered<F>(&self, provider: &str, ask: impl Fn() -> F) -> Result<Answer, Halt>
    where
        F: Future<Output = Result<ProviderReply, ProviderError>> + Send,
    {
        let mut failures = 0;
        loop {
            let sent = now_ms();
            let reply = self.stop.run_until_cancelled(ask()).await.ok_or(Halt::Stopped)?;
            let wait = match reply {
                Ok(reply) => {
                    self.calls.fetch_add(1, Ordering::Relaxed);
                    let answer = Answer::new(reply, sent);
                    // Other teams wait behind this one, so it does not wait for the reset.
                    return self.over_share(&answer).map_or(Ok(answer), |wait| Err(Halt::Later(wait)));
                }
                Err(ProviderError::Limited(wait)) if self.share == Share::Half && wait > LONG_WAIT => {
                    return Err(Halt::Later(wait));
                }
                Err(ProviderError::Limited(wait)) => wait,
                Err(ProviderError::Unavailable(error)) => {
                    failures += 1;
                    if failures >= FAILURES {
                        let what = format_args!("{provider} fails {failures} times in a row, at last: {error}");
                        return Err(Halt::down(what, "Run the same command again later"));
                    }
                    (self.notice)(&format!("{provider} fails ({error}); trying again"));
                    // The client knows how long: its next answer says it.
                    Duration::ZERO
                }
                Err(ProviderError::Refused(error) | ProviderError::Unreadable(error)) => {
                    return Err(Halt::down(error, "Check the token or account"));
                }
            };
            self.wait(provider, wait).await?;
        }
    }

    async fn wait(&self, provider: &str, wait: Duration) -> Result<(), Halt> {
        if wait >= ANNOUNCED_WAIT {
            (self.notice)(&format!("{provider}: waiting {} s for the rate limit", wait.as_secs()));
        }
        self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(Halt::Stopped)
    }

    /// How long to wait because our share of the rate limit is used.
    fn over_share(&self, answer: &Answer) -> Option<Duration> {
        if self.share == Share::Whole {
            return None;
        }
        let (limit, remaining) = (answer.number("x-ratelimit-limit")?, answer.number("x-ratelimit-remaining")?);
        let reset = answer.number("x-ratelimit-reset")?.saturating_mul(1_000);
        let left = reset.saturating_sub(u64::try_from(answer.clock.now()).ok()?);
        (remaining * 2 < limit).then(|| Duration::from_millis(left.clamp(1_000, 3_600_000)))
    }
}

/// An answer, and when it was asked for.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    /// When it was asked for and given.
    pub clock: Clock,
}

impl Answer {
    fn new(ProviderReply { status, headers, body }: ProviderReply, sent: i64) -> Self {
        let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        Self { status, clock: Clock { date, sent, received: now_ms() }, headers, body }
    }

    pub(super) fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }

    /// What it holds; `None` when it says that there is nothing (404, 410, GitHub's 409 of an empty repository).
    ///
    /// # Errors
    /// When it is a refusal, or cannot be read.
    pub fn json(&self, provider: &str, path: &str) -> Result<Option<Value>, Halt> {
        match self.status {
            status if status.is_success() => {
                serde_json::from_slice(&self.body).map(Some).map_err(|error| Halt::unreadable(provider, path, error))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => Ok(None),
            status => {
                let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
                let said = ["message", "_error_message", "detail"]
                    .iter()
                    .find_map(|name| body.get(*name)?.as_str())
                    .unwrap_or("");
                let what = format_args!("{provider} answered {status} to {path}: {said}");
                Err(Halt::failed(what, "Check that the token or account may read it"))
            }
        }
    }
}

/// Milliseconds since 1970 of an HTTP date.
fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_rate_limit_is_left_to_look_ups() {
        let over = |share: Share, remaining: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", "4000000000"),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            let answer = Answer::new(ProviderReply { status: StatusCode::OK, headers, body: Vec::new() }, now_ms());
            Asking::new(CancellationToken::new(), share, |_| {}).over_share(&answer).is_some()
        };
        assert!(over(Share::Half, "2499") && !over(Share::Half, "2500"));
        assert!(!over(Share::Whole, "1"));
    }
}
