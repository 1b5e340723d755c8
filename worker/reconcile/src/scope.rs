//! The scope of a reconciliation: which objects, and how closely.

use std::collections::BTreeSet;

use shared::ids::{Project, QualityModel};
use shared::time::parse_instant;

use crate::reading::taiga::Item;

/// In how many days every object is read once.
const DAYS: u64 = 7;

/// The objects of GitHub that have documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GithubKind {
    /// Commits of all branches.
    Commits,
    Issues,
    /// Closed pull requests.
    PullRequests,
}

/// The objects of which more is read than their lists contain, beside those whose list differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every seventh, another one each day.
    Day(u64),
    /// Those that were changed since then, in milliseconds since 1970.
    Since(i64),
    All,
}

impl Depth {
    /// Whether an object is read.
    #[must_use]
    pub fn reads(self, id: u64, changed: Option<&str>) -> bool {
        match self {
            Self::Day(day) => id % DAYS == day % DAYS,
            Self::Since(since) => changed.and_then(parse_instant).is_none_or(|changed| changed >= since),
            Self::All => true,
        }
    }
}

/// The scope of a reconciliation.
#[derive(Debug, Clone)]
pub struct Scope {
    pub prj: Project,
    pub github: BTreeSet<GithubKind>,
    pub taiga: BTreeSet<Item>,
    /// Only what was last changed from then, and before then, in milliseconds since 1970. Then nothing is removed.
    pub range: (Option<i64>, Option<i64>),
    /// How closely.
    pub depth: Depth,
    /// Publish nothing.
    pub dry_run: bool,
    /// An operator has confirmed that much is gone.
    pub confirmed: bool,
    /// The quality model of notifications, where it is known.
    pub quality_model: Option<QualityModel>,
}

impl Scope {
    #[must_use]
    pub fn everything(prj: Project, depth: Depth) -> Self {
        Self {
            prj,
            github: [GithubKind::Commits, GithubKind::Issues, GithubKind::PullRequests].into(),
            taiga: Item::ALL.into(),
            range: (None, None),
            depth,
            dry_run: false,
            confirmed: false,
            quality_model: None,
        }
    }

    /// Whether lists are read whole.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.range, (None, None))
    }

    /// Whether an object that was changed then is in the scope. An object without a time is.
    #[must_use]
    pub fn wants(&self, changed: Option<&str>) -> bool {
        let Some(ms) = changed.and_then(parse_instant) else { return true };
        let (from, to) = self.range;
        from.is_none_or(|from| ms >= from) && to.is_none_or(|to| ms < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_read_once_in_seven_days() {
        for id in 0..100 {
            assert_eq!((20_000..20_007).filter(|day| Depth::Day(*day).reads(id, None)).count(), 1);
        }
    }

    #[test]
    fn after_a_gap_what_was_changed_in_it_is_read_and_what_does_not_say_when() {
        let since = parse_instant("2026-11-23T17:00:00Z").unwrap();
        let reads = |changed| Depth::Since(since).reads(1, changed);
        assert!(reads(Some("2026-11-23T17:00:00Z")) && reads(None));
        assert!(!reads(Some("2026-11-23T16:59:59Z")));
    }
}
