//! The memory that bodies share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::limits::{BACKPRESSURE_TIMEOUT, SMALL_BODY};

/// The unit of memory that is counted, in bytes.
const UNIT: usize = 16 * 1024;

/// The memory that bodies share.
#[derive(Debug, Clone)]
pub struct Memory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Memory {
    /// Shares `mib` MiB: two fifths for small bodies, the rest for the others.
    #[must_use]
    pub fn new(mib: u32) -> Self {
        let units = mib as usize * (1024 * 1024 / UNIT);
        let small = units * 2 / 5;
        Self { small: Arc::new(Semaphore::new(small)), large: Arc::new(Semaphore::new(units - small)) }
    }

    /// A share for one body, still empty.
    #[must_use]
    pub fn share(&self) -> Share<'_> {
        Share { memory: self, held: None, covered: 0 }
    }
}

/// The memory of one body; given back when dropped.
///
/// It grows with what has arrived, never with what was announced: an announcement takes no memory. Only a body that
/// has proved not to be small takes all that it can need at once: growing piece by piece, several would starve each
/// other.
#[derive(Debug)]
pub struct Share<'m> {
    memory: &'m Memory,
    held: Option<OwnedSemaphorePermit>,
    covered: usize,
}

impl Share<'_> {
    /// Whether the body has more than `len` bytes, as far as it has arrived.
    #[must_use]
    pub const fn is_heavy(&self, len: usize) -> bool {
        self.covered > len
    }

    /// Makes sure that `len` bytes are covered, of a body that will have `at_most` bytes.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when other bodies do not make room in time.
    pub async fn cover(&mut self, len: usize, at_most: usize) -> Result<(), Refusal> {
        if len <= self.covered {
            return Ok(());
        }
        let (pool, wanted) = if len <= SMALL_BODY {
            (&self.memory.small, len.next_multiple_of(UNIT))
        } else {
            // Its small share is not needed any more, and must not be held while waiting.
            self.held = None;
            self.covered = 0;
            (&self.memory.large, at_most.max(len).next_multiple_of(UNIT))
        };
        let units = u32::try_from((wanted - self.covered) / UNIT).map_err(|_| Refusal::Overloaded)?;
        let permit = match pool.clone().try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(BACKPRESSURE_TIMEOUT, pool.clone().acquire_many_owned(units)).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(Refusal::Overloaded),
            },
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        self.covered = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BODY: usize = shared::envelope::MAX_PAYLOAD;

    #[tokio::test(start_paused = true)]
    async fn huge_bodies_wait_for_each_other_and_never_for_long() {
        let memory = Memory::new(64);
        let mut first = memory.share();
        first.cover(SMALL_BODY + 1, MAX_BODY).await.unwrap();
        let mut second = memory.share();
        assert_eq!(second.cover(SMALL_BODY + 1, MAX_BODY).await, Err(Refusal::Overloaded));
        memory.share().cover(SMALL_BODY, SMALL_BODY).await.unwrap();
        drop(first);
        second.cover(MAX_BODY, MAX_BODY).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_body_takes_what_has_arrived() {
        let memory = Memory::new(64);
        let free = memory.small.available_permits();
        let mut share = memory.share();
        for len in [1, UNIT, UNIT + 1, SMALL_BODY] {
            share.cover(len, SMALL_BODY).await.unwrap();
            assert_eq!(free - memory.small.available_permits(), len.div_ceil(UNIT), "{len}");
        }
        share.cover(SMALL_BODY + 1, 2 * SMALL_BODY).await.unwrap();
        assert_eq!(memory.small.available_permits(), free);
        drop(share);
        assert_eq!(memory.large.available_permits() + free, 64 * 1024 * 1024 / UNIT);
    }
}
