//! Measures from how many waiting messages on a batch is faster, by the latencies of single publishes and of batches.
//!
//! | `sync_interval` of the server | a single message | a batch | a batch is faster from |
//! |---|---|---|---|
//! | `always` | waits for an fsync | a handful of fsyncs | about 15 messages |
//! | default | no fsync | makes and removes a staging area on disk | never |
//!
//! It cannot be a constant: a client cannot read the server's setting, and an fsync takes from 0.1 ms to 10 ms.
//! docs/performance.md has the throughput.
//!
//! Whatever else uses the CPU adds to every latency, and never takes from one. So the least of several measurements counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The smallest batch.
const MIN_BATCH: usize = 8;

/// The smallest batch that is tried when its latency is not known.
const MIN_TRIAL: usize = 16;

/// Batches are measured by size, in classes that begin at 8, 16, 32, … messages.
const CLASSES: usize = 6;

/// A single publish is a sample only with this many in flight: alone, it measures the round trip.
const MIN_IN_FLIGHT: usize = 16;

/// How many samples make a measurement of single messages: their median. All are of messages that were sent after the
/// measurement before, because a stall delays all that are in flight.
const SAMPLES: usize = 64;

/// Of so many measurements the least counts.
const MEASUREMENTS: usize = 4;

/// How long measurements of single messages count. Then messages go singly until there are new ones, so that a wrong
/// choice ends soon.
const VALID_FOR: Duration = Duration::from_secs(4);

/// So many trials one after the other must be faster, so that batches are used. A trial is compared with what single
/// messages took just before it, under the same load.
const TRIALS: u32 = 2;

/// A size of batch that was not faster is tried again after this time. Twice as long after each further trial: where no batch
/// is ever faster, trials must cost nothing.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The most that it is doubled: about a minute.
const MAX_DOUBLINGS: u32 = 5;

/// The shortest plausible batch, in seconds: what takes less time singly is not worth a trial.
const SHORTEST_BATCH: f64 = 0.001;

/// How much faster a batch must be: all its senders wait until its end.
const MARGIN: f64 = 1.5;

/// Single messages in flight while it is not known that a batch of all would be slower. The server stores one after the
/// other, so more would wait there instead of here, where they can still become a batch.
const SINGLES: usize = 32;

/// Single messages in flight where a batch is slower: then waiting here gains nothing.
const MANY_SINGLES: usize = 1_024;

/// Single messages in flight while batches are faster: keeps the server busy but lets a batch accumulate.
const SINGLES_BESIDE_BATCHES: usize = 8;

/// The last measurements, in seconds.
#[derive(Debug, Default)]
struct Latency(VecDeque<f64>);

