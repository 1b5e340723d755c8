//! What a message costs on its own and what a batch costs, as this server shows it, and so from how many
//! waiting messages on a batch is faster.
//!
//! It cannot be a constant: with `sync_interval: always` a message on its own waits for an fsync and some
//! twenty cost as much as a batch; with the default it does not, and a batch never pays, because its
//! staging area is made and removed on disk all the same. No client can ask a server for its setting, and
//! an fsync takes from 0.1 ms to 10 ms.

use std::time::{Duration, Instant};

/// From how many messages on a batch is worth a thought, and from how many the first one is tried.
const FROM: usize = 8;
const TRY_FROM: usize = 32;

/// A message on its own tells its cost only among as many others: alone, it tells the way to the server.
const CROWD: usize = 16;

/// After how many such messages their cost is known. Their median counts: whatever stalls the server for a moment
/// stalls all that are under way, and must not pass for the cost of each.
const SAMPLES: usize = 96;

/// How long it is believed. Then the next crowd goes singly again until it is known anew.
const BELIEVED: Duration = Duration::from_secs(15);

/// After this time the cost of a batch is believed half as much, so that one slow batch is not the last.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// How much faster a batch must be. While one is under way all its senders wait, and a server that does not wait
/// for its disk has done their work by then.
const CLEARLY: f64 = 2.0;

/// How much a new batch counts.
const WEIGHT: f64 = 0.3;

/// The measured costs, in seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: Vec<f64>,
    single: Option<(f64, Instant)>,
    batch: Option<(f64, Instant)>,
}

impl Pace {
    /// Whether this many messages are sooner stored as a batch than one after the other.
    pub(super) fn batch_pays(&self, messages: usize, now: Instant) -> bool {
        let Some((single, since)) = self.single else { return false };
        if messages < FROM || now.saturating_duration_since(since) > BELIEVED {
            return false;
        }
        let Some((batch, since)) = self.batch else { return messages >= TRY_FROM };
        let age = now.saturating_duration_since(since).as_secs_f64();
        messages as f64 * single > CLEARLY * batch * 0.5_f64.powf(age / HALF_LIFE.as_secs_f64())
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

    /// A batch was acknowledged after this time.
    pub(super) fn batch_took(&mut self, time: Duration, now: Instant) {
        let time = time.as_secs_f64();
        let cost = self.batch.map_or(time, |(cost, _)| cost + (time - cost) * WEIGHT);
        self.batch = Some((cost, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(single: Duration, batch: Duration) -> (Pace, Instant) {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.singles_took(SAMPLES, single * 32, 32, now);
        pace.batch_took(batch, now);
        (pace, now)
    }

    #[test]
    fn a_batch_pays_where_each_message_waits_for_the_disk() {
        let (always, now) = pace(Duration::from_micros(200), Duration::from_millis(6));
        assert!(!always.batch_pays(55, now));
        assert!(always.batch_pays(65, now));
        let (slow_disk, now) = pace(Duration::from_millis(4), Duration::from_millis(30));
        assert!(slow_disk.batch_pays(16, now));
        assert!(!slow_disk.batch_pays(14, now));
    }

    #[test]
    fn a_batch_does_not_pay_where_no_message_waits_for_the_disk() {
        let (default, now) = pace(Duration::from_micros(16), Duration::from_millis(6));
        assert!(!default.batch_pays(300, now));
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
        pace.batch_took(Duration::from_millis(6), now);
        assert!(!pace.batch_pays(250, now));
    }

    #[test]
    fn a_slow_batch_is_not_the_last() {
        let (mut pace, now) = pace(Duration::from_micros(200), Duration::from_secs(1));
        assert!(!pace.batch_pays(250, now));
        let later = now + HALF_LIFE * 6;
        pace.singles_took(SAMPLES, Duration::from_millis(6), 32, later);
        assert!(pace.batch_pays(250, later));
    }
}
