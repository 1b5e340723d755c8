//! Tells systemd how the process is: started when it is ready, alive, what it waits for, stopping.
//!
//! Does nothing where systemd does not ask for it (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::lifecycle::Health;

/// Where there is no watchdog, its ticks change nothing.
const NO_WATCHDOG: Duration = Duration::from_secs(3600);

/// Tells until the soft stop. "Ready" is said once; what is missing later is the status, because systemd knows no way
/// back. The watchdog is fed while no task has ended; a process whose threads hang does not get here.
///
/// # Errors
/// Never.
pub async fn run(
    mut readiness: watch::Receiver<Readiness>,
    health: Health,
    soft: CancellationToken,
) -> Result<(), Infallible> {
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = tokio::time::interval(watchdog.map_or(NO_WATCHDOG, |limit| limit / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_started = false;
    let mut said = None;
    loop {
        let problem = readiness.borrow_and_update().problems.first().cloned();
        if problem.is_none() && !is_started {
            is_started = true;
            tell(&NotifyState::Ready);
        }
        if said.as_ref() != Some(&problem) {
            tell(&NotifyState::Status(problem.as_deref().unwrap_or("ready")));
            said = Some(problem);
        }
        tokio::select! {
            () = soft.cancelled() => break,
            _ = ticks.tick() => {
                if watchdog.is_some() && health.problem().is_none() {
                    tell(&NotifyState::Watchdog);
                }
            }
            changed = readiness.changed() => {
                if changed.is_err() {
                    // Its task has ended, so the process is about to.
                    soft.cancelled().await;
                    break;
                }
            }
        }
    }
    tell(&NotifyState::Stopping);
    Ok(())
}

fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "systemd takes no notification");
    }
}
