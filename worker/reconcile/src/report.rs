//! The result of a reconciliation.

use serde::Serialize;
use shared::ids::Project;
use shared::source::Source;

/// The counts of one kind of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// How many were compared.
    pub checked: usize,
    /// How many showed the provider's state.
    pub same: usize,
    /// How many did not, or were not there.
    pub repaired: usize,
    /// How many were stored and are gone at the provider.
    pub removed: usize,
    /// How many are gone and wait for an operator's `--yes`.
    pub unconfirmed: usize,
}

/// What was found of one kind at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub prj: Project,
    pub source: Source,
    /// The repository, or the project's slug.
    pub place: String,
    /// `commits`, `issues`, `userstories`, …
    pub kind: &'static str,
    #[serde(flatten)]
    pub counts: Counts,
    /// Nothing was published.
    pub dry_run: bool,
}

/// A finding for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub prj: Project,
    pub source: Source,
    /// What happened, to what, and what to do.
    pub finding: String,
}

/// The result for a project, at one or both providers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// By place and kind.
    pub lines: Vec<Line>,
    pub findings: Vec<Finding>,
    /// How many requests it took.
    pub calls: u64,
}

impl Report {
    /// Adds another result.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.findings.extend(other.findings);
        self.calls += other.calls;
    }

    /// All counts of a source together.
    #[must_use]
    pub fn total(&self, source: Source) -> Counts {
        self.lines.iter().filter(|line| line.source == source).fold(Counts::default(), |sum, Line { counts, .. }| {
            Counts {
                checked: sum.checked + counts.checked,
                same: sum.same + counts.same,
                repaired: sum.repaired + counts.repaired,
                removed: sum.removed + counts.removed,
                unconfirmed: sum.unconfirmed + counts.unconfirmed,
            }
        })
    }

    /// Whether anything was published.
    #[must_use]
    pub fn changed_anything(&self) -> bool {
        self.lines.iter().any(|line| !line.dry_run && (line.counts.repaired > 0 || line.counts.removed > 0))
    }
}
