//! How often a known project is refused for the same reason, for its page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use shared::ids::Project;
use shared::source::Source;

/// A pause after which counting begins anew, in milliseconds.
const PAUSE: i64 = 3_600_000;

/// What is counted: whose requests, whether their sender was verified, and why they were refused.
pub type Refused = (Source, Project, bool, &'static str);

/// Counts them. Only known projects are counted, and they and the reasons are a bounded number.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<Refused, Stretch>>);

#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: i64,
    last: i64,
    times: u32,
}

impl Tally {
    /// Counts one, and says since when there were how many without a pause.
    pub fn count(&self, refused: Refused, at: i64) -> (i64, u32) {
        let mut stretches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stretch = stretches.entry(refused).or_insert(Stretch { first: at, last: at, times: 0 });
        if at.saturating_sub(stretch.last) > PAUSE {
            *stretch = Stretch { first: at, last: at, times: 0 };
        }
        stretch.last = at;
        stretch.times = stretch.times.saturating_add(1);
        (stretch.first, stretch.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_reason_until_an_hour_passes_without_one() {
        let tally = Tally::default();
        let team = Project::new("A").unwrap();
        let of = |reason| (Source::Github, team.clone(), true, reason);
        assert_eq!(tally.count(of("json"), 1_000), (1_000, 1));
        assert_eq!(tally.count(of("json"), 2_000), (1_000, 2));
        assert_eq!(tally.count(of("query"), 2_500), (2_500, 1));
        assert_eq!(tally.count(of("json"), 2_001 + PAUSE), (2_001 + PAUSE, 1));
    }
}
