//! Instants: the only place that reads the clock for a date.

use jiff::Timestamp;

/// Now, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `2026-11-23T17:42:03.511Z` of milliseconds since 1970; the epoch for what no calendar holds.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let instant = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{instant:.3}")
}

/// Reads RFC 3339 with `Z`, `+02:00` or the old `+0000`, with or without a fraction, to milliseconds
/// since 1970 (truncated). Anything else is `None`.
#[must_use]
pub fn parse_instant(text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(|instant| instant.as_nanosecond().div_euclid(1_000_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_every_age_of_taiga_are_read() {
        for text in ["2016-04-12T12:17:20.486Z", "2016-04-12T12:17:20.486999+0000", "2016-04-12T14:17:20.486+02:00"] {
            assert_eq!(parse_instant(text).map(rfc3339).as_deref(), Some("2016-04-12T12:17:20.486Z"), "{text}");
        }
        assert_eq!(parse_instant("2016-04-12T12:17:20+0000").map(rfc3339).as_deref(), Some("2016-04-12T12:17:20.000Z"));
        for text in ["", "None", "2016-04-12", "2016-04-12T12:17:20", "yesterday"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
