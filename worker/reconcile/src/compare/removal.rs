//! Whether what is gone may be removed without a person.

/// From how many documents on a removal waits for a person, when they are more than a third of all.
const FEW: usize = 10;

/// Whether removing so many documents of so many needs a person: an account that lost a role, a project that was
/// restored from a backup or a list that is wrong looks like this, too.
#[must_use]
pub const fn needs_a_person(removed: usize, stored: usize) -> bool {
    removed > FEW && removed * 3 > stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_third_and_more_than_ten_wait_for_a_person() {
        assert!(needs_a_person(11, 32));
        assert!(!needs_a_person(11, 33), "a third is not more than a third");
        assert!(!needs_a_person(10, 10), "ten are few");
        assert!(!needs_a_person(100, 400));
        assert!(needs_a_person(400, 400));
    }
}
