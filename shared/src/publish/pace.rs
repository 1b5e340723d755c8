//! Measures from how many waiting messages on a batch is faster, by the latencies of single publishes and of batches.
//!
//! | `sync_interval` of the server | a single message | a batch | a batch is faster from |
//! |---|---|---|---|
//! | `always` | waits for an fsync | a handful of fsyncs | about 15 messages |
//! | default | no fsync | makes and removes a staging area on disk | hardly ever |
//!
//! It cannot be a constant: a client cannot read the server's setting, and an fsync takes from 0.1 ms to 10 ms.
//! docs/performance.md has the throughput.

use std::time::{Duration, Instant};

/// The smallest batch.
const MIN_BATCH: usize = 8;

/// The smallest batch that is tried when its latency is not known.
const MIN_TRIAL: usize = 16;

/// Batches are measured by size, in classes that begin at 8, 16, 32, … messages.
const CLASSES: usize = 6;

/// A single publish is a sample only with this many in flight: alone, it measures the round trip.
const MIN_IN_FLIGHT: usize = 16;

/// How many samples make a measurement. Their median counts: a stall of the server delays all that are in flight,
/// and must not be taken for the latency of each.
const SAMPLES: usize = 96;

/// How long a measurement counts. Then messages go singly until there is a new one.
const VALID_FOR: Duration = Duration::from_secs(15);

/// A batch that was not faster is tried again after this time, so that one slow batch is not the last.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The shortest plausible batch, in seconds: what takes less time singly is not worth a trial.
const SHORTEST_BATCH: f64 = 0.001;

/// How much faster a batch must be: all its senders wait until its end.
const MARGIN: f64 = 1.5;

/// Weight of a new batch in the moving average.
const WEIGHT: f64 = 0.3;

/// Single messages in flight while it is not known that a batch of all would be slower. The server stores one after the
/// other, so more would wait there instead of here, where they can still become a batch.
const SINGLES: usize = 32;

/// Single messages in flight where a batch is slower: then waiting here gains nothing.
const MANY_SINGLES: usize = 1_024;

/// Single messages in flight while batches are faster: keeps the server busy but lets a batch accumulate.
const SINGLES_BESIDE_BATCHES: usize = 8;

/// The average latency of one class of batches.
#[derive(Debug, Clone, Copy)]
struct BatchLatency {
    seconds: f64,
    since: Instant,
}

/// What was measured, in seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: Vec<f64>,
    single: Option<(f64, Instant)>,
    batches: [Option<BatchLatency>; CLASSES],
}

impl Pace {
    /// Whether this many messages are stored sooner as a batch than one after the other, or may be: then a batch is
    /// tried.
    pub(super) fn batch_is_faster(&self, messages: usize, now: Instant) -> bool {
        let Some(singly) = self.singly(messages, now) else { return false };
        match self.batches.get(class(messages)).copied().flatten() {
            Some(known) => {
                singly > MARGIN * known.seconds
                    || (singly > SHORTEST_BATCH && now.saturating_duration_since(known.since) > RETRY_AFTER)
            }
            None => singly > SHORTEST_BATCH && messages >= MIN_TRIAL,
        }
    }

    /// How many single messages may be in flight when `demand` are, or wait.
    pub(super) fn singles_at_once(&self, demand: usize, now: Instant) -> usize {
        if self.batch_is_faster(SINGLES - SINGLES_BESIDE_BATCHES, now) {
            SINGLES_BESIDE_BATCHES
        } else if demand > SINGLES && self.singly(demand, now).is_some() && !self.batch_is_faster(demand, now) {
            MANY_SINGLES
        } else {
            SINGLES
        }
    }

    /// How long this many messages take one after the other, when that is known.
    fn singly(&self, messages: usize, now: Instant) -> Option<f64> {
        let (single, since) = self.single?;
        let known = messages >= MIN_BATCH && now.saturating_duration_since(since) <= VALID_FOR;
        known.then_some(messages as f64 * single)
    }

    /// `messages` were acknowledged after this time, with `in_flight` (they among them) at once and no batch: the
    /// server stores one after the other, so each took its share.
    pub(super) fn singles_took(&mut self, messages: usize, time: Duration, in_flight: usize, now: Instant) {
        if in_flight < MIN_IN_FLIGHT {
            return;
        }
        let share = time.as_secs_f64() / in_flight as f64;
        self.samples.extend(std::iter::repeat_n(share, messages.min(SAMPLES)));
        if self.samples.len() >= SAMPLES {
            self.samples.sort_by(f64::total_cmp);
            self.single = self.samples.get(self.samples.len() / 2).map(|median| (*median, now));
            self.samples.clear();
        }
    }

