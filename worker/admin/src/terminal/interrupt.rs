//! Ctrl-C and SIGTERM: a command finishes what it has in hand, so that the next one goes on behind it.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::tell;

/// How long what is in hand may take after the first signal: as long as an orchestrator's patience.
const GRACE: Duration = Duration::from_secs(8);

/// Says when a command must stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Begin nothing new.
    pub soft: CancellationToken,
    /// Leave what is in hand: at the second signal, or when the grace time is over.
    pub hard: CancellationToken,
}

impl Interrupt {
    /// Listens from now on. Without it a signal ends the process where it stands.
    #[must_use]
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let listening = interrupt.clone();
        // Here and not in the task, which begins a moment later. Where a signal cannot be listened to, it ends
        // the process as ever.
        let (mut interrupted, mut terminated) =
            (signal(SignalKind::interrupt()).ok(), signal(SignalKind::terminate()).ok());
        tokio::spawn(async move {
            one(&mut interrupted, &mut terminated).await;
            listening.soft.cancel();
            tell("stopping after what is in hand; once more stops at once");
            tokio::select! {
                () = one(&mut interrupted, &mut terminated) => {}
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

    /// Waits so long, or until a signal.
    pub async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.soft.cancelled() => {}
        }
    }
}

/// Waits for one signal of either kind.
async fn one(interrupted: &mut Option<Signal>, terminated: &mut Option<Signal>) {
    async fn next(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
    tokio::select! {
        () = next(interrupted) => {}
        () = next(terminated) => {}
    }
}
