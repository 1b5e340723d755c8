//! The limit of open files, which every connection counts against.

/// What is open beside connections: NATS, admin connections, files, the runtime's own.
const BESIDE: usize = 80;

/// Logs a warning when the process may open fewer files than so many connections need.
pub fn warn_if_too_few(connections: usize) {
    let needed = connections + BESIDE;
    if let Some(limit) = soft_limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "the limit of open files is too low for MAX_CONNECTIONS: raise it (LimitNOFILE= of the systemd unit, ulimit -n, nofile of the container), or lower MAX_CONNECTIONS"
        );
    }
}

/// The soft limit, where Linux says it.
fn soft_limit() -> Option<usize> {
    soft_limit_in(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit_in(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_of_the_two() {
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit_in(limits), Some(1024));
        assert_eq!(soft_limit_in("Max open files  unlimited  unlimited  files"), None);
        assert!(soft_limit().is_some_and(|limit| limit > 0));
    }
}
