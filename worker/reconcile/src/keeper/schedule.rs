//! When a team is due. Pure.

use jiff::Timestamp;
use jiff::civil::Time;
use shared::hash::short_sha256;
use shared::ids::Project;
use shared::time::MADRID;

use crate::config::When;

/// When the night begins, and how many seconds teams are spread over.
const NIGHT: Time = jiff::civil::time(1, 0, 0, 0);
const HOURS: u64 = 5 * 3600;

/// Whether a team is due. `done` is when it was last reconciled, `started` when this worker began to check: a team that
/// was never reconciled is not due before its next turn. All in milliseconds since 1970.
#[must_use]
pub fn is_due(when: When, prj: &Project, now: i64, done: Option<i64>, started: i64) -> bool {
    match when {
        When::Off => false,
        When::Every(interval) => {
            let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
            done.is_none_or(|done| now.saturating_sub(done) >= interval)
        }
        When::Nightly => turn_before(prj, now).is_some_and(|turn| turn > done.unwrap_or(started)),
    }
}

/// A team's last turn before a time.
fn turn_before(prj: &Project, now: i64) -> Option<i64> {
    let spread = u64::from_str_radix(short_sha256(prj.as_str()).get(..8)?, 16).ok()? % HOURS;
    let today = MADRID.to_datetime(Timestamp::from_millisecond(now).ok()?).date();
    let turn = |date: jiff::civil::Date| {
        let begin = MADRID.to_timestamp(date.to_datetime(NIGHT)).ok()?;
        Some(begin.as_millisecond() + i64::try_from(spread).ok()? * 1_000)
    };
    turn(today).filter(|turn| *turn <= now).or_else(|| turn(today.yesterday().ok()?))
}

/// The number of a day, for the objects that are read on it.
#[must_use]
pub fn day(now: i64) -> u64 {
    u64::try_from(now / 86_400_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::time::parse_instant;

    use super::*;

    fn at(text: &str) -> i64 {
        parse_instant(text).unwrap()
    }

    #[test]
    fn every_team_has_one_turn_a_night_and_they_are_spread_over_the_hours() {
        let (evening, morning) = (at("2026-11-23T22:00:00Z"), at("2026-11-24T06:00:00Z"));
        let mut turns = Vec::new();
        for n in 0..60 {
            let prj = Project::new(&format!("Team{n}")).unwrap();
            let turn = turn_before(&prj, morning).unwrap();
            assert!(turn > at("2026-11-23T23:59:59Z") && turn < at("2026-11-24T05:00:00Z"), "{turn}");
            assert!(!is_due(When::Nightly, &prj, turn - 1, None, evening));
            assert!(is_due(When::Nightly, &prj, turn, None, evening));
            assert!(!is_due(When::Nightly, &prj, morning, Some(turn + 60_000), evening), "it was done");
            turns.push((turn - at("2026-11-24T00:00:00Z")) / 3_600_000);
        }
        for hour in 0..5 {
            assert!(turns.contains(&hour), "no team in hour {hour}: {turns:?}");
        }
    }

    #[test]
    fn a_turn_that_was_slept_through_is_made_up_for_and_a_start_by_day_is_no_turn() {
        let prj = Project::new("TeamA").unwrap();
        let noon = at("2026-11-24T12:00:00Z");
        assert!(is_due(When::Nightly, &prj, noon, Some(at("2026-11-23T04:00:00Z")), noon));
        assert!(!is_due(When::Nightly, &prj, noon, None, noon), "it was never reconciled, and is tonight");
    }

    #[test]
    fn an_interval_counts_from_the_last_time() {
        let prj = Project::new("TeamA").unwrap();
        let every = When::Every(Duration::from_secs(60));
        assert!(is_due(every, &prj, 1_000_000, None, 1_000_000));
        assert!(!is_due(every, &prj, 1_000_000, Some(950_000), 0));
        assert!(is_due(every, &prj, 1_000_000, Some(940_000), 0));
        assert!(!is_due(When::Off, &prj, 1_000_000, None, 0));
    }
}
