//! Ctrl-C and SIGTERM: a command finishes what is in flight, so that the same command can continue there.

use std::time::Duration;

use shared::lifecycle::StopSignals;
use tokio_util::sync::CancellationToken;

use super::error::CommandError;
use super::print::notice;

/// How long what is in flight may take after the first signal: less than what orchestrators allow before SIGKILL.
const GRACE: Duration = Duration::from_secs(8);

/// Says when a command must stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Begin nothing new.
    pub soft: CancellationToken,
    /// Leave what is in flight: at the second signal, or when the grace time is over.
    pub hard: CancellationToken,
}

impl Interrupt {
    /// Listens from now on. Without it a signal ends the process at once.
    #[must_use]
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let listening = interrupt.clone();
        // Here and not in the task, which begins a moment later.
        let mut signals = StopSignals::listen();
        tokio::spawn(async move {
            signals.next().await;
            listening.soft.cancel();
            notice("stopping after what is in flight; a second signal stops at once");
            tokio::select! {
                () = signals.next() => {}
                () = tokio::time::sleep(GRACE) => {}
            }
            listening.hard.cancel();
        });
        interrupt
    }

    /// Whether nothing new may be begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Ok, unless nothing new may be begun.
    ///
    /// # Errors
    /// When a signal came.
    pub fn check(&self) -> Result<(), CommandError> {
        if self.is_stopping() { Err(CommandError::interrupted()) } else { Ok(()) }
    }

    /// Waits this long, or until a signal.
    pub async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.soft.cancelled() => {}
        }
    }
}
