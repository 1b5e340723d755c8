//! How a test waits: for a named fact, for a named time, and no longer once a process that it needs has
//! died.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

/// How often a fact is looked at.
const INTERVAL: Duration = Duration::from_millis(25);

/// Something whose death makes waiting pointless.
pub trait Alive {
    /// Says how it died, if it did.
    ///
    /// # Errors
    /// When a process ended by itself; with the end of its log.
    fn check(&self) -> anyhow::Result<()>;
}

impl<T: Alive + ?Sized> Alive for &T {
    fn check(&self) -> anyhow::Result<()> {
        (**self).check()
    }
}

impl<T: Alive> Alive for [T] {
    fn check(&self) -> anyhow::Result<()> {
        self.iter().try_for_each(Alive::check)
    }
}

impl Alive for () {
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Looks until `fact` is true and gives what it found. An error of `fact` means "not yet, because".
///
/// # Errors
/// When the time is over, with the last reason; or at once when something of `alive` has died.
pub async fn eventually<T>(
    name: &str,
    within: Duration,
    alive: &(impl Alive + ?Sized),
    mut fact: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        alive.check().with_context(|| format!("waiting until {name}"))?;
        let left = within.saturating_sub(begin.elapsed()).max(INTERVAL);
        let reason = match tokio::time::timeout(left, fact()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(reason)) => reason,
            Err(_) => anyhow!("looking took too long"),
        };
        if begin.elapsed() >= within {
            return Err(reason.context(format!("after {within:?} it was not so that {name}")));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks at `fact` again and again for this long; it has to be true every time. For what an outage must
/// *not* bring about, which only time can show.
///
/// # Errors
/// At once when it is not so, or when something of `alive` has died.
pub async fn throughout(
    name: &str,
    lasting: Duration,
    alive: &(impl Alive + ?Sized),
    mut fact: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        alive.check().with_context(|| format!("while {name}"))?;
        fact().await.with_context(|| format!("after {:?} it was no longer so that {name}", begin.elapsed()))?;
        if begin.elapsed() >= lasting {
            return Ok(());
        }
        tokio::time::sleep(4 * INTERVAL).await;
    }
}
