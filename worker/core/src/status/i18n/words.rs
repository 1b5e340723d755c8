//! Times, reasons and lists of names in the reader's language.

use jiff::Timestamp;
use shared::time::MADRID;

use super::Texts;

/// How many teams a sentence names.
const NAMES: usize = 8;

impl Texts {
    /// `24/11/2026 18:05` in Madrid.
    pub fn time(&self, ms: i64) -> String {
        let local = MADRID.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH));
        let two = |number: i8| format!("{number:02}");
        self.date_time(local.year().to_string(), two(local.month()), two(local.day()), clock(ms))
    }

    /// How long ago, in one unit.
    pub fn ago(&self, now: i64, then: i64) -> String {
        let seconds = (now - then).max(0) / 1000;
        match seconds {
            0..5 => self.just_now(),
            5..60 => self.seconds_ago(seconds),
            60..3_600 => self.minutes_ago(seconds / 60),
            3_600..172_800 => self.hours_ago(seconds / 3_600),
            _ => self.days_ago(seconds / 86_400),
        }
    }

    /// Why a webhook was refused; `word` is the label that metrics use.
    pub fn reason(&self, word: &str) -> String {
        match word {
            "signature" => self.reason_signature(),
            "no_secret" => self.reason_no_secret(),
            "unsigned" => self.reason_unsigned(),
            "query" => self.reason_query(),
            "json" => self.reason_json(),
            "event" => self.reason_event(),
            "too_large" => self.reason_too_large(),
            "encoding" => self.reason_encoding(),
            "framing" => self.reason_framing(),
            "slow" | "broken" => self.reason_incomplete(),
            "crowded" | "overloaded" => self.reason_overloaded(),
            "unavailable" => self.reason_unavailable(),
            "panic" => self.reason_bug(),
            other => other.to_owned(),
        }
    }

    /// The first of the names, and how many more there are.
    pub fn names(&self, names: &[String]) -> String {
        let first = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
        match names.len().saturating_sub(NAMES) {
            0 => first,
            more => self.and_more(first, more),
        }
    }
}

/// `18:05` in Madrid.
pub(crate) fn clock(ms: i64) -> String {
    let local = MADRID.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH));
    format!("{:02}:{:02}", local.hour(), local.minute())
}
