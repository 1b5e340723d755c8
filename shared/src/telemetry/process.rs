//! The metrics `process_…`, as Linux counts them under `/proc`. A crate that reads them compiles all of `/proc`.

use std::fs;

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// The kernel's ticks a second in what it shows to programs (`USER_HZ`): 100 on every platform that Rust supports.
const TICKS: u64 = 100;

/// The limit of open files in `/proc/self/limits`.
const OPEN_FILES: &str = "Max open files";

/// How many files this process may open (the soft limit), where Linux says it and there is a limit.
#[must_use]
pub fn open_files_limit() -> Option<u64> {
    number_after(&fs::read_to_string("/proc/self/limits").ok()?, OPEN_FILES)
}

pub(super) fn describe() {
    describe_counter!("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
    describe_gauge!("process_open_fds", "Number of open file descriptors.");
    describe_gauge!("process_max_fds", "Maximum number of open file descriptors.");
    describe_gauge!("process_virtual_memory_bytes", "Virtual memory size in bytes.");
    describe_gauge!("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.");
    describe_gauge!("process_resident_memory_bytes", "Resident memory size in bytes.");
    describe_gauge!("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
    describe_gauge!("process_threads", "Number of OS threads in the process.");
}

/// Reads them. What cannot be read keeps its last value.
pub(super) fn collect() {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let set = |name: &'static str, value: Option<u64>| {
        if let Some(value) = value {
            gauge!(name).set(value as f64);
        }
    };
    let (stat, status, limits) = (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/self/limits"));
    if let (Some(user), Some(system)) = (nth_of_stat(&stat, 14), nth_of_stat(&stat, 15)) {
        counter!("process_cpu_seconds_total").absolute((user + system) / TICKS);
    }
    let started = nth_of_stat(&stat, 22).zip(number_after(&read("/proc/stat"), "btime"));
    set("process_start_time_seconds", started.map(|(ticks, boot)| boot + ticks / TICKS));
    set("process_threads", number_after(&status, "Threads:"));
    set("process_resident_memory_bytes", number_after(&status, "VmRSS:").map(|kib| kib * 1024));
    set("process_virtual_memory_bytes", number_after(&status, "VmSize:").map(|kib| kib * 1024));
    // 0 where there is none.
    let limit = |name: &str| limits.contains(name).then(|| number_after(&limits, name).unwrap_or(0));
    set("process_max_fds", limit(OPEN_FILES));
    set("process_virtual_memory_max_bytes", limit("Max address space"));
    set("process_open_fds", fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64));
}

/// A field of `/proc/self/stat`, counted from 1 as `man proc_pid_stat` counts. The second is the program's name, which
/// can hold spaces and parentheses.
fn nth_of_stat(stat: &str, n: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(n.checked_sub(3)?)?.parse().ok()
}

/// The number behind the name that a line begins with.
fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_of_the_two() {
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               files\n";
        assert_eq!(number_after(limits, OPEN_FILES), Some(1024));
        assert_eq!(number_after("Max open files  unlimited  unlimited  files", OPEN_FILES), None);
        assert!(open_files_limit().is_some_and(|limit| limit > 0));
    }

    #[test]
    fn fields_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 11 12 0 0 20 0 9 0 4711 3000";
        assert_eq!([14, 15, 22].map(|n| nth_of_stat(stat, n)), [Some(11), Some(12), Some(4711)]);
        assert_eq!(number_after("VmSize:\t  300 kB\nVmRSS:\t  200 kB\n", "VmRSS:"), Some(200));
        assert_eq!(number_after("Max address space  unlimited  unlimited  bytes", "Max address space"), None);
    }
}
