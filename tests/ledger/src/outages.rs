//! Outages: MongoDB or NATS is away altogether, and all workers are restarted again and again meanwhile. No event may be
//! blamed for that.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::chaos::STOP;
use super::rig::{Rig, Victim};
use super::settings::Settings;

/// The pause before an outage; of a short run one is made after two thirds of its time.
const PAUSE: Duration = Duration::from_secs(30);

/// How often all workers are restarted in one outage.
const ROUNDS: u32 = 4;

/// How long a worker may work before it is ended again: enough to take events and to find that nothing can be stored.
const WORKS: Duration = Duration::from_millis(700);

/// What was away, how often, and how many restarts of workers that met.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Outages {
    /// Of MongoDB: two members of three, its primary among them, or all.
    pub mongo: u32,
    /// Of NATS: its server, or two of three.
    pub nats: u32,
    /// Workers ended by `SIGKILL` meanwhile.
    pub killed: u32,
    /// Workers ended by `SIGTERM` meanwhile.
    pub stopped: u32,
}

/// Makes outages for as long as the settings say, MongoDB's first.
///
/// # Errors
/// When a process did not come back.
pub async fn make(rig: &Rig, settings: &Settings) -> anyhow::Result<Outages> {
    let begin = Instant::now();
    let end = begin + settings.sending;
    let mut rng = StdRng::seed_from_u64(settings.seed.wrapping_mul(37).wrapping_add(11));
    let mut done = Outages::default();
    let mut next = begin + PAUSE.min(settings.sending * 2 / 3);
    for victim in [Victim::Mongo, Victim::Nats].into_iter().cycle() {
        if next >= end {
            break;
        }
        sleep_until(next).await;
        outage(rig, victim, &mut rng, &mut done).await?;
        next = Instant::now() + PAUSE;
    }
    Ok(done)
}

/// One outage of a kind of server.
async fn outage(rig: &Rig, victim: Victim, rng: &mut StdRng, done: &mut Outages) -> anyhow::Result<()> {
    // Nobody else touches any of these meanwhile.
    let _servers = rig.reserve_all(victim).await;
    let _workers = rig.reserve_all(Victim::Worker).await;
    let count = rig.count(victim);
    let leader = rig.leader(victim).await.unwrap_or(0);
    let majority = count / 2 + 1;
    let away = if victim == Victim::Mongo && rng.random_bool(0.5) { count } else { majority };
    let away: Vec<usize> = (0..away).map(|n| (leader + n) % count).collect();
    let is_frozen = rng.random_bool(0.5);
    for process in away.iter().filter_map(|&n| rig.process(victim, n)) {
        if is_frozen { process.freeze()? } else { process.kill()? }
    }
    match victim {
        Victim::Mongo => done.mongo += 1,
        _ => done.nats += 1,
    }
    for round in 0..ROUNDS {
        sleep(WORKS).await;
        // SIGTERM first: what is handed back is redelivered at once, what a killed worker had only after the ack wait.
        let is_killed = round % 2 == 1;
        let restarts = rig.workers.iter().map(|worker| async move {
            if is_killed {
                worker.process.kill()?;
            } else {
                // Without its servers a worker may give up on what is in flight; how it ends then is no matter here.
                worker.process.stop(STOP).await?;
            }
            worker.start_again().await
        });
        futures::future::try_join_all(restarts).await?;
        let count = if is_killed { &mut done.killed } else { &mut done.stopped };
        *count += u32::try_from(rig.workers.len()).unwrap_or(u32::MAX);
    }
    if is_frozen {
        away.iter().filter_map(|&n| rig.process(victim, n)).try_for_each(|process| process.thaw())
    } else {
        // Side by side: one of two alone has no majority to wait for.
        futures::future::try_join_all(away.iter().map(|&n| rig.start_again(victim, n))).await.map(drop)
    }
}
