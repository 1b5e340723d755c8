//! When a source has stopped, measured against the days on which it used to send.

use std::collections::BTreeSet;

use super::activity::DAY;

/// With events on at least this many days, a source has a rhythm.
const ENOUGH: usize = 5;

/// A silence that is always too short to mean something, in days: a long weekend.
const SHORT: i64 = 4;

/// The silence, in days, that counts if no rhythm is known.
const UNKNOWN: i64 = 14;

/// Whether a source is silent for longer than its own rhythm explains: twice its longest pause, and a long weekend at
/// least.
///
/// `begun` is when the course began, as far as that is known: before it nobody was expected to send.
pub fn has_stopped(days: &BTreeSet<i64>, last: i64, begun: Option<i64>, now: i64) -> bool {
    let silent = (now - begun.map_or(last, |begun| begun.max(last))) / DAY;
    let pauses = days.iter().zip(days.iter().skip(1)).map(|(day, next)| next - day);
    let longest = pauses.max().filter(|_| days.len() >= ENOUGH);
    silent > longest.map_or(UNKNOWN, |longest| (2 * longest).max(SHORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 20_000 * DAY;

    fn days(ago: &[i64]) -> BTreeSet<i64> {
        ago.iter().map(|ago| 20_000 - ago).collect()
    }

    fn stopped(days: &BTreeSet<i64>, silent: i64) -> bool {
        has_stopped(days, NOW - silent * DAY, None, NOW)
    }

    #[test]
    fn a_daily_source_has_stopped_after_a_long_weekend() {
        let daily = days(&[10, 9, 8, 7, 6, 5]);
        assert!(!stopped(&daily, 4));
        assert!(stopped(&daily, 5));
    }

    #[test]
    fn a_weekly_source_has_stopped_after_two_missed_weeks() {
        let weekly = days(&[43, 36, 29, 22, 15]);
        assert!(!stopped(&weekly, 14));
        assert!(stopped(&weekly, 15));
    }

    #[test]
    fn without_a_rhythm_two_weeks_count() {
        let few = days(&[16, 15]);
        assert!(!stopped(&few, 14));
        assert!(stopped(&few, 15));
    }

    #[test]
    fn silence_begins_with_the_course() {
        let begun = Some(NOW - 3 * DAY);
        assert!(!has_stopped(&days(&[]), NOW - 200 * DAY, begun, NOW));
    }
}
