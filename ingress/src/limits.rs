//! What a stranger may cost us, and the memory that bodies share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Refusal;

/// How large may a body be? GitHub's own cap (CONTRACT §1).
pub const MAX_BODY: usize = shared::envelope::MAX_PAYLOAD;

/// How many headers may a request have? GitHub sends 12, each proxy adds a few.
pub const MAX_HEADERS: usize = 100;

/// How many bytes may the request line and the headers have together?
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How many bytes are read ahead from one connection? A head must fit.
pub const READ_BUFFER: usize = 2 * MAX_HEAD_BYTES;

/// How long may a client take to agree on TLS?
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long may a client take for its request line and headers, from its first byte or from connecting?
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long may a connection be idle between two requests?
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How old may a connection get? Then it is closed after its current request, so that none is held for ever.
pub const MAX_AGE: Duration = Duration::from_secs(600);

/// How long may a body pause?
pub const BODY_PAUSE: Duration = Duration::from_secs(10);

/// How long may a body take as a whole?
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a refused body is read away so that its sender gets to read the answer?
pub const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// And for how long?
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long does a request wait for memory, a slot or a connection before it is answered 503?
pub const CROWD_PATIENCE: Duration = Duration::from_secs(1);

/// How long may permit, send and acknowledgement take, from the moment the body is complete? CONTRACT §1 says
/// 8 s as the sender sees it; half a second is left for the way there and back.
pub const PUBLISH_DEADLINE: Duration = Duration::from_millis(7_500);

/// What does a 503 tell the sender to wait, in seconds?
pub const RETRY_AFTER: &str = "5";

/// Up to which size is a body small? Nearly all are, and they have memory of their own, so that a few huge or
/// slow ones cannot keep them out.
pub const SMALL_BODY: usize = 256 * 1024;

/// From which size on does a body leave the event loop while it is hashed, checked and compressed? Below, that
/// takes less than a few milliseconds.
pub const HEAVY_BODY: usize = 1024 * 1024;

/// In which units is memory counted?
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
/// It grows with what has arrived, never with what was announced, so that announcing costs nobody memory. Only
/// a body that has proved not to be small takes all it can need at once: growing piece by piece, several would
/// starve each other.
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
    /// [`Refusal::Crowded`] when other bodies do not make room in time.
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
        let units = u32::try_from((wanted - self.covered) / UNIT).map_err(|_| Refusal::Crowded)?;
        let permit = match pool.clone().try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(CROWD_PATIENCE, pool.clone().acquire_many_owned(units)).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(Refusal::Crowded),
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

    #[tokio::test(start_paused = true)]
    async fn huge_bodies_wait_for_each_other_and_never_for_long() {
        let memory = Memory::new(64);
        let mut first = memory.share();
        first.cover(SMALL_BODY + 1, MAX_BODY).await.unwrap();
        let mut second = memory.share();
        assert_eq!(second.cover(SMALL_BODY + 1, MAX_BODY).await, Err(Refusal::Crowded));
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
