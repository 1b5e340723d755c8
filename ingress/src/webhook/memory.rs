//! The memory of bodies, and of what is made of them.
//!
//! A body's bytes are counted until the last one is freed, wherever they are: their share goes with them
//! ([`Share::bind`]), also into the publisher, and also when the request's connection is closed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shared::server::{Client, Fair, Taken};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::refusal::Refusal;
use crate::limits::{BACKPRESSURE_TIMEOUT, SLOW_AFTER, SLOW_RATE, SMALL_BODY};

/// The unit of memory that is counted, in bytes.
const UNIT: usize = 16 * 1024;

/// The least working memory: what the largest form needs, once decoded and once compressed.
const MIN_WORK: usize = 2 * shared::envelope::MAX_PAYLOAD + UNIT;

/// The memory that bodies share.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    small: Pool,
    large: Pool,
    /// For what is made of a large body: decoded, compressed. A holder of this never waits for a pool of bodies.
    work: Pool,
    /// The bodies that have not arrived whole.
    arriving: Mutex<Vec<Arc<Arriving>>>,
}

/// An amount of memory, in units.
#[derive(Debug)]
struct Pool {
    units: usize,
    free: Arc<Semaphore>,
    clients: Arc<Fair>,
}

/// A body that has not arrived whole.
#[derive(Debug)]
struct Arriving {
    since: Instant,
    /// Bytes so far.
    read: AtomicUsize,
    /// Units that it holds.
    units: AtomicUsize,
    is_large: AtomicBool,
    gives_way: AtomicBool,
    give_way: Notify,
}

impl Memory {
    /// Shares `mib` MiB: two fifths for small bodies, the rest for the others. Working memory for large ones comes on
    /// top: two fifths again, so that all together stays within twice of `mib`.
    #[must_use]
    pub fn new(mib: u32) -> Self {
        let units = mib as usize * (1024 * 1024 / UNIT);
        let small = units * 2 / 5;
        Self(Arc::new(Pools {
            small: Pool::new(small),
            large: Pool::new(units - small),
            work: Pool::new(small.max(MIN_WORK / UNIT)),
            arriving: Mutex::default(),
        }))
    }

    /// A share for one body of a client, still empty. A small body is counted `copies` times.
    #[must_use]
    pub fn share(&self, client: Client, copies: usize) -> Share {
        Share { memory: self.clone(), client, copies, held: None, covered: 0, is_large: false, arriving: None }
    }

    /// Working memory of so many bytes.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when others do not make room in time.
    pub async fn work(&self, client: Client, bytes: usize) -> Result<Work, Refusal> {
        let pool = &self.0.work;
        let units = bytes.div_ceil(UNIT).min(pool.units);
        Ok(Work(pool.take(client, units, || ()).await?))
    }
}

/// Units that are held. Given back when dropped.
#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    /// The client's share; one unit is not counted there, so that small bodies take no lock.
    taken: Option<Taken>,
}

impl Pool {
    fn new(units: usize) -> Self {
        Self { units, free: Arc::new(Semaphore::new(units)), clients: Fair::new(units) }
    }

    /// Waits briefly for the client's share and then for free memory; `make_room` is called before the second wait.
    async fn take(&self, client: Client, units: usize, make_room: impl FnOnce()) -> Result<Held, Refusal> {
        let taken = match units {
            0 | 1 => None,
            _ => {
                let taken = self.clients.take_within(client, units, BACKPRESSURE_TIMEOUT).await;
                Some(taken.ok_or(Refusal::Overloaded)?)
            }
        };
        let count = u32::try_from(units).map_err(|_| Refusal::Overloaded)?;
        let permit = match self.free.clone().try_acquire_many_owned(count) {
            Ok(permit) => permit,
            Err(_) => {
                make_room();
                match timeout(BACKPRESSURE_TIMEOUT, self.free.clone().acquire_many_owned(count)).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return Err(Refusal::Overloaded),
                }
            }
        };
        Ok(Held { permit, taken })
    }
}

impl Held {
    fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
        match (&mut self.taken, other.taken) {
            (Some(taken), Some(other)) => taken.merge(other),
            (taken @ None, other) => *taken = other,
            (Some(_), None) => {}
        }
    }

    /// Gives back all but so many units.
    fn shrink(&mut self, units: usize) {
        let back = self.permit.num_permits().saturating_sub(units);
        drop(self.permit.split(back));
        if let Some(taken) = &mut self.taken {
            taken.shrink(units);
        }
    }
}

/// The memory of one body; given back when dropped.
///
/// It grows with what has arrived, never with the announced length. A body that has proved not to be small takes all
/// that it can need at once: if several grew piece by piece, they would block each other.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    client: Client,
    copies: usize,
    held: Option<Held>,
    covered: usize,
    is_large: bool,
    arriving: Option<Arc<Arriving>>,
}

