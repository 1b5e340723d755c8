//! The limit of open files, which every connection counts against.

use shared::telemetry::open_files_limit;

/// What is open beside connections: NATS, admin connections, files, the runtime's own.
const BESIDE: u64 = 80;

/// Logs a warning when the process may open fewer files than so many connections need.
pub fn warn_if_too_few(connections: usize) {
    let needed = connections as u64 + BESIDE;
    if let Some(limit) = open_files_limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "the limit of open files is too low for MAX_CONNECTIONS: raise it (LimitNOFILE= of the systemd unit, ulimit -n, nofile of the container), or lower MAX_CONNECTIONS"
        );
    }
}
