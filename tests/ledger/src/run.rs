//! One run, from the plan to the report.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::timeout;

use super::book::Book;
use super::chaos;
use super::plan::Plan;
use super::reconcile;
use super::report::Report;
use super::rig::Rig;
use super::senders::Senders;
use super::settings::Settings;
use super::watch::Watch;
use harness::eventually::eventually;
use harness::stack::build::{Voice, build};

/// How often progress is shown.
const SHOW: Duration = Duration::from_secs(10);

/// At least as long it is waited, once all is quiet, until everything is done: ack waits and growing
/// delays have to run out.
const QUIET: Duration = Duration::from_secs(60);

/// How long the change stream may take to be read to its end.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Makes a run, with all data and logs in `dir`, and compares. `show` gets lines about its progress.
///
/// # Errors
/// When the run itself could not be made: a server did not come back, a process died of itself, time
/// ran out. What was lost is no error, but in the report.
pub async fn run(settings: &Settings, dir: &Path, show: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
    build(Voice::Quiet)?;
    let plan = Arc::new(Plan::make(settings));
    let rig = Rig::start(dir, settings).await?;
    let db = rig.db().await?;
    let watch = Watch::start(db.clone(), Arc::clone(&plan)).await?;
    // Not counted before: how fast servers start says nothing of us.
    let begin = Instant::now();
    show(&format!("everything runs; logs are in {}", dir.display()));

    let book = Arc::new(Book::new(plan.entries.len()));
    let (plan_, book_) = (Arc::clone(&plan), Arc::clone(&book));
    let senders = Arc::new(Senders { plan: plan_, book: book_, ways: rig.ways()?, seed: settings.seed });
    let left = settings.limit.saturating_sub(begin.elapsed());
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(senders.send_all());
    let disturbing = async {
        let done = chaos::disturb(&rig, settings).await?;
        show("all is quiet; waiting until everything is acknowledged and done");
        anyhow::Ok(done)
    };
    let progress = async {
        loop {
            tokio::time::sleep(SHOW).await;
            show(&progress(&book, begin));
        }
    };
    let both = async {
        let done = disturbing.await?;
        sending.join_next().await;
        anyhow::Ok(done)
    };
    let done = tokio::select! {
        done = timeout(left, both) => done,
        () = progress => unreachable!("progress is shown until the run ends"),
    };
    // No sender is left after this, whether time ran out or not.
    sending.shutdown().await;
    let done = done.context("time ran out before everything was acknowledged")??;

    let outcomes = book.outcomes();
    let mut report = Report::new(settings.clone(), &plan, &outcomes, &done);
    let left = settings.limit.saturating_sub(begin.elapsed()).max(QUIET);
    let pending = eventually("nothing is left to do", left, &rig, async || rig.nothing_pending().await).await;
    if let Err(error) = pending {
        report.left_behind = format!("{error:#}");
        report.find(report.left_behind.clone());
    }
    watch.catch_up(CATCH_UP, &rig).await?;
    show("comparing");
    reconcile::documents(&db, &plan, &outcomes, &mut report).await?;
    reconcile::stream(&rig, &plan, &outcomes, &mut report).await?;
    reconcile::notifications(&plan, &outcomes, &watch.seen(), &rig.notified.times(), &mut report);
    report.dead = rig.stream_messages("LD_DEAD").await?;
    (report.answers, report.notifications) = (book.answers(), rig.notified.total());
    for complaint in book.complaints() {
        report.find(complaint);
    }
    ensure!(report.timed > 0, "the change stream showed nothing: nothing was compared in time");
    report.seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

fn progress(book: &Book, begin: Instant) -> String {
    let outcomes = book.outcomes();
    let count = |what: fn(&super::book::Outcome) -> bool| outcomes.iter().filter(|o| what(o)).count();
    let (sent, acked) = (count(|o| o.sent.is_some()), count(|o| o.acked.is_some()));
    let refused = count(|o| o.refused.is_some());
    let seconds = begin.elapsed().as_secs();
    format!("{seconds:4} s: {sent} of {} sent, {acked} acknowledged, {refused} refused", outcomes.len())
}
