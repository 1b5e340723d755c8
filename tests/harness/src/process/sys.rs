//! The system calls that the standard library does not offer. All `unsafe` of the repository is here.

#![expect(unsafe_code, reason = "prctl and kill have no safe wrapper in std; each block says why it is sound")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What can be done to a process from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGKILL`: it is gone, whatever it was doing.
    Kill,
    /// `SIGTERM`: please stop.
    Stop,
    /// `SIGINT`: what Ctrl-C sends.
    Interrupt,
    /// `SIGSTOP`: it stands still, its connections stay open.
    Freeze,
    /// `SIGCONT`: it goes on.
    Thaw,
}

/// Makes the child die (`SIGKILL`) when the thread that spawns it ends, however that comes about.
///
/// The signal follows the *thread*, so such a command must be spawned from one that lives as long as
/// the process: see [`spawn`](super::spawner::spawn).
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: prctl and getppid are async-signal-safe, take no pointers here and touch no memory.
        let (asked, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        if asked == -1 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before we asked; then no signal will come.
        if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: between fork and exec the closure only makes the two calls above and allocates nothing
    // (an `io::Error` of an OS code or a kind is a plain value).
    unsafe { command.pre_exec(before_exec) };
}

/// Sends a signal to a process that is our child and not yet reaped, so that its id is its own.
pub(super) fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGTERM,
        Signal::Interrupt => libc::SIGINT,
        Signal::Freeze => libc::SIGSTOP,
        Signal::Thaw => libc::SIGCONT,
    };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes two integers and touches no memory.
    if unsafe { libc::kill(pid, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