    /// A batch of this many messages was acknowledged after this time.
    pub(super) fn batch_took(&mut self, messages: usize, time: Duration, now: Instant) {
        let time = time.as_secs_f64();
        if let Some(known) = self.batches.get_mut(class(messages)) {
            let seconds = known.map_or(time, |known| known.seconds + (time - known.seconds) * WEIGHT);
            *known = Some(BatchLatency { seconds, since: now });
        }
    }
}

/// The class of a batch.
fn class(messages: usize) -> usize {
    let class = (messages / MIN_BATCH).max(1).ilog2() as usize;
    class.min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that takes this long for a single message, and for any batch.
    fn pace(single: Duration, batch: Duration) -> (Pace, Instant) {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, single * 32, 32, now);
        (0..CLASSES).for_each(|class| pace.batch_took(MIN_BATCH << class, batch, now));
        (pace, now)
    }

    #[test]
    fn a_batch_is_faster_where_each_message_waits_for_the_disk() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert!(!always.batch_is_faster(44, now));
        assert!(always.batch_is_faster(46, now));
        let (slow_disk, now) = pace(Duration::from_millis(4), Duration::from_millis(30));
        assert!(slow_disk.batch_is_faster(12, now));
        assert!(!slow_disk.batch_is_faster(11, now));
    }

    #[test]
    fn a_batch_is_not_faster_where_no_message_waits_for_the_disk() {
        let (default, now) = pace(Duration::from_micros(16), Duration::from_millis(6));
        assert!(!default.batch_is_faster(300, now));
        assert_eq!((default.singles_at_once(32, now), default.singles_at_once(300, now)), (SINGLES, MANY_SINGLES));
    }

    #[test]
    fn no_batch_is_tried_where_it_cannot_be_faster() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, Duration::from_micros(16) * 32, 32, now);
        assert!(!pace.batch_is_faster(50, now));
        assert_eq!(pace.singles_at_once(50, now), MANY_SINGLES);
        assert_eq!(pace.singles_at_once(300, now), SINGLES, "as a batch they may be faster");
        assert_eq!(Pace::default().singles_at_once(300, now), SINGLES, "nothing is known");
    }

    #[test]
    fn fewer_singles_are_in_flight_where_a_batch_is_faster() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(2));
        assert_eq!(always.singles_at_once(300, now), SINGLES_BESIDE_BATCHES);
        let (slow_batches, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert_eq!(slow_batches.singles_at_once(300, now), SINGLES);
    }

    #[test]
    fn a_large_batch_is_no_measurement_of_a_small_one() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, Duration::from_micros(200) * 32, 32, now);
        pace.batch_took(250, Duration::from_millis(7), now);
        assert!(pace.batch_is_faster(24, now), "it is tried");
        pace.batch_took(24, Duration::from_millis(4), now);
        assert!(!pace.batch_is_faster(24, now));
        assert!(pace.batch_is_faster(250, now));
    }

    #[test]
    fn the_latency_of_a_message_is_measured_with_many_in_flight_and_expires() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(100, Duration::from_millis(1), 1, now);
        assert!(!pace.batch_is_faster(500, now));
        pace.singles_took(SAMPLES, Duration::from_millis(6), 32, now);
        assert!(pace.batch_is_faster(MIN_TRIAL, now));
        assert!(!pace.batch_is_faster(MIN_TRIAL, now + VALID_FOR * 2));
    }

    #[test]
    fn a_stall_is_not_taken_for_the_latency_of_a_message() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(32, Duration::from_millis(500), 32, now);
        pace.singles_took(64, Duration::from_micros(640), 32, now);
        pace.batch_took(250, Duration::from_millis(6), now);
        assert!(!pace.batch_is_faster(250, now));
    }

    #[test]
    fn among_duplicates_no_batch_is_tried_until_single_messages_wait_for_the_disk_again() {
        let (mut pace, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert!(pace.batch_is_faster(250, now));
        // The server refused it; then its messages, which were stored already, were acknowledged singly.
        pace.batch_took(250, Duration::from_millis(11), now);
        pace.singles_took(250, Duration::from_millis(5), 250, now);
        assert!(!pace.batch_is_faster(250, now));
        pace.singles_took(SAMPLES, Duration::from_micros(200) * 32, 32, now);
        assert!(pace.batch_is_faster(250, now));
    }

    #[test]
    fn a_slow_batch_is_not_the_last() {
        let (pace, now) = pace(Duration::from_micros(200), Duration::from_secs(1));
        assert!(!pace.batch_is_faster(250, now));
        assert!(pace.batch_is_faster(250, now + RETRY_AFTER * 2));
    }
}
