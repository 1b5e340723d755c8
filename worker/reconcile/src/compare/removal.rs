//! Whether documents that are gone at the provider may be removed without an operator.

/// From this many documents on, a removal waits for an operator if it is more than a third of all.
const FEW: usize = 10;

/// Whether the removal of so many documents of so many needs an operator. An account that lost a role, a project that
/// was restored from a backup or a wrong list looks the same.
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
