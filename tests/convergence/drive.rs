//! Several workers' stores on one MongoDB, and their schedule.
//!
//! The stores have clients of their own and share nothing. We poll them: during prescribed turns one alone runs and the
//! others stop in the middle of their steps; after that all run at once. A worker that dies is a future that is
//! dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bson::{Document, doc};
use futures::TryStreamExt as _;
use harness::eventually::eventually;
use harness::servers::{self, Mongo8, mongo};
use mongodb::Database;
use worker_core::store::{self, Applied, Store};
use worker_event::effect::Kind;

use crate::history::{Batch, Event, Turn, WORKERS};
use crate::model::world;
use crate::{check, payload};

/// How long a command of a dead worker may go on in MongoDB.
const DYING: Duration = Duration::from_secs(20);

/// Whose batches are as large as those of a backlog, which the store writes in other steps.
const LARGE: [usize; 2] = [1, ON_MONGO8];

/// Whose MongoDB has `bulkWrite`.
const ON_MONGO8: usize = 3;

/// Four workers, and a client that only reads.
pub(crate) struct Bench {
    stores: Vec<Store>,
    mongo8: Mongo8,
    db: Database,
    /// The first one's project; see [`prj`](Self::prj).
    name: String,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The differences from the reference, one line each.
    pub(crate) differences: Vec<String>,
    /// For each turn, whether its worker was done at its end.
    pub(crate) ended: Vec<bool>,
}

/// One action of a worker.
type Job<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

impl Bench {
    /// Connects to a database of the test's own.
    pub(crate) async fn start(name: &str) -> anyhow::Result<Self> {
        let uri = &servers::shared().await?.mongo_uri;
        let database = format!("convergence_{name}_{}", std::process::id());
        let mut stores = Vec::new();
        let mongo8 = Mongo8::before(uri).await?;
        for worker in 0..WORKERS {
            let uri = if worker == ON_MONGO8 { &mongo8.uri() } else { uri };
            stores.push(Store::connect(&with_app_name(uri, &app_name(name, worker)), &database).await?);
        }
        // MONGO_URI may name another database.
        let database = stores.first().context("there are workers")?.database().name().to_owned();
        let db = mongo::connect(uri).await?.database(&database);
        Ok(Self { stores, mongo8, db, name: name.to_owned() })
    }

    /// A project's id, unique even among runs in the same database.
    fn prj(&self, name: &str) -> String {
        format!("{}-{name}-{}", self.name, std::process::id())
    }

