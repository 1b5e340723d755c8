//! What the system says of a process: memory and CPU, from `/proc`.

use super::Process;
use anyhow::Context as _;

/// Clock ticks a second in `/proc/<pid>/stat`; the same on every Linux we run on.
const TICKS: f64 = 100.0;

/// CPU seconds a process has used so far, user and system.
///
/// # Errors
/// When it has ended.
pub fn cpu_seconds(process: &Process) -> anyhow::Result<f64> {
    cpu_of(&id(process)?.to_string())
}

/// The same of this process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_of("self")
}

fn cpu_of(pid: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; what follows it does not.
    let fields: Vec<&str> = stat.rsplit_once(')').context("odd /proc/<pid>/stat")?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of the whole line; the first after the name is the third.
    Ok((ticks(11) + ticks(12)) / TICKS)
}

/// Peak resident memory in MB since the start or the last [`reset_peak`].
///
/// # Errors
/// When it has ended.
pub fn peak_mb(process: &Process) -> anyhow::Result<f64> {
    status(process, "VmHWM:")
}

/// Resident memory in MB now.
///
/// # Errors
/// When it has ended.
pub fn memory_mb(process: &Process) -> anyhow::Result<f64> {
    status(process, "VmRSS:")
}

/// The peak is measured from now on.
///
/// # Errors
/// When it has ended, or the system refuses.
pub fn reset_peak(process: &Process) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{}/clear_refs", id(process)?), "5").context("cannot reset the peak")
}

/// How many files and sockets it has open.
///
/// # Errors
/// When it has ended.
pub fn descriptors(process: &Process) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", id(process)?))?.count())
}

fn status(process: &Process, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", id(process)?))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("odd /proc/<pid>/status")?;
    let kib: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(kib * 1024.0 / 1e6)
}

fn id(process: &Process) -> anyhow::Result<u32> {
    process.pid().with_context(|| format!("{} has ended", process.name()))
}
