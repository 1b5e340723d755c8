//! The senders. Each has deliveries of its own, and acts like an operator: what was not acknowledged is sent again
//! later, with the same id and the same bytes.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::book::Book;
use super::plan::Plan;
use harness::sender::{Request, Sender};

/// When a sender hangs up: as GitHub does.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many deliveries one sender has under way. An outage keeps their number, and with it our memory, small.
const UNDER_WAY: usize = 24;

/// The shortest pause before a delivery is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// The longest.
const AGAIN_AT_MOST: Duration = Duration::from_secs(6);

/// What all senders share.
#[derive(Debug)]
pub struct Senders {
    /// What is to be sent.
    pub plan: Arc<Plan>,
    /// What came of it.
    pub book: Arc<Book>,
    /// One for each ingress; any will do for any delivery.
    pub ways: Vec<Sender>,
    /// Of the pauses.
    pub seed: u64,
}

impl Senders {
    /// Sends everything; ends when everything has its final answer.
    pub async fn send_all(self: Arc<Self>) {
        let begin = Instant::now();
        let mut senders = JoinSet::new();
        for number in 0..self.plan.senders.len() {
            senders.spawn(Arc::clone(&self).sender(number, begin));
        }
        while senders.join_next().await.is_some() {}
    }

    /// One sender, through its list.
    async fn sender(self: Arc<Self>, number: usize, begin: Instant) {
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        let mut under_way = JoinSet::new();
        for &entry in &self.plan.senders[number] {
            sleep_until(begin + self.plan.entries[entry].at).await;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let senders = Arc::clone(&self);
            under_way.spawn(async move {
                senders.deliver(entry).await;
                drop(place);
                senders.repeat(entry).await;
            });
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Sends until there is a final answer.
    async fn deliver(&self, entry: usize) {
        let plan = &self.plan.entries[entry];
        let request = plan.request(entry, self.ways[0].secrets());
        let mut rng = SmallRng::seed_from_u64(self.seed ^ (entry as u64) << 20);
        let mut pause = AGAIN_AFTER;
        loop {
            self.book.sends(entry);
            let settled = if plan.twice {
                let (one, other) = (self.any(&mut rng), self.any(&mut rng));
                let both = tokio::join!(self.try_once(entry, one, &request), self.try_once(entry, other, &request));
                both.0 || both.1
            } else {
                let way = self.any(&mut rng);
                self.try_once(entry, way, &request).await
            };
            if settled {
                return;
            }
            sleep(pause.mul_f64(rng.random_range(0.5..1.5))).await;
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Sends once more what was acknowledged long ago.
    async fn repeat(&self, entry: usize) {
        let plan = &self.plan.entries[entry];
        if let Some(later) = plan.again {
            sleep(later).await;
            let request = plan.request(entry, self.ways[0].secrets());
            self.book.counts("sent again after its 200");
            let way = self.any(&mut SmallRng::seed_from_u64(entry as u64));
            self.try_once(entry, way, &request).await;
        }
    }

    fn any(&self, rng: &mut SmallRng) -> &Sender {
        &self.ways[rng.random_range(0..self.ways.len())]
    }

    /// Sends and notes the answer. True when the answer is final.
    async fn try_once(&self, entry: usize, way: &Sender, request: &Request) -> bool {
        let answer = match timeout(TIMEOUT, way.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                self.book.counts("no answer");
                return false;
            }
            Err(_) => {
                self.book.counts("hung up after 10 s");
                return false;
            }
        };
        self.book.counts(&answer.status.to_string());
        let forged = self.plan.entries[entry].forged;
        match (answer.status, forged) {
            (200, None) => self.book.acked(entry),
            (403, Some(_)) => self.book.refused(entry),
            // "Not now" is the only other answer that the contract has for a well-formed delivery.
            (503, _) => return false,
            (status, forged) => {
                let what = forged.map_or("genuine".to_owned(), |how| format!("forged ({how:?})"));
                let text = format!("delivery {entry}, {what}, was answered {status} {}", answer.body);
                self.book.complains(text);
            }
        }
        true
    }
}