impl Share {
    /// Makes sure that `len` bytes are covered, of a body that will have `at_most` bytes.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when other bodies do not make room in time.
    pub async fn cover(&mut self, len: usize, at_most: usize) -> Result<(), Refusal> {
        if let Some(arriving) = &self.arriving {
            arriving.read.store(len, Ordering::Relaxed);
        }
        if len <= self.covered {
            return Ok(());
        }
        let pools = self.memory.0.clone();
        let is_large = len > SMALL_BODY;
        let (pool, bytes, copies) = if is_large {
            // Its small share is not needed any more, and must not be held while it waits.
            self.held = None;
            self.covered = 0;
            (&pools.large, at_most.max(len), 1)
        } else {
            (&pools.small, len, self.copies)
        };
        let wanted = bytes.next_multiple_of(UNIT);
        let units = (wanted - self.covered) / UNIT * copies;
        let held = pool.take(self.client, units, || pools.make_room(is_large, units)).await?;
        match &mut self.held {
            Some(all) => all.merge(held),
            None => self.held = Some(held),
        }
        self.covered = wanted;
        self.is_large = is_large;
        self.publish_state();
        Ok(())
    }

    /// From now on, until [`arrived`](Self::arrived), the body can be refused to free memory.
    pub fn arrives(&mut self, since: Instant, read: usize) {
        let arriving = Arc::new(Arriving {
            since,
            read: AtomicUsize::new(read),
            units: AtomicUsize::new(0),
            is_large: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            give_way: Notify::new(),
        });
        self.memory.0.arriving().push(arriving.clone());
        self.arriving = Some(arriving);
        self.publish_state();
    }

    /// The body is whole.
    pub fn arrived(&mut self) {
        if let Some(arriving) = self.arriving.take() {
            self.memory.0.arriving().retain(|other| !Arc::ptr_eq(other, &arriving));
        }
    }

    /// Resolves when the body is to be refused.
    pub async fn gives_way(&self) {
        match &self.arriving {
            Some(arriving) => arriving.give_way.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The bytes that it covers, which hold it from now on.
    #[must_use]
    pub fn bind(mut self, bytes: Bytes) -> Bytes {
        self.arrived();
        Bytes::from_owner(Counted { bytes, _held: self.held.take() })
    }

    fn publish_state(&self) {
        if let Some(arriving) = &self.arriving {
            let units = self.held.as_ref().map_or(0, |held| held.permit.num_permits());
            arriving.units.store(units, Ordering::Relaxed);
            arriving.is_large.store(self.is_large, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.arrived();
    }
}

/// Working memory; given back when dropped.
#[derive(Debug)]
pub struct Work(Held);

impl Work {
    /// The bytes that were made in it. They hold as much of it as they need from now on.
    #[must_use]
    pub fn bind(mut self, bytes: Bytes) -> Bytes {
        self.0.shrink(bytes.len().div_ceil(UNIT));
        Bytes::from_owner(Counted { bytes, _held: Some(self.0) })
    }
}

/// Bytes with the memory that they hold.
struct Counted {
    bytes: Bytes,
    _held: Option<Held>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Pools {
    /// Refuses the slowest bodies, until this many units will be free. A body that arrives fast is not refused: among
    /// fast bodies the first is served first.
    fn make_room(&self, large: bool, units: usize) {
        let now = Instant::now();
        let pool = if large { &self.large } else { &self.small };
        let arriving = self.arriving();
        let slow = arriving.iter().filter(|body| body.is_large.load(Ordering::Relaxed) == large);
        let mut slow: Vec<_> = slow.filter_map(|body| Some((body.slow_rate(now)?, body))).collect();
        slow.sort_by_key(|(rate, _)| *rate);
        let mut free = pool.free.available_permits();
        for (_, body) in slow {
            if free >= units {
                break;
            }
            free += body.units.load(Ordering::Relaxed);
            // Bodies that were refused before are still freeing memory.
            if !body.gives_way.swap(true, Ordering::Relaxed) {
                body.give_way.notify_one();
            }
        }
    }

    fn arriving(&self) -> MutexGuard<'_, Vec<Arc<Arriving>>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving {
    /// Bytes a second, of a body that has had some time and is slow.
    fn slow_rate(&self, now: Instant) -> Option<u128> {
        let time = now.duration_since(self.since);
        let rate = self.read.load(Ordering::Relaxed) as u128 * 1000 / time.as_millis().max(1);
        (time >= SLOW_AFTER && rate < SLOW_RATE as u128).then_some(rate)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
