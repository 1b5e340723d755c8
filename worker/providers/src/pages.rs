//! Lists end: a provider's answers may lead in a circle, or on and on.

use std::collections::HashSet;

/// How many pages a list may have. A page holds a hundred items; no team has that many of anything.
pub const MOST_PAGES: usize = 2_000;

/// What is wrong with a list of more pages.
pub const ENDLESS: &str = "its pages lead in a circle, or there are more than 2,000";

/// The pages of a list that were read.
#[derive(Debug, Default)]
pub struct Trail(HashSet<String>);

impl Trail {
    /// Notes that the page at this address is read now. Whether it may be: it is a new one, and there were not too many.
    #[must_use]
    pub fn enter(&mut self, address: &str) -> bool {
        self.0.len() < MOST_PAGES && self.0.insert(address.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_it_leads_back_or_on_and_on() {
        let mut circle = Trail::default();
        assert!(circle.enter("/a?page=1") && circle.enter("/a?page=2") && !circle.enter("/a?page=1"));
        let mut growing = Trail::default();
        assert_eq!((0..).take_while(|page| growing.enter(&format!("/a?page={page}"))).count(), MOST_PAGES);
    }
}
