//! Times: `YYYY-MM-DDTHH:MM:SS.mmm`, Europe/Madrid local time without offset.

use std::fmt;

use bson::Bson;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use vocabulary::time::MADRID;

use super::json::{skip_list, skip_object};

/// A time as a sender wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Stamp {
    /// Null, absent, or nothing that reads as a time (Taiga writes the word "None").
    #[default]
    Unknown,
    /// An instant, in milliseconds since 1970; a finer fraction is cut off.
    Instant(i64),
    /// A day without a time.
    Day(Date),
}

impl Stamp {
    /// Reads RFC 3339 with any offset, or a date alone.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        match (text.len(), text.as_bytes()) {
            // The dashes first: jiff would also read `20261102` and the date of a longer text.
            (10, [_, _, _, _, b'-', _, _, b'-', _, _]) => text.parse().map_or(Self::Unknown, Self::Day),
            _ => vocabulary::time::parse_instant(text)
                .or_else(|| vocabulary::time::parse_instant(&with_nanoseconds(text)?))
                .map_or(Self::Unknown, Self::Instant),
        }
    }

    /// Milliseconds since 1970 of an instant; a day is none.
    pub(super) const fn millis(self) -> Option<i64> {
        match self {
            Self::Instant(ms) => Some(ms),
            Self::Day(_) | Self::Unknown => None,
        }
    }

    fn local(self) -> Option<DateTime> {
        match self {
            Self::Instant(ms) => Some(MADRID.to_datetime(Timestamp::from_millisecond(ms).ok()?)),
            Self::Day(date) => Some(date.to_datetime(jiff::civil::Time::midnight())),
            Self::Unknown => None,
        }
        // A year before 0 has no place in four digits.
        .filter(|local| local.year() >= 0)
    }
}

/// The text with its fraction cut to nine digits, when it has more: RFC 3339 allows any number, jiff nine.
fn with_nanoseconds(text: &str) -> Option<String> {
    let (whole, rest) = text.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 9)
        .then(|| format!("{whole}.{}{}", rest.get(..9).unwrap_or_default(), rest.get(digits..).unwrap_or_default()))
}

impl From<Stamp> for Bson {
    fn from(stamp: Stamp) -> Self {
        stamp.local().map_or(Self::Null, |local| {
            Self::String(format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}",
                local.year(),
                local.month(),
                local.day(),
                local.hour(),
                local.minute(),
                local.second(),
                local.millisecond()
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StampVisitor)
    }
}

/// Reads any value at all: what is no text is no time.
struct StampVisitor;

impl<'de> Visitor<'de> for StampVisitor {
    type Value = Stamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_str<E>(self, text: &str) -> Result<Stamp, E> {
        Ok(Stamp::of(text))
    }

    fn visit_unit<E>(self) -> Result<Stamp, E> {
        Ok(Stamp::Unknown)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Stamp, E> {
        Ok(Stamp::Unknown)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Stamp, E> {
        Ok(Stamp::Unknown)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Stamp, E> {
        Ok(Stamp::Unknown)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Stamp, E> {
        Ok(Stamp::Unknown)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Stamp, A::Error> {
        skip_list(list).map(|()| Stamp::Unknown)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Stamp, A::Error> {
        skip_object(object).map(|()| Stamp::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Option<String> {
        Bson::from(Stamp::of(text)).as_str().map(str::to_owned)
    }

    #[test]
    fn every_way_to_write_an_instant_becomes_local_time() {
        for (text, expected) in [
            ("2026-11-23T12:34:28.652Z", "2026-11-23T13:34:28.652"),
            ("2026-11-23T12:34:28Z", "2026-11-23T13:34:28.000"),
            ("2026-11-23T12:34:28.652999Z", "2026-11-23T13:34:28.652"),
            ("2026-11-23T12:34:28.9999999999Z", "2026-11-23T13:34:28.999"),
            ("2026-07-01T12:00:00+02:00", "2026-07-01T12:00:00.000"),
            ("2026-07-01T12:00:00-05:30", "2026-07-01T19:30:00.000"),
            ("2016-04-12T12:17:20+0000", "2016-04-12T14:17:20.000"),
            ("2016-04-12T12:17:20.486999+0000", "2016-04-12T14:17:20.486"),
            ("2025-12-31T23:30:00Z", "2026-01-01T00:30:00.000"),
            ("1969-12-31T23:59:59.9999Z", "1970-01-01T00:59:59.999"),
            ("2026-11-02", "2026-11-02T00:00:00.000"),
            (" 2024-02-29 ", "2024-02-29T00:00:00.000"),
        ] {
            assert_eq!(local(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_clock_changes_in_march_and_october() {
        for (text, expected) in [
            ("2026-03-29T00:59:59.999Z", "2026-03-29T01:59:59.999"),
            ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00.000"),
            ("2026-10-25T00:59:59Z", "2026-10-25T02:59:59.000"),
            ("2026-10-25T01:00:00Z", "2026-10-25T02:00:00.000"),
        ] {
            assert_eq!(local(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_read_as_a_time_is_null() {
        for text in [
            "",
            "None",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "20261102",
            "2026-11-02T10:00:00",
            "12:00",
            "1795437275",
        ] {
            assert_eq!(local(text), None, "{text}");
        }
        for json in ["null", "1795437275", "1.5", "true", "[[1]]", r#"{"a":{"b":1}}"#] {
            assert_eq!(serde_json::from_str::<Stamp>(json).unwrap(), Stamp::Unknown, "{json}");
        }
    }

    #[test]
    fn only_an_instant_can_order_events() {
        assert_eq!(Stamp::of("1970-01-01T00:00:01.5Z").millis(), Some(1500));
        assert_eq!(Stamp::of("2026-11-02").millis(), None);
    }
}
