//! Which project may be notified now.
//!
//! LD Eval recomputes a project's metrics while it answers, so one project can hang or fail while the others do not. Each
//! project has one request in flight at a time, and healthy projects share `SLOTS`. A request that takes longer than
//! [`SLOW`] gives its slot back and goes on without, and its project is troubled: until a notification of it is
//! accepted, its requests use slots of their own, after growing delays. So a project that hangs costs the others at
//! most [`SLOW`], once. While nothing is accepted at all, the delays grow with every failure, whichever project's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::retry::Policy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Requests to LD Eval in flight, of healthy projects.
const SLOTS: usize = 16;

/// Requests in flight of troubled projects.
const TROUBLED_SLOTS: usize = 16;

/// A request that takes longer is slow.
pub const SLOW: Duration = Duration::from_secs(1);

/// How long a notification waits in this process for its project's turn. Then it goes back to the stream, so that
/// waiting ones do not fill the process.
const TURN_TIMEOUT: Duration = Duration::from_secs(1);

/// Delay of a notification that went back without being sent.
const LATER: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(1));

/// Delay of a troubled project's notifications.
const TROUBLED_RETRY: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(30));

/// So many failures in a row, of any projects, lengthen a delay as one failure of the project does.
const FAILURES_PER_STEP: u32 = 8;

/// Healthy projects beyond this number are dropped from memory.
const KEPT: usize = 10_000;

/// The projects, and the slots that they share.
#[derive(Debug)]
pub struct Turns {
    healthy: Arc<Semaphore>,
    troubled: Arc<Semaphore>,
    /// Failures since the last success.
    failures: Arc<AtomicU32>,
    projects: Mutex<HashMap<String, Arc<ProjectState>>>,
}

#[derive(Debug)]
struct ProjectState {
    in_flight: Arc<Semaphore>,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    failures: u32,
    until: Instant,
}

/// A project's permit to send one notification.
#[derive(Debug)]
pub struct Turn {
    project: Arc<ProjectState>,
    failures: Arc<AtomicU32>,
    slot: Option<OwnedSemaphorePermit>,
    _in_flight: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            healthy: Arc::new(Semaphore::new(SLOTS)),
            troubled: Arc::new(Semaphore::new(TROUBLED_SLOTS)),
            failures: Arc::default(),
            projects: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a project's turn.
    ///
    /// # Errors
    /// How long the notification should wait in the stream instead.
    pub async fn next(&self, project: &str) -> Result<Turn, Duration> {
        let project = self.project(project);
        project.delay().map_or(Ok(()), Err)?;
        let deadline = Instant::now() + TURN_TIMEOUT;
        let in_flight = timeout(TURN_TIMEOUT, Arc::clone(&project.in_flight).acquire_owned()).await;
        let Ok(Ok(in_flight)) = in_flight else { return Err(project.delay().unwrap_or_else(|| LATER.delay_for(1))) };
        // The request before may have failed.
        project.delay().map_or(Ok(()), Err)?;
        let slot = match project.is_troubled() {
            // A troubled project does not wait beside the healthy ones.
            true => tokio::time::timeout_at(deadline, Arc::clone(&self.troubled).acquire_owned()).await,
            false => Ok(Arc::clone(&self.healthy).acquire_owned().await),
        };
        match slot {
            Ok(Ok(slot)) => {
                Ok(Turn { project, failures: Arc::clone(&self.failures), slot: Some(slot), _in_flight: in_flight })
            }
            _ => Err(LATER.delay_for(1)),
        }
    }

    fn project(&self, name: &str) -> Arc<ProjectState> {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        if projects.len() > KEPT {
            projects.retain(|_, project| Arc::strong_count(project) > 1 || project.is_troubled());
        }
        let new = || ProjectState { in_flight: Arc::new(Semaphore::new(1)), trouble: Mutex::default() };
        Arc::clone(projects.entry(name.to_owned()).or_insert_with(|| Arc::new(new())))
    }
}

impl Turn {
    /// The request is slow: its slot is for others, and its project is troubled.
    pub fn is_slow(&mut self) {
        if !self.project.is_troubled() {
            let _delay = self.project.fail(None, 0);
            self.slot = None;
        }
    }

    /// LD Eval answered, so the project is healthy.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
        *self.project.lock() = None;
    }

    /// The request failed. Returns the delay of the notification.
    #[must_use]
    pub fn failed(&self, wanted: Option<Duration>) -> Duration {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        self.project.fail(wanted, failures / FAILURES_PER_STEP)
    }
}

impl ProjectState {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_troubled(&self) -> bool {
        self.lock().is_some()
    }

    /// For how long nothing of it is sent.
    fn delay(&self) -> Option<Duration> {
        let until = (*self.lock())?.until;
        let left = until.saturating_duration_since(Instant::now());
        // A little later than the end, so that they do not come all in the same moment.
        (!left.is_zero()).then(|| left + LATER.delay_for(1) / 4)
    }

    fn fail(&self, wanted: Option<Duration>, more: u32) -> Duration {
        let mut trouble = self.lock();
        let failures = trouble.map_or(0, |trouble| trouble.failures).saturating_add(1);
        let delay = wanted.unwrap_or_else(|| TROUBLED_RETRY.delay_for(failures.saturating_add(more)));
        *trouble = Some(Trouble { failures, until: Instant::now() + delay });
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn projects_that_hang_cost_the_others_a_second_once() {
        let turns = Turns::default();
        let mut hanging = Vec::new();
        for n in 0..SLOTS {
            hanging.push(turns.next(&format!("hangs{n}")).await.unwrap());
        }
        let mut fine = std::pin::pin!(turns.next("fine"));
        assert!(timeout(SLOW, &mut fine).await.is_err(), "all slots are taken");
        hanging.iter_mut().for_each(Turn::is_slow);
        let fine = fine.await.unwrap();
        fine.succeeded();
        drop(fine);
        // Their next notifications do not even wait for a slot, and leave the healthy ones theirs.
        assert!(turns.next("hangs0").await.is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        drop(hanging);
        let mut again = Vec::new();
        for n in 0..TROUBLED_SLOTS {
            again.push(turns.next(&format!("hangs{n}")).await.unwrap());
        }
        turns.next("fine").await.unwrap().succeeded();
    }

    #[tokio::test(start_paused = true)]
    async fn a_project_has_one_request_in_flight_and_the_next_waits_in_the_stream() {
        let turns = Turns::default();
        let first = turns.next("a").await.unwrap();
        assert!(turns.next("a").await.is_err());
        first.succeeded();
        drop(first);
        turns.next("a").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_project_that_fails_is_retried_after_growing_delays_until_it_succeeds() {
        let turns = Turns::default();
        let mut delays = Vec::new();
        for _ in 0..6 {
            let turn = turns.next("a").await.unwrap();
            delays.push(turn.failed(None));
            drop(turn);
            assert!(turns.next("a").await.is_err());
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert!(delays[0] <= Duration::from_secs(3) && delays[5] >= Duration::from_secs(15), "{delays:?}");
        let turn = turns.next("a").await.unwrap();
        turn.succeeded();
        drop(turn);
        turns.next("a").await.unwrap();
    }
}
