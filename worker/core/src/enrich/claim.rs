//! Which commits are being looked up.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::ids::Project;
use shared::retry::Policy;

use worker_providers::ProviderError;

/// Delay of a look-up when another one is looking up some of its commits.
const CLAIMED: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(1));

/// `<prj>/<sha>` of commits that are being looked up.
pub type Claims = Mutex<HashSet<String>>;

/// Held while some commits are looked up. Another look-up finds them known a moment later.
#[derive(Debug)]
pub struct Claim<'c> {
    all: &'c Claims,
    mine: Vec<String>,
}

impl<'c> Claim<'c> {
    /// For all of these commits, or for none.
    ///
    /// # Errors
    /// [`ProviderError::Limited`] when another look-up has one of them.
    pub fn take(all: &'c Claims, prj: &Project, shas: &[String]) -> Result<Self, ProviderError> {
        let mine: Vec<_> = shas.iter().map(|sha| format!("{prj}/{sha}")).collect();
        let mut held = all.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.iter().any(|one| held.contains(one)) {
            return Err(ProviderError::Limited(CLAIMED.delay_for(1)));
        }
        held.extend(mine.iter().cloned());
        drop(held);
        Ok(Self { all, mine })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut held = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &self.mine {
            held.remove(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_looked_up_once_at_a_time() {
        let all = Mutex::default();
        let [a, b] = ["A", "B"].map(|prj| Project::new(prj).unwrap());
        let shas = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let first = Claim::take(&all, &a, &shas("1 2")).unwrap();
        assert!(matches!(Claim::take(&all, &a, &shas("2 3")), Err(ProviderError::Limited(_))));
        drop(Claim::take(&all, &a, &shas("3")).unwrap());
        drop(Claim::take(&all, &b, &shas("2")).unwrap());
        drop(first);
        drop(Claim::take(&all, &a, &shas("2 3")).unwrap());
    }
}
