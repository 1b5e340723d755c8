//! Durations for people.

use std::time::Duration;

/// To the second, rounded up: `1h 2m`, not `3719.4 s`.
#[must_use]
pub fn duration(of: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(of.as_secs() + u64::from(of.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_units_of_people() {
        let shown = |millis| duration(Duration::from_millis(millis)).to_string();
        assert_eq!([0, 400, 90_000, 3_719_400, 259_200_000].map(shown), ["0s", "1s", "1m 30s", "1h 2m", "3days"]);
    }
}
