//! The disturbances: kills, freezes and restarts, in an order that the seed decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::outages::{self, Outages};
use super::rig::{Rig, Victim};
use super::settings::Settings;
use harness::eval::Reply;
use harness::eventually::Alive as _;

/// How many may be disturbed at the same time. Two members of three are a majority gone.
const AT_ONCE: usize = 3;

/// How long a process may take to stop when asked: a mongod that finds no successor waits 15 s for one and then shuts down.
pub(super) const STOP: Duration = Duration::from_secs(45);

/// A disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// `SIGKILL`, and a start after a while.
    Kill,
    /// `SIGSTOP`, and `SIGCONT` after a while.
    Freeze,
    /// `SIGTERM`, and a start after a while.
    Restart,
}

impl Deed {
    pub const ALL: [Self; 3] = [Self::Kill, Self::Freeze, Self::Restart];
}

/// The disturbances so far.
#[derive(Debug, Default, Clone)]
pub struct Done {
    /// How often.
    pub deeds: BTreeMap<(Victim, Deed), u32>,
    /// How many of the deeds met MongoDB's primary, or the leader of `LD_EVENTS`.
    pub leaders: BTreeMap<Victim, u32>,
    /// What was away altogether, while workers were restarted.
    pub outages: Outages,
    /// Processes that did not end well when asked to.
    pub unclean: Vec<String>,
}

impl Done {
    /// How often this was done to that.
    #[must_use]
    pub fn count(&self, victim: Victim, deed: Deed) -> u32 {
        self.deeds.get(&(victim, deed)).copied().unwrap_or(0)
    }
}

/// A deed on one victim, with its times.
struct Disturbance {
    victim: Victim,
    n: usize,
    deed: Deed,
    /// How long it is frozen or away.
    time: Duration,
    /// Nobody else disturbs it meanwhile, and its death is no surprise.
    _reserved: OwnedMutexGuard<()>,
}

/// Disturbs for as long as the settings say; then all are there again.
///
/// # Errors
/// When a process died of itself or did not come back.
pub async fn disturb(rig: &Rig, settings: &Settings) -> anyhow::Result<Done> {
    let (done, outages) = tokio::try_join!(single(rig, settings), outages::make(rig, settings))?;
    Ok(Done { outages, ..done })
}

/// Disturbs single processes.
async fn single(rig: &Rig, settings: &Settings) -> anyhow::Result<Done> {
    let end = Instant::now() + settings.sending;
    // Not the plan's own numbers again.
    let mut rng = StdRng::seed_from_u64(settings.seed.wrapping_mul(31).wrapping_add(17));
    let mut deck = Deck::default();
    let mut done = Done::default();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = FuturesUnordered::new();
    loop {
        let (shortest, longest) = settings.pauses;
        let next = Instant::now() + rng.random_range(shortest..=longest);
        if next >= end {
            break;
        }
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                Some(ended) = under_way.next() => done.unclean.extend(ended?),
            }
        }
        rig.check()?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (victim, deed) = deck.draw(&mut rng);
        let time = match deed {
            Deed::Freeze => rng.random_range(0.5..6.0),
            Deed::Kill | Deed::Restart => rng.random_range(0.0..5.0),
        };
        let (order, leader) = candidates(rig, victim, &mut rng).await;
        let Some((n, reserved)) = rig.reserve(victim, &order) else {
            deck.back((victim, deed));
            continue;
        };
        *done.deeds.entry((victim, deed)).or_default() += 1;
        if leader == Some(n) {
            *done.leaders.entry(victim).or_default() += 1;
        }
        let time = Duration::from_secs_f64(time);
        let disturbance = Disturbance { victim, n, deed, time, _reserved: reserved };
        under_way.push(async move {
            let unclean = disturbance.carry_out(rig).await;
            drop((disturbance, place));
            unclean
        });
    }
    while let Some(ended) = under_way.next().await {
        done.unclean.extend(ended?);
    }
    rig.check()?;
    Ok(done)
}

/// In which order the victims of a kind are tried; half the time the leader first.
async fn candidates(rig: &Rig, victim: Victim, rng: &mut StdRng) -> (Vec<usize>, Option<usize>) {
    let mut order: Vec<usize> = (0..rig.count(victim)).collect();
    order.shuffle(rng);
    let leader_first = rng.random_bool(0.5);
    let leader = rig.leader(victim).await;
    if let Some(leader) = leader
        && leader_first
    {
        order.sort_by_key(|&n| n != leader);
    }
    (order, leader)
}

impl Disturbance {
    /// Does the deed and makes up for it. Tells what did not end well when it was asked to.
    async fn carry_out(&self, rig: &Rig) -> anyhow::Result<Option<String>> {
        let mut unclean = None;
        match (rig.process(self.victim, self.n), self.deed) {
            (Some(process), Deed::Kill) => process.kill()?,
            (Some(process), Deed::Freeze) => {
                process.freeze()?;
                sleep(self.time).await;
                process.thaw()?;
                return Ok(None);
            }
            (Some(process), Deed::Restart) => match process.stop(STOP).await {
                // A mongod that is asked to stop while it steps down may say so by its exit code.
                Ok(status) if status.success() || self.victim == Victim::Mongo => {}
                Ok(status) => unclean = Some(format!("{} ended with {status}", process.name())),
                Err(error) => unclean = Some(format!("{error:#}")),
            },
            // The stand-in runs in this process: a kill cuts its connections, a freeze leaves its requests unanswered,
            // and during a restart a proxy in front of it answers 503.
            (None, Deed::Kill) => rig.eval.down(),
            (None, Deed::Freeze | Deed::Restart) => {
                let freeze = self.deed == Deed::Freeze;
                rig.eval.reply(if freeze { Reply::After(self.time) } else { Reply::Status(503) });
                sleep(self.time).await;
                rig.eval.reply(Reply::Accepted);
                return Ok(None);
            }
        }
        sleep(self.time).await;
        rig.start_again(self.victim, self.n).await?;
        Ok(unclean)
    }
}

/// The order of disturbances. At first each kind of victim is killed once, so that a short run has met all; then all
/// combinations come in turn, kills and freezes twice as often.
#[derive(Default)]
struct Deck {
    cards: Vec<(Victim, Deed)>,
    dealt: bool,
}

impl Deck {
    fn draw(&mut self, rng: &mut StdRng) -> (Victim, Deed) {
        loop {
            if let Some(card) = self.cards.pop() {
                return card;
            }
            let deeds: &[Deed] = if self.dealt {
                &[Deed::Kill, Deed::Kill, Deed::Freeze, Deed::Freeze, Deed::Restart]
            } else {
                &[Deed::Kill]
            };
            self.dealt = true;
            let all = Victim::ALL.iter().flat_map(|&victim| deeds.iter().map(move |&deed| (victim, deed)));
            self.cards.extend(all);
            self.cards.shuffle(rng);
        }
    }

    /// It could not be done now: later.
    fn back(&mut self, card: (Victim, Deed)) {
        let at = self.cards.len().saturating_sub(2);
        self.cards.insert(at, card);
    }
}
