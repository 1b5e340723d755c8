//! Bounds the memory of events by their plain size, the bytes of their payloads before compression.
//!
//! A pull is bounded by the bytes in the stream, but 1 MB there can be 4 GB of JSON. So a batch is processed in parts, and
//! all batches of the process share one budget.
//!
//! Fields, encoded document, statement, command and the driver's buffer are further copies of an event: while a large one
//! is written, it takes some ten times its plain size. Of many small events only those of one command are copied so
//! often. So a large event counts double, and the largest are alone in the process.

use std::sync::Arc;

use async_nats::jetstream::Message;
use shared::envelope::plain_size;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all parts that are processed at a time.
const BUDGET: usize = 32 * 1024 * 1024;

/// Bytes of one part: two fit into the budget. An event that counts more is a part of its own.
const PART: usize = BUDGET / 2;

/// A larger event counts double. A larger part is decoded on a thread of its own, so that the runtime's threads stay free.
const LARGE: usize = 1024 * 1024;

/// A semaphore counts at most 2³² permits, so each stands for a kibibyte.
const UNIT: usize = 1024;

/// The budget of one process.
#[derive(Debug)]
pub struct MemoryBudget(Arc<Semaphore>);

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET / UNIT)))
    }
}

impl MemoryBudget {
    /// Waits until so many bytes are free. `None` never happens: the semaphore is not closed.
    pub(super) async fn take(&self, bytes: usize) -> Option<Arc<OwnedSemaphorePermit>> {
        let units = (bytes.min(BUDGET) / UNIT + 1).min(BUDGET / UNIT);
        let permit = Arc::clone(&self.0).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await;
        permit.ok().map(Arc::new)
    }
}

/// Whether a part of this size is decoded on a thread of its own.
pub(super) const fn is_large(bytes: usize) -> bool {
    bytes > LARGE
}

/// What some messages count.
pub(super) fn of(messages: &[Message], part: &[usize]) -> usize {
    part.iter().filter_map(|index| messages.get(*index)).map(of_message).sum()
}

/// Divides messages into parts, in their order.
pub(super) fn parts(messages: &[Message], indices: &[usize]) -> Vec<Vec<usize>> {
    let sizes = indices.iter().map(|index| (*index, messages.get(*index).map_or(0, of_message)));
    divide(sizes)
}

fn divide(sizes: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut left = 0;
    for (index, size) in sizes {
        match parts.last_mut() {
            Some(part) if size <= left => part.push(index),
            _ => {
                parts.push(vec![index]);
                left = PART;
            }
        }
        left = left.saturating_sub(size);
    }
    parts
}

fn of_message(message: &Message) -> usize {
    let bytes = message.headers.as_ref().map_or(message.payload.len(), |headers| plain_size(headers, &message.payload));
    if bytes > LARGE { bytes.saturating_mul(2) } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_what_fits_and_a_large_event_alone() {
        let sizes = [(0, 1), (1, PART - 1), (2, 1), (3, 2 * PART), (4, 1), (5, PART), (6, 3)];
        assert_eq!(divide(sizes.into_iter()), [vec![0, 1], vec![2], vec![3], vec![4], vec![5], vec![6]]);
        assert!(divide(std::iter::empty()).is_empty());
    }

    #[tokio::test]
    async fn the_largest_event_fits_into_the_budget() {
        let budget = MemoryBudget::default();
        drop(budget.take(shared::envelope::MAX_PAYLOAD).await.unwrap());
        drop(budget.take(usize::MAX).await.unwrap());
        let half = budget.take(PART - UNIT).await.unwrap();
        drop(budget.take(PART - UNIT).await.unwrap());
        drop(half);
    }
}