    /// Runs a schedule of batches.
    pub(crate) async fn arrive(&self, batches: &[Batch], turns: &[Turn]) -> anyhow::Result<Arrival> {
        let prj = self.prj("arrives");
        self.clear(&prj).await?;
        let worker = |worker: usize| -> Job<'_> {
            let (own, prj) = (batches.iter().filter(move |batch| batch.worker == worker), &prj);
            Box::pin(async move {
                for batch in own {
                    self.work(batch, prj).await?;
                }
                Ok(())
            })
        };
        let ended = interleave((0..WORKERS).map(worker).collect(), turns).await?;
        let mut events: Vec<Event> = batches.iter().flat_map(|batch| batch.events.clone()).collect();
        events.sort_by_key(|event| event.sequence);
        events.dedup_by_key(|event| event.sequence);
        let differences = check::differences(&self.db, &prj, &world(&events, &prj)).await?;
        Ok(Arrival { differences, ended })
    }

    /// Replays events in the order of the stream with one worker, and returns the differences.
    pub(crate) async fn replay(&self, events: &[Event], size: usize) -> anyhow::Result<Vec<String>> {
        let prj = self.prj("replayed");
        self.clear(&prj).await?;
        for events in events.chunks(size) {
            self.apply(0, events, &prj).await?;
        }
        check::differences(&self.db, &prj, &world(events, &prj)).await
    }

    /// One batch, with the deaths and repetitions that are prescribed for it.
    async fn work(&self, batch: &Batch, prj: &str) -> anyhow::Result<()> {
        let survived = match batch.dies_after {
            // The future is dropped wherever it stands.
            Some(polls) => proceed(&mut Box::pin(self.apply(batch.worker, &batch.events, prj)), polls).await?,
            None => false,
        };
        if !survived {
            if batch.dies_after.is_some() {
                self.until_dead(batch.worker).await?;
            }
            self.apply(batch.worker, &batch.events, prj).await?;
        }
        if batch.again {
            self.apply(batch.worker, &batch.events, prj).await?;
        }
        Ok(())
    }

    async fn apply(&self, worker: usize, events: &[Event], prj: &str) -> anyhow::Result<()> {
        let store = self.stores.get(worker).context("no worker has this number")?;
        let events: Vec<store::Event> = events.iter().map(|event| payload::normalised(event, prj)).collect();
        // Repeated events change nothing.
        let size = if LARGE.contains(&worker) { store::LARGE.max(events.len()) } else { events.len() };
        let batch = store::Batch::of(events.iter().cycle().take(size).cloned())?;
        let applied = store.apply(batch).await?;
        ensure!(applied == Applied::Stored { waiting: Vec::new() }, "not all is stored: {applied:?}");
        Ok(())
    }

    /// Waits until MongoDB executes nothing of this worker: a command of a dead worker is executed before the batch is
    /// delivered again, or never.
    async fn until_dead(&self, worker: usize) -> anyhow::Result<()> {
        let admin = self.db.client().database("admin");
        let ns = format!("^{}\\.", self.db.name());
        let of_it = doc! { "appName": app_name(&self.name, worker), "active": true, "ns": { "$regex": ns } };
        let look = [doc! { "$currentOp": {} }, doc! { "$match": of_it }];
        eventually("the dead worker's commands have ended", DYING, &(), async || {
            // First: what it has passed on is then seen below.
            ensure!(self.mongo8.is_idle(), "a command is on its way to MongoDB");
            let under_way: Vec<Document> = admin.aggregate(look.clone()).await?.try_collect().await?;
            ensure!(under_way.is_empty(), "{under_way:?} is under way");
            Ok(())
        })
        .await
    }

    /// Empties a project. Its collections and their indexes stay: creating them takes longer than a case.
    async fn clear(&self, prj: &str) -> anyhow::Result<()> {
        let documents = Kind::ALL.map(|kind| (kind.collection(prj), doc! {}));
        let memory = ["ld_deletions", "ld_views", "ld_renames"].map(|name| (name.to_owned(), doc! { "prj": prj }));
        let clear = documents
            .into_iter()
            .chain(memory)
            .map(|(name, filter)| async move { self.db.collection::<Document>(&name).delete_many(filter).await });
        futures::future::try_join_all(clear).await?;
        Ok(())
    }

    /// Removes the data of this test. Returns how many `bulkWrite`s were executed.
    pub(crate) async fn finish(self) -> anyhow::Result<usize> {
        for prj in [self.prj("arrives"), self.prj("replayed")] {
            self.clear(&prj).await?;
            for kind in Kind::ALL {
                self.db.collection::<Document>(&kind.collection(&prj)).drop().await?;
            }
        }
        Ok(self.mongo8.executed())
    }
}

/// The name under which MongoDB lists a worker's commands.
fn app_name(bench: &str, worker: usize) -> String {
    format!("{bench}-{}-{worker}", std::process::id())
}

fn with_app_name(uri: &str, name: &str) -> String {
    let has_path = uri.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let before = if uri.contains('?') { "&" } else { if has_path { "?" } else { "/?" } };
    format!("{uri}{before}appName={name}")
}

/// Runs jobs by turns, then all at once. Returns for each turn whether its job had ended.
async fn interleave(jobs: Vec<Job<'_>>, turns: &[Turn]) -> anyhow::Result<Vec<bool>> {
    let mut jobs: Vec<Option<Job<'_>>> = jobs.into_iter().map(Some).collect();
    let mut ended = Vec::new();
    for turn in turns {
        let slot = jobs.get_mut(turn.worker).context("no worker has this number")?;
        if let Some(job) = slot
            && proceed(job, turn.polls).await?
        {
            *slot = None;
        }
        ended.push(slot.is_none());
    }
    futures::future::try_join_all(jobs.into_iter().flatten()).await?;
    Ok(ended)
}

/// Polls a job this many times, unless it ends before; returns whether it has.
///
/// All jobs are polled in one task, so a wake-up between its turns is not lost: the job is polled at the beginning of
/// its next turn.
async fn proceed(
    job: &mut Pin<Box<impl Future<Output = anyhow::Result<()>> + ?Sized>>,
    polls: u16,
) -> anyhow::Result<bool> {
    let mut left = polls;
    poll_fn(|cx| {
        let poll = job.as_mut().poll(cx).map_ok(|()| true);
        left = left.saturating_sub(1);
        if poll.is_pending() && left == 0 { Poll::Ready(Ok(false)) } else { poll }
    })
    .await
}