impl Latency {
    fn add(&mut self, seconds: f64) {
        self.0.truncate(MEASUREMENTS - 1);
        self.0.push_front(seconds);
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// What is known of one class of batches.
#[derive(Debug)]
struct Batches {
    latency: Latency,
    since: Instant,
    /// Whether they are used.
    is_used: bool,
    /// How many of the last were faster, one after the other, and how many were not.
    faster: u32,
    slower: u32,
}

impl Batches {
    fn new(now: Instant) -> Self {
        Self { latency: Latency::default(), since: now, is_used: false, faster: 0, slower: 0 }
    }

    fn took(&mut self, seconds: f64, is_faster: bool, now: Instant) {
        self.latency.add(seconds);
        self.since = now;
        (self.faster, self.slower) =
            if is_faster { (self.faster.saturating_add(1), 0) } else { (0, self.slower.saturating_add(1)) };
        if self.is_used && self.slower as usize == MEASUREMENTS {
            (self.is_used, self.slower) = (false, 1);
        }
        self.is_used |= self.faster >= TRIALS;
    }

    fn are_faster(&self, singly: f64) -> bool {
        self.is_used && singly > MARGIN * self.latency.least()
    }

    fn are_to_be_tried(&self, now: Instant) -> bool {
        let pause = match self.faster {
            0 => RETRY_AFTER * (1 << self.slower.saturating_sub(1).min(MAX_DOUBLINGS)),
            _ => Duration::ZERO,
        };
        !self.is_used && now.saturating_duration_since(self.since) >= pause
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: Vec<f64>,
    single: Latency,
    single_since: Option<Instant>,
    batches: [Option<Batches>; CLASSES],
}

impl Pace {
    /// Whether this many messages are stored sooner as a batch than one after the other, or may be: then a batch is
    /// tried.
    pub(super) fn batch_is_faster(&self, messages: usize, now: Instant) -> bool {
        let Some(singly) = self.singly(messages, now) else { return false };
        match self.known(messages) {
            Some(known) => known.are_faster(singly) || (singly > SHORTEST_BATCH && known.are_to_be_tried(now)),
            None => singly > SHORTEST_BATCH && messages >= MIN_TRIAL,
        }
    }

    /// Whether it is known that they are.
    fn batch_is_known_to_be_faster(&self, messages: usize, now: Instant) -> bool {
        let both = self.singly(messages, now).zip(self.known(messages));
        both.is_some_and(|(singly, known)| known.are_faster(singly))
    }

    /// What is known of batches of about this many messages.
    fn known(&self, messages: usize) -> Option<&Batches> {
        self.batches.get(class(messages))?.as_ref()
    }

    /// How many single messages may be in flight when `demand` are, or wait.
    pub(super) fn singles_at_once(&self, demand: usize, now: Instant) -> usize {
        let batch = demand.saturating_sub(SINGLES_BESIDE_BATCHES);
        if self.batch_is_known_to_be_faster(batch, now) {
            SINGLES_BESIDE_BATCHES
        } else if demand > SINGLES && self.singly(demand, now).is_some() && !self.batch_is_faster(batch, now) {
            MANY_SINGLES
        } else {
            SINGLES
        }
    }

    /// How long this many messages take one after the other, when that is known.
    fn singly(&self, messages: usize, now: Instant) -> Option<f64> {
        let since = self.single_since?;
        let known = messages >= MIN_BATCH
            && self.single.0.len() == MEASUREMENTS
            && now.saturating_duration_since(since) <= VALID_FOR;
        known.then(|| messages as f64 * self.single.least())
    }

    /// `messages` that were sent at `started` are acknowledged, with `in_flight` (they among them) at once and no batch:
    /// the server stores one after the other, so each took its share.
    pub(super) fn singles_took(&mut self, messages: usize, started: Instant, in_flight: usize, now: Instant) {
        if in_flight < MIN_IN_FLIGHT || self.single_since.is_some_and(|since| started < since) {
            return;
        }
        let share = now.saturating_duration_since(started).as_secs_f64() / in_flight as f64;
        self.samples.extend(std::iter::repeat_n(share, messages.min(SAMPLES)));
        if self.samples.len() >= SAMPLES {
            self.measured_singles(now);
        }
    }

    fn measured_singles(&mut self, now: Instant) {
        if self.single_since.is_some_and(|since| now.saturating_duration_since(since) > VALID_FOR) {
            self.single = Latency::default();
        }
        self.samples.sort_by(f64::total_cmp);
        self.single.add(self.samples[self.samples.len() / 2]);
        self.single_since = Some(now);
        self.samples.clear();
    }

    /// A batch of this many messages was acknowledged after this time.
    pub(super) fn batch_took(&mut self, messages: usize, time: Duration, now: Instant) {
        // Without a measurement of single messages it cannot be compared.
        let Some(singly) = self.singly(messages, now) else { return };
        let (time, class) = (time.as_secs_f64(), class(messages));
        let is_faster = singly > MARGIN * time;
        let Some(known) = self.batches.get_mut(class) else { return };
        let known = known.get_or_insert_with(|| Batches::new(now));
        known.took(time, is_faster, now);
        let slower = known.slower;
        // What a batch costs beside its messages is shared by fewer in a smaller one: it need not be tried now.
        for smaller in self.batches.iter_mut().take(class).filter(|_| slower > 0) {
            let smaller = smaller.get_or_insert_with(|| Batches::new(now));
            (smaller.since, smaller.slower) = (now, smaller.slower.max(slower));
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

    /// So many measurements of 32 messages in flight that take this long each. Says when they end.
    fn measure(pace: &mut Pace, measurements: usize, single: Duration, begin: Instant) -> Instant {
        (0..measurements).fold(begin, |started, _| {
            let now = started + single * 32;
            pace.singles_took(SAMPLES, started, 32, now);
            now
        })
    }

    /// A server that takes this long for a single message, and for any batch.
    fn pace(single: Duration, batch: Duration) -> (Pace, Instant) {
        let mut pace = Pace::default();
        let now = measure(&mut pace, MEASUREMENTS, single, Instant::now());
        for size in (0..CLASSES).map(|class| (MIN_BATCH << (class + 1)) - 1) {
            (0..TRIALS).for_each(|_| pace.batch_took(size, batch, now));
        }
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
        let mut pace = Pace::default();
        let now = measure(&mut pace, MEASUREMENTS, Duration::from_micros(16), Instant::now());
        assert!(!pace.batch_is_faster(50, now));
        assert_eq!(pace.singles_at_once(50, now), MANY_SINGLES);
        assert_eq!(pace.singles_at_once(300, now), SINGLES, "as a batch they may be faster");
        assert_eq!(Pace::default().singles_at_once(300, now), SINGLES, "nothing is known");
    }

    #[test]
    fn fewer_singles_are_in_flight_where_a_batch_is_faster() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert_eq!(always.singles_at_once(300, now), SINGLES_BESIDE_BATCHES);
        assert_eq!(always.singles_at_once(40, now), MANY_SINGLES, "of so few none is faster");
    }

    #[test]
    fn a_large_batch_is_no_measurement_of_a_small_one() {
        let mut pace = Pace::default();
        let now = measure(&mut pace, MEASUREMENTS, Duration::from_micros(200), Instant::now());
        (0..TRIALS).for_each(|_| pace.batch_took(250, Duration::from_millis(7), now));
        assert!(pace.batch_is_faster(24, now), "it is tried");
        pace.batch_took(24, Duration::from_millis(4), now);
        assert!(!pace.batch_is_faster(24, now));
        assert!(pace.batch_is_faster(250, now));
    }

    #[test]
    fn the_latency_of_a_message_is_measured_with_many_in_flight_and_expires() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let single = Duration::from_micros(190);
        (0..500).for_each(|n| pace.singles_took(1, now + n * single, 1, now + (n + 1) * single));
        assert!(!pace.batch_is_faster(500, now));
        let now = measure(&mut pace, MEASUREMENTS, single, now + 500 * single);
        assert!(pace.batch_is_faster(MIN_TRIAL, now));
        let later = now + VALID_FOR * 2;
        assert!(!pace.batch_is_faster(MIN_TRIAL, later));
        let later = measure(&mut pace, 1, single, later);
        assert!(!pace.batch_is_faster(MIN_TRIAL, later), "what was measured before does not count any more");
    }

    #[test]
    fn a_stall_or_other_load_is_not_taken_for_the_latency_of_a_message() {
        let (mut pace, begin) = pace(Duration::from_micros(80), Duration::from_millis(60));
        assert!(!pace.batch_is_faster(250, begin));
        // All 256 that are in flight are late, one after the other.
        let stall = Duration::from_millis(500);
        (0..256).for_each(|n| pace.singles_took(1, begin, 256, begin + stall + n * Duration::from_micros(10)));
        let now = begin + stall * 2;
        assert!(!pace.batch_is_faster(250, now));
        let now = measure(&mut pace, MEASUREMENTS - 2, Duration::from_millis(1), now);
        assert!(!pace.batch_is_faster(250, now), "one of the last was not delayed");
    }

    #[test]
    fn a_batch_that_other_load_made_slow_is_not_the_last() {
        let (mut pace, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        (1..MEASUREMENTS).for_each(|_| pace.batch_took(250, Duration::from_millis(300), now));
        assert!(pace.batch_is_faster(250, now));
        pace.batch_took(250, Duration::from_millis(300), now);
        assert!(!pace.batch_is_faster(250, now), "all of the last were slow");
        assert!(pace.batch_is_faster(250, now + RETRY_AFTER), "it is tried again");
    }

    #[test]
    fn other_load_alone_makes_no_batch_faster() {
        let (mut pace, now) = pace(Duration::from_micros(80), Duration::from_millis(30));
        let now = measure(&mut pace, MEASUREMENTS, Duration::from_micros(800), now);
        assert!(!pace.batch_is_faster(250, now), "batches were measured without that load");
    }

    #[test]
    fn among_duplicates_no_batch_is_tried_until_single_messages_wait_for_the_disk_again() {
        let (mut pace, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert!(pace.batch_is_faster(250, now));
        // The server refused it; then its messages, which were stored already, were acknowledged singly.
        pace.batch_took(250, Duration::from_millis(11), now);
        let begin = now;
        let now = begin + Duration::from_millis(5);
        pace.singles_took(250, begin, 250, now);
        assert!(!pace.batch_is_faster(250, now));
        let now = measure(&mut pace, MEASUREMENTS, Duration::from_micros(200), now);
        assert!(pace.batch_is_faster(250, now));
    }

    #[test]
    fn where_no_batch_is_faster_trials_become_rare() {
        let (mut pace, now) = pace(Duration::from_micros(80), Duration::from_millis(30));
        assert!(!pace.batch_is_faster(250, now + RETRY_AFTER / 2));
        assert!(pace.batch_is_faster(250, now + RETRY_AFTER * 2));
        (0..10).for_each(|_| pace.batch_took(250, Duration::from_millis(30), now));
        assert!(!pace.batch_is_faster(250, now + VALID_FOR));
        assert!(!pace.batch_is_faster(127, now + VALID_FOR), "a smaller one is slower still");
        assert!(pace.batch_is_faster(500, now + VALID_FOR), "a larger one may be faster");
        // The disk became slow.
        let now = measure(&mut pace, MEASUREMENTS, Duration::from_millis(1), now + RETRY_AFTER * 32);
        for _ in 0..TRIALS {
            assert!(pace.batch_is_faster(250, now));
            pace.batch_took(250, Duration::from_millis(40), now);
        }
        assert!(pace.batch_is_faster(250, now));
    }
}
