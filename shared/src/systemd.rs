//! Notifies systemd: ready, alive, the status, stopping.
//!
//! Does nothing without `NOTIFY_SOCKET`. Crates for this block while the socket is full, which would block a thread of
//! the runtime; here the next tick repeats the notification.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::config::ServiceManager;
use crate::lifecycle::Health;

/// How often a notification is repeated without a watchdog.
const TICK: Duration = Duration::from_secs(1);

/// Notifies until the soft stop. `READY=1` is sent once; later problems are the `STATUS`, because systemd has no
/// notification for "no longer ready". The watchdog is notified while no task has ended; a process whose threads hang
/// does not get here.
///
/// # Errors
/// Never.
pub async fn run(
    mut readiness: watch::Receiver<Readiness>,
    health: Health,
    soft: CancellationToken,
) -> Result<(), Infallible> {
    let ServiceManager { socket, watchdog } = ServiceManager::of_process();
    let Some(Ok(socket)) = socket.map(|path| Socket::open(&path)) else {
        soft.cancelled().await;
        return Ok(());
    };
    let mut ticks = tokio::time::interval(watchdog.map_or(TICK, |limit| TICK.min(limit / 3)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_started = false;
    let mut told = None;
    loop {
        tokio::select! {
            () = soft.cancelled() => break,
            _ = ticks.tick() => {
                if watchdog.is_some() && health.problem().is_none() {
                    socket.takes("WATCHDOG=1");
                }
            }
            changed = readiness.changed() => {
                if changed.is_err() {
                    // Its task has ended, so the process is about to end.
                    soft.cancelled().await;
                    break;
                }
            }
        }
        let problem = readiness.borrow().problems.first().cloned();
        if !is_started && problem.is_none() {
            is_started = socket.takes("READY=1");
        }
        let status = problem.unwrap_or_else(|| "ready".to_owned());
        if told.as_ref() != Some(&status) && socket.takes(&format!("STATUS={}", status.replace('\n', " "))) {
            told = Some(status);
        }
    }
    socket.takes("STOPPING=1");
    Ok(())
}

struct Socket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Socket {
    fn open(path: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address: address(path)? })
    }

    /// Whether the socket accepted it.
    fn takes(&self, state: &str) -> bool {
        let sent = self.socket.send_to_addr(state.as_bytes(), &self.address);
        // A full socket accepts it at the next tick.
        if let Err(error) = &sent
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, state, "systemd does not take a notification");
        }
        sent.is_ok()
    }
}

/// A path, or after `@` an abstract name.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        if let Some(name) = path.as_bytes().strip_prefix(b"@") {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(path)
}
