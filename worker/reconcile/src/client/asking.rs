//! One request, until it is answered: rate limits are waited for, failures are retried.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};
use serde_json::Value;
use shared::duration::duration;
use shared::time::now_ms;
use tokio_util::sync::CancellationToken;
use worker_providers::ProviderError;
use worker_providers::asking::{self, ATTEMPTS, Attempts, NoContent, NotAnswered};
use worker_providers::client::ProviderReply;

use crate::reading::as_of::Clock;

/// A background reconciliation does not wait longer than this; it is done later.
const LONG_WAIT: Duration = Duration::from_secs(20);

/// Why something ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// A stop: a signal, or the loss of the lease.
    Stopped,
    /// A provider, MongoDB or NATS does not answer, or the token is refused: nothing else can go on either.
    Down { what: String, advice: &'static str },
    /// Our share of a rate limit is used for this long.
    Later(Duration),
    /// It cannot go on; others can.
    Failed { what: String, advice: &'static str },
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

    fn not_answered(provider: &str, error: NotAnswered) -> Self {
        match error {
            NotAnswered::Stopped => Self::Stopped,
            NotAnswered::Limited(wait) => Self::Later(wait),
            NotAnswered::Failing(failures, cause) => Self::down(
                format_args!("{provider} failed {failures} times in a row, at last: {cause}"),
                "Run the same command again later",
            ),
            NotAnswered::Refused(error) => Self::down(error, "Check the token or account"),
        }
    }

    fn no_content(provider: &str, path: &str, error: NoContent) -> Self {
        match error {
            NoContent::Refused(status, said) => Self::failed(
                format_args!("{provider} answered {status} to {path}: {said}"),
                "Check that the token or account may read it",
            ),
            NoContent::Unreadable(cause) => Self::unreadable(provider, path, cause),
        }
    }

    /// The answer of a provider does not have the shape that its API documents.
    pub fn unreadable(provider: &str, path: &str, cause: impl fmt::Display) -> Self {
        let what = format_args!("{provider}'s answer to {path} cannot be read: {cause}");
        Self::failed(what, "Check GITHUB_API_URL and TAIGA_API_URL")
    }

    pub fn mongo(cause: impl fmt::Display) -> Self {
        Self::down(format_args!("MongoDB cannot be read: {cause}"), "Check MONGO_URI, and that mongod is up")
    }

    pub fn nats(cause: impl fmt::Display) -> Self {
        Self::down(format_args!("NATS cannot be asked: {cause}"), "Check NATS_URL, and that nats-server is up")
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was stopped"),
            Self::Later(wait) => write!(f, "our share of the rate limit is used for {}", duration(*wait)),
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

    /// Sends a request until it is answered.
    pub(super) async fn until_answered<F>(&self, provider: &'static str, send: impl Fn() -> F) -> Result<Answer, Halt>
    where
        F: Future<Output = Result<ProviderReply, ProviderError>> + Send,
    {
        let longest_wait = (self.share == Share::Half).then_some(LONG_WAIT);
        let attempts = Attempts { provider, most: ATTEMPTS, longest_wait, stop: &self.stop, notice: self.notice };
        // The last attempt's time counts.
        let sent = AtomicI64::new(0);
        let send = || {
            sent.store(now_ms(), Ordering::Relaxed);
            send()
        };
        let reply = attempts.until_answered(send).await.map_err(|error| Halt::not_answered(provider, error))?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = Answer::new(reply, sent.load(Ordering::Relaxed));
        // Other teams wait behind this one, so it does not wait for the reset.
        self.over_share(&answer).map_or(Ok(answer), |wait| Err(Halt::Later(wait)))
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
    pub status: StatusCode,
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

    /// Its JSON; see [`asking::json`].
    ///
    /// # Errors
    /// When it is a refusal, or cannot be read.
    pub fn json(&self, provider: &str, path: &str) -> Result<Option<Value>, Halt> {
        asking::json(self.status, &self.body).map_err(|error| Halt::no_content(provider, path, error))
    }

    /// The items of a list; see [`asking::items`].
    ///
    /// # Errors
    /// When it is a refusal, or cannot be read.
    pub fn items(&self, provider: &str, path: &str) -> Result<Option<Vec<Value>>, Halt> {
        asking::items(self.status, &self.body).map_err(|error| Halt::no_content(provider, path, error))
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
