//! What a message costs on its own and what a batch costs, as this server shows it, and so from how many
//! waiting messages on a batch is faster.
//!
//! It cannot be a constant: with `sync_interval: always` a message on its own waits for an fsync and some
//! fifteen cost as much as a batch; with the default it does not, and a batch hardly ever pays, because its
//! staging area is made and removed on disk all the same. No client can ask a server for its setting, and
//! an fsync takes from 0.1 ms to 10 ms.

use std::time::{Duration, Instant};

/// From how many messages on a batch is worth a thought, and from how many one is tried to learn its cost.
const FROM: usize = 8;
const TRY_FROM: usize = 16;

/// Batches are remembered by their size, in classes that begin at 8, 16, 32, … messages: they have a fixed cost and
/// a small one for each message.
const CLASSES: usize = 6;

/// A message on its own tells its cost only among as many others: alone, it tells the way to the server.
const CROWD: usize = 16;

/// After how many such messages their cost is known. Their median counts: whatever stalls the server for a moment
/// stalls all that are under way, and must not pass for the cost of each.
const SAMPLES: usize = 96;

/// How long it is believed. Then the next crowd goes singly again until it is known anew.
const BELIEVED: Duration = Duration::from_secs(15);

/// After how long a batch that did not pay may be tried again, so that one slow batch is not the last.
const AGAIN: Duration = Duration::from_secs(2);

/// No batch is faster than this, in seconds: what takes less time singly is not worth a trial.
const PLAUSIBLE: f64 = 0.001;

/// How much faster a batch must be. While one is under way all its senders wait, and a server that does not wait
/// for its disk has done their work by then.
const CLEARLY: f64 = 1.5;

/// How much a new batch counts.
const WEIGHT: f64 = 0.3;

/// How many messages may be under way on their own. The server stores one after the other, so more would
/// only wait there instead of here, where they can still become a batch.
pub(super) const SINGLES: usize = 32;

/// How many where batches pay: enough to keep the server busy, few enough that a company forms behind them.
const SINGLES_BESIDE_BATCHES: usize = 8;

/// What is known of batches of one class.
#[derive(Debug, Clone, Copy)]
struct Known {
    seconds: f64,
    since: Instant,
}

/// The measured costs, in seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: Vec<f64>,
    single: Option<(f64, Instant)>,
    batches: [Option<Known>; CLASSES],
}

impl Pace {
    /// Whether this many messages are sooner stored as a batch than one after the other, or may be: then a batch
    /// tells.
    pub(super) fn batch_pays(&self, messages: usize, now: Instant) -> bool {
        let Some(singly) = self.singly(messages, now) else { return false };
        match self.batches.get(class(messages)).copied().flatten() {
            Some(known) => {
                singly > CLEARLY * known.seconds
                    || (singly > PLAUSIBLE && now.saturating_duration_since(known.since) > AGAIN)
            }
            None => singly > PLAUSIBLE && messages >= TRY_FROM,
        }
    }

    /// How many messages may be under way on their own.
    pub(super) fn singles_at_once(&self, now: Instant) -> usize {
        match self.batch_pays(SINGLES - SINGLES_BESIDE_BATCHES, now) {
            true => SINGLES_BESIDE_BATCHES,
            false => SINGLES,
        }
    }

    /// How long this many messages take one after the other, when that is known.
    fn singly(&self, messages: usize, now: Instant) -> Option<f64> {
        let (single, since) = self.single?;
        let known = messages >= FROM && now.saturating_duration_since(since) <= BELIEVED;
        known.then_some(messages as f64 * single)
    }

    /// `messages` were acknowledged after this time, with `under_way` (they among them) at once and no batch: the
    /// server works on one after the other, so each took its share.
    pub(super) fn singles_took(&mut self, messages: usize, time: Duration, under_way: usize, now: Instant) {
        if under_way < CROWD {
            return;
        }
        let share = time.as_secs_f64() / under_way as f64;
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
            *known = Some(Known { seconds, since: now });
        }
    }
}

/// The class of a batch.
fn class(messages: usize) -> usize {
    let class = (messages / FROM).max(1).ilog2() as usize;
    class.min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a server that takes this long for a message on its own, and for any batch.
    fn pace(single: Duration, batch: Duration) -> (Pace, Instant) {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, single * 32, 32, now);
        (0..CLASSES).for_each(|class| pace.batch_took(FROM << class, batch, now));
        (pace, now)
    }

    #[test]
    fn a_batch_pays_where_each_message_waits_for_the_disk() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert!(!always.batch_pays(44, now));
        assert!(always.batch_pays(46, now));
        let (slow_disk, now) = pace(Duration::from_millis(4), Duration::from_millis(30));
        assert!(slow_disk.batch_pays(12, now));
        assert!(!slow_disk.batch_pays(11, now));
    }

    #[test]
    fn a_batch_does_not_pay_where_no_message_waits_for_the_disk() {
        let (default, now) = pace(Duration::from_micros(16), Duration::from_millis(6));
        assert!(!default.batch_pays(300, now));
        assert_eq!(default.singles_at_once(now), SINGLES);
    }

    #[test]
    fn no_batch_is_tried_where_it_cannot_be_faster() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, Duration::from_micros(16) * 32, 32, now);
        assert!(!pace.batch_pays(50, now));
        assert_eq!(pace.singles_at_once(now), SINGLES);
    }

    #[test]
    fn a_company_forms_where_it_is_faster_together() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(2));
        assert_eq!(always.singles_at_once(now), SINGLES_BESIDE_BATCHES);
        let (slow_batches, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert_eq!(slow_batches.singles_at_once(now), SINGLES);
    }

    #[test]
    fn a_large_batch_tells_nothing_of_a_small_one() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, Duration::from_micros(200) * 32, 32, now);
        pace.batch_took(250, Duration::from_millis(7), now);
        assert!(pace.batch_pays(24, now), "it is tried");
        pace.batch_took(24, Duration::from_millis(4), now);
        assert!(!pace.batch_pays(24, now));
        assert!(pace.batch_pays(250, now));
    }

    #[test]
    fn the_cost_of_a_message_is_learned_in_a_crowd_and_forgotten() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(100, Duration::from_millis(1), 1, now);
        assert!(!pace.batch_pays(500, now));
        pace.singles_took(SAMPLES, Duration::from_millis(6), 32, now);
        assert!(pace.batch_pays(TRY_FROM, now));
        assert!(!pace.batch_pays(TRY_FROM, now + BELIEVED * 2));
    }

    #[test]
    fn a_stall_is_not_taken_for_the_cost_of_a_message() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(32, Duration::from_millis(500), 32, now);
        pace.singles_took(64, Duration::from_micros(640), 32, now);
        pace.batch_took(250, Duration::from_millis(6), now);
        assert!(!pace.batch_pays(250, now));
    }

    #[test]
    fn a_slow_batch_is_not_the_last() {
        let (pace, now) = pace(Duration::from_micros(200), Duration::from_secs(1));
        assert!(!pace.batch_pays(250, now));
        assert!(pace.batch_pays(250, now + AGAIN * 2));
    }
}
