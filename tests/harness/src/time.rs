//! Instants as the stand-ins write them.

use jiff::Timestamp;

/// Now, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `2026-11-23T17:42:03.511Z` of milliseconds since 1970.
///
/// # Panics
/// When no calendar holds that instant.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(ms).expect("an instant of this millennium"))
}

/// Whole seconds in UTC of any RFC 3339 text; 1970 where the text is none.
#[must_use]
pub fn utc_seconds(text: &str) -> String {
    let instant = text.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
