//! Named tasks that must not end, a soft stop that finishes what is in flight, and a hard stop when that takes too
//! long.
//!
//! `SIGTERM` or `SIGINT` is the soft stop; a second one, or the end of the grace time, is the hard one.
//! A task that ends before the soft stop is a failure: the process stops with exit code 1, and until it
//! is gone `/healthz` answers 503.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::duration::duration;

/// After the hard stop, how long tasks may take to notice it before they are dropped. Part of the grace
/// time (of a short one: half of it), after which an orchestrator may send `SIGKILL`.
const HARD_GRACE: Duration = Duration::from_secs(2);

/// Whether a task of the process has ended; shared with the admin server.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// Why the process is unhealthy, or `None` while all its tasks run.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

/// A task's error, which is only logged.
type TaskError = Box<dyn Display + Send>;
type TaskResult = Result<(), TaskError>;

/// The tasks of one process and its two stop signals.
#[derive(Debug)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    grace: Duration,
    stop: StopSignals,
    health: Health,
    tasks: JoinSet<TaskResult>,
    names: Vec<(Id, &'static str)>,
}

impl Lifecycle {
    /// A process that gives its tasks `grace` to stop. From now on signals do not end it by themselves;
    /// one that comes before [`run`](Self::run) counts.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            grace,
            stop: StopSignals::listen(),
            health: Health::default(),
            tasks: JoinSet::new(),
            names: Vec::new(),
        }
    }

    /// Cancelled at the soft stop: take nothing new, finish what is in flight, return.
    #[must_use]
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled at the hard stop: release what is in flight and return at once.
    #[must_use]
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// For `/healthz`.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Adds a task that runs until the soft stop. If it returns or panics earlier, the process fails.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let handle = self.tasks.spawn(async move { task.await.map_err(|error| Box::new(error) as TaskError) });
        self.names.push((handle.id(), name));
    }

    /// Runs until a signal or until a task ends, then stops everything.
    ///
    /// Exit code 0 after a signal when every task ended in time and without an error, 1 otherwise.
    pub async fn run(self) -> ExitCode {
        let Self { soft, hard, grace, mut stop, health, mut tasks, names } = self;
        let name = |id: Id| names.iter().find(|(known, _)| *known == id).map_or("?", |(_, name)| name);
        let mut failed = tokio::select! {
            () = stop.next() => { tracing::info!("stopping: finishing what is in flight"); false }
            () = soft.cancelled() => false,
            ended = tasks.join_next_with_id() => {
                let why = match ended {
                    Some(Ok((id, Ok(())))) => format!("task {} ended without a stop", name(id)),
                    Some(Ok((id, Err(error)))) => format!("task {} failed: {error}", name(id)),
                    Some(Err(error)) => format!("task {} panicked", name(error.id())),
                    None => "the process has no tasks".to_owned(),
                };
                tracing::error!(reason = %why, "stopping: a task of this process has ended, restart it");
                health.fail(why);
                true
            }
        };
        soft.cancel();
        let hard_grace = HARD_GRACE.min(grace / 2);
        let in_time = tokio::select! {
            all_ok = join_all(&mut tasks) => Some(all_ok),
            () = tokio::time::sleep(grace.saturating_sub(hard_grace)) => None,
            () = stop.next() => None,
        };
        match in_time {
            Some(all_ok) => failed |= !all_ok,
            None => {
                tracing::warn!(grace = %duration(grace), "stopping hard: handing back what is still in flight");
                hard.cancel();
                failed |= !tokio::time::timeout(hard_grace, join_all(&mut tasks)).await.unwrap_or(false);
            }
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Waits for every task; whether all ended without an error.
async fn join_all(tasks: &mut JoinSet<TaskResult>) -> bool {
    let mut all_ok = true;
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "a task failed while stopping");
                all_ok = false;
            }
            Err(error) => {
                tracing::error!(%error, "a task panicked while stopping");
                all_ok = false;
            }
        }
    }
    all_ok
}

/// SIGTERM and SIGINT, kept until they are read.
#[derive(Debug)]
pub struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    /// Listens from now on; from then on signals do not end the process by themselves.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn listen() -> Self {
        let both = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(term), Ok(int)) = both else {
            tracing::error!("cannot listen for SIGTERM and SIGINT; stop this process with SIGKILL");
            return Self(None);
        };
        Self(Some((term, int)))
    }

    /// Resolves at the next one; never when the process cannot listen for them.
    pub async fn next(&mut self) {
        let Some((term, int)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_a_failure_and_says_which() {
        let mut life = Lifecycle::new(Duration::from_secs(1));
        let health = life.health();
        life.spawn("pump", async { Err::<(), _>("broken") });
        let soft = life.soft();
        life.spawn("other", async move {
            soft.cancelled().await;
            Ok::<(), String>(())
        });
        assert_eq!(format!("{:?}", life.run().await), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(health.problem().as_deref(), Some("task pump failed: broken"));
    }

    #[tokio::test]
    async fn a_soft_stop_waits_for_what_is_in_flight() {
        let mut life = Lifecycle::new(Duration::from_secs(5));
        let soft = life.soft();
        let (done, finished) = tokio::sync::oneshot::channel();
        let stop = life.soft();
        life.spawn("flight", async move {
            soft.cancelled().await;
            tokio::task::yield_now().await;
            done.send(()).map_err(|()| "the receiver is gone")
        });
        stop.cancel();
        assert_eq!(format!("{:?}", life.run().await), format!("{:?}", ExitCode::SUCCESS));
        finished.await.unwrap();
    }
}
