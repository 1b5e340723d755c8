//! Times and ranges of sequences on the command line.

use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use jiff::civil::Date;
use shared::duration::duration;
use shared::time::MADRID;

use super::InvalidArg;

/// A time: RFC 3339, a date (its midnight in Madrid), or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeArg {
    ms: i64,
    ago: Option<Duration>,
}

impl TimeArg {
    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.ms
    }

    /// The text as it was typed: for "how long ago" it is the same at every call.
    #[must_use]
    pub fn typed(self) -> String {
        self.ago.map_or_else(|| self.ms.to_string(), |ago| format!("{} ago", duration(ago)))
    }

    /// From this time on.
    #[must_use]
    pub fn deliver_policy(self) -> DeliverPolicy {
        let nanos = i128::from(self.ms) * 1_000_000;
        async_nats::datetime::from_nanos(nanos)
            .map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time })
    }

    /// Whether something of that instant (in nanoseconds) is from this time on.
    #[must_use]
    pub const fn includes(self, nanos: i128) -> bool {
        nanos / 1_000_000 >= self.ms as i128
    }
}

impl FromStr for TimeArg {
    type Err = InvalidArg;

    fn from_str(text: &str) -> Result<Self, InvalidArg> {
        if let Some(ms) = shared::time::parse_instant(text) {
            return Ok(Self { ms, ago: None });
        }
        if let Ok(date) = text.parse::<Date>()
            && let Ok(midnight) = MADRID.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
        {
            return Ok(Self { ms: midnight.as_millisecond(), ago: None });
        }
        let ago = humantime::parse_duration(text).map_err(|_| {
            InvalidArg("write RFC 3339 (2026-11-23T17:00:00Z), a date (2026-11-23), or how long ago (2h, 3d)")
        })?;
        let past = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { ms: shared::time::now_ms().saturating_sub(past), ago: Some(ago) })
    }
}

/// Stream sequences, both ends included; a missing end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceRange {
    /// The first, or from the start.
    pub first: Option<u64>,
    /// The last, or to the end.
    pub last: Option<u64>,
}

impl SequenceRange {
    /// Whether a sequence is in the range.
    #[must_use]
    pub fn includes(self, sequence: u64) -> bool {
        self.first.is_none_or(|first| sequence >= first) && self.last.is_none_or(|last| sequence <= last)
    }
}

impl FromStr for SequenceRange {
    type Err = InvalidArg;

    fn from_str(text: &str) -> Result<Self, InvalidArg> {
        let wrong = || InvalidArg("write A..B, A.. or ..B with numbers, A not above B, such as 100..200");
        let end = |part: &str| match part {
            "" => Ok(None),
            number => number.parse().map(Some).map_err(|_| wrong()),
        };
        let (first, last) = text.split_once("..").ok_or_else(wrong)?;
        let range = Self { first: end(first)?, last: end(last)? };
        let backwards = matches!((range.first, range.last), (Some(first), Some(last)) if first > last);
        if backwards || range == (Self { first: None, last: None }) { Err(wrong()) } else { Ok(range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_a_madrid_date_or_a_while_ago() {
        let ms = |text: &str| text.parse::<TimeArg>().map(TimeArg::ms);
        assert_eq!(ms("1970-01-01T00:00:01Z"), Ok(1_000));
        // Winter and summer time.
        assert_eq!(ms("2026-01-10"), ms("2026-01-09T23:00:00Z"));
        assert_eq!(ms("2026-07-10"), ms("2026-07-09T22:00:00Z"));
        let before = shared::time::now_ms();
        let two_hours_ago = ms("2h").unwrap();
        let after = shared::time::now_ms();
        assert!((before - 7_200_000..=after - 7_200_000).contains(&two_hours_ago), "{before} {two_hours_ago} {after}");
        assert_eq!("3d".parse::<TimeArg>().unwrap().typed(), "3days ago");
        for bad in ["", "yesterday", "2026-13-01", "10:00"] {
            assert!(bad.parse::<TimeArg>().unwrap_err().0.contains("RFC 3339"), "{bad}");
        }
    }

    #[test]
    fn a_range_of_sequences_has_at_least_one_end_and_is_not_backwards() {
        assert_eq!("5..9".parse(), Ok(SequenceRange { first: Some(5), last: Some(9) }));
        assert_eq!("5..".parse(), Ok(SequenceRange { first: Some(5), last: None }));
        assert_eq!("..9".parse(), Ok(SequenceRange { first: None, last: Some(9) }));
        for bad in ["", "..", "5", "9..5", "a..b", "-1..5"] {
            assert!(bad.parse::<SequenceRange>().unwrap_err().0.contains("100..200"), "{bad}");
        }
    }
}
