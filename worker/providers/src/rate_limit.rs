//! Reads rate limits from a reply's status and headers. Pure.

use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Upper bound for any header. GitHub's resets are within an hour.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a reply means for its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// No limit.
    Answer,
    /// A rate limit, with the time until its reset if the reply says it.
    Limited(Option<Duration>),
    /// The provider fails.
    Failing,
}

/// `now_ms` is our clock, for replies without a `Date`.
#[must_use]
pub fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Judged {
    match status {
        // GitHub answers 403 or 429 to both of its kinds of limits, and also 403 to a missing permission.
        StatusCode::TOO_MANY_REQUESTS => Judged::Limited(wait(headers, now_ms)),
        StatusCode::FORBIDDEN => match wait(headers, now_ms) {
            Some(wait) => Judged::Limited(Some(wait)),
            None if speaks_of_a_limit(body) => Judged::Limited(None),
            None => Judged::Answer,
        },
        StatusCode::REQUEST_TIMEOUT => Judged::Failing,
        // Permanent: a server without GraphQL, for example.
        StatusCode::NOT_IMPLEMENTED => Judged::Answer,
        status if status.is_server_error() => match retry_after(headers, now_ms) {
            Some(wait) => Judged::Limited(Some(wait)),
            None => Judged::Failing,
        },
        _ => Judged::Answer,
    }
}

/// How many requests the token has left until its reset.
#[must_use]
pub fn remaining(headers: &HeaderMap) -> Option<u64> {
    number(headers, "x-ratelimit-remaining")
}

/// When no requests are left: the time until the reset.
#[must_use]
pub fn used_up(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    (remaining(headers) == Some(0)).then(|| until_reset(headers, now_ms)).flatten()
}

/// The longer of the two waits that headers can ask for.
fn wait(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    retry_after(headers, now_ms).max(used_up(headers, now_ms))
}

fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(clamp(Duration::from_secs(seconds))),
        Err(_) => Some(between(their_now(headers, now_ms), instant(text)?)),
    }
}

fn until_reset(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let reset = i64::try_from(number(headers, "x-ratelimit-reset")?).ok()?.checked_mul(1000)?;
    Some(between(their_now(headers, now_ms), reset))
}

/// The provider's clock, because its reset times are in it. `Date` has no fraction, so a wait is up to a second too
/// long and never too short.
fn their_now(headers: &HeaderMap, now_ms: i64) -> i64 {
    headers.get(DATE).and_then(|date| instant(date.to_str().ok()?)).unwrap_or(now_ms)
}

fn instant(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(|instant| instant.as_millisecond())
}

fn between(from_ms: i64, to_ms: i64) -> Duration {
    clamp(Duration::from_millis(u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)))
}

/// At least a second, so that a limit that ends now does not cause retries without a pause.
fn clamp(wait: Duration) -> Duration {
    wait.clamp(Duration::from_secs(1), LONGEST)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Only the text distinguishes GitHub's secondary limits from a missing permission.
fn speaks_of_a_limit(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body.get(..2_000).unwrap_or(body)).to_lowercase();
    ["rate limit", "abuse detection", "throttled"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_461_313_400;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn of(status: u16, pairs: &[(&'static str, &str)], body: &str) -> Judged {
        judge(StatusCode::from_u16(status).unwrap(), &headers(pairs), body.as_bytes(), NOW)
    }

    fn limited(seconds: u64) -> Judged {
        Judged::Limited(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn the_longer_of_two_waits_counts_by_the_providers_clock() {
        let date = ("date", "Mon, 23 Nov 2026 19:15:13 GMT");
        let reset = ("x-ratelimit-reset", "1795461343");
        assert_eq!(of(403, &[date, ("x-ratelimit-remaining", "0"), reset], ""), limited(30));
        assert_eq!(of(403, &[date, ("x-ratelimit-remaining", "0"), reset, ("retry-after", "60")], ""), limited(60));
        assert_eq!(of(429, &[("retry-after", "7")], ""), limited(7));
        assert_eq!(of(429, &[date, ("retry-after", "Mon, 23 Nov 2026 19:15:33 GMT")], ""), limited(20));
        // An hour of skew between the clocks changes nothing, because the provider's is known.
        let early = ("date", "Mon, 23 Nov 2026 18:15:13 GMT");
        let early_reset = ("x-ratelimit-reset", "1795457743");
        assert_eq!(of(429, &[early, ("x-ratelimit-remaining", "0"), early_reset], ""), limited(30));
        // Without it, ours.
        let own = of(429, &[("x-ratelimit-remaining", "0"), reset], "");
        assert_eq!(own, Judged::Limited(Some(Duration::from_millis(29_600))));
        assert_eq!(of(403, &[("retry-after", "99999999")], ""), Judged::Limited(Some(LONGEST)));
        assert_eq!(of(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], ""), limited(1));
    }

    #[test]
    fn a_403_is_a_limit_only_when_something_says_so() {
        let reset = ("x-ratelimit-reset", "1795461343");
        assert_eq!(of(403, &[("x-ratelimit-remaining", "4000"), reset], "no access"), Judged::Answer);
        let words = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(of(403, &[("x-ratelimit-remaining", "4000"), reset], words), Judged::Limited(None));
        assert_eq!(of(429, &[], ""), Judged::Limited(None));
        for (status, expected) in
            [(200, Judged::Answer), (401, Judged::Answer), (404, Judged::Answer), (501, Judged::Answer)]
        {
            assert_eq!(of(status, &[("x-ratelimit-remaining", "0"), reset], ""), expected);
        }
        for status in [408, 500, 502, 503] {
            assert_eq!(of(status, &[], ""), Judged::Failing);
        }
        assert_eq!(of(503, &[("retry-after", "5")], ""), limited(5));
    }

    #[test]
    fn a_token_that_is_used_up_says_so_in_its_last_good_answer() {
        let last = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795461343")];
        assert_eq!(used_up(&headers(&last), NOW), Some(Duration::from_millis(29_600)));
        assert_eq!(used_up(&headers(&[("x-ratelimit-remaining", "1"), last[1]]), NOW), None);
    }
}
