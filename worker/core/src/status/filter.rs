//! `?q=`: which rows the page shows.

use super::teams::Row;

/// The longest filter: nothing that it is compared with is longer.
const LONGEST: usize = 100;

/// A text that must be in a row's team, course or source; case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    pub fn new(text: &str) -> Self {
        Self(text.trim().chars().take(LONGEST).collect())
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn accepts(&self, row: &Row) -> bool {
        let wanted = self.0.to_lowercase();
        let texts = [
            Some(row.prj.as_str()),
            row.course.as_deref(),
            Some(row.source.as_str()),
            Some(row.source.description().title),
        ];
        texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted))
    }
}
