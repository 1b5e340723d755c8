//! Instants: the only place that reads the clock for a date.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where the courses are, and the time zone of documents. The rule has been the same since 1996, so that no database of
/// time zones is needed, of this machine or compiled in.
pub static MADRID: LazyLock<TimeZone> =
    LazyLock::new(|| TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a fixed rule, which the tests read"));

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
    let text = text.trim();
    if !is_rfc3339(text.as_bytes()) {
        return None;
    }
    text.parse::<Timestamp>().ok().map(|instant| instant.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// Whether a text has the shape of RFC 3339. jiff reads more: times without seconds or dashes, offsets of 25 hours.
fn is_rfc3339(text: &[u8]) -> bool {
    let like = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                b'+' => matches!(byte, b'+' | b'-'),
                other => byte == other,
            })
    };
    let Some((time, rest)) = text.split_at_checked(19) else { return false };
    let offset = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    let offset = match offset {
        [b'Z' | b'z'] => true,
        [_, hours @ ..] => (like(offset, b"+00:00") || like(offset, b"+0000")) && hours < &b"24"[..],
        [] => false,
    };
    like(time, b"0000-00-00T00:00:00") && offset
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
        for text in ["2016-04-12t12:17:20z", "2016-04-12 12:17:20Z", " 2016-04-12T07:47:20.0-04:30 "] {
            assert_eq!(parse_instant(text).map(rfc3339).as_deref(), Some("2016-04-12T12:17:20.000Z"), "{text}");
        }
        for text in ["", "None", "2016-04-12", "2016-04-12T12:17:20", "yesterday"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn what_only_resembles_rfc_3339_is_not_read() {
        for text in [
            "2016-04-12T12:17Z",
            "20160412T121720Z",
            "2016-04-12T12:17:20,5Z",
            "2016-04-12T12:17:20.Z",
            "2016-04-12T12:17:20 Z",
            "2016-04-12T12:17:20+02",
            "2016-04-12T12:17:20+25:00",
            "2016-04-12T12:17:20+02:00:00",
            "2016-04-12T12:17:20Z[UTC]",
            "2016-04-12T12:17:20+02:00[Europe/Madrid]",
            "+002016-04-12T12:17:20Z",
            "2016-04-12T24:17:20Z",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
