//! Automatic reconciliation in `worker run`: after a gap and in turns, by one worker at a time.
//!
//! Reading order: which worker ([`lease`]), when ([`schedule`], [`gaps`]), which deliveries are redelivered
//! ([`failed`]), and what is done then (here). The progress is in NATS, so that another worker continues after a crash.

pub mod failed;
pub mod gaps;
pub mod lease;
pub mod metrics;
pub mod schedule;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use shared::ids::Project;
use shared::source::Source;
use shared::throttle::Throttle;
use shared::time::now_ms;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker_core::status::reconciled::Reconciled;

use self::gaps::Gaps;
use self::lease::Lease;
use self::metrics::SOURCES;
use crate::client::{Asking, Halt, Share};
use crate::config::When;
use crate::place::{self, GithubPlace};
use crate::reconciler::Reconciler;
use crate::report::{Counts, Report};
use crate::scope::{Depth, Scope};
use crate::settle;

/// How often it is checked whether there is work.
const TICK: Duration = Duration::from_secs(5);

/// How much earlier than a gap deliveries may have begun to fail, and objects may have changed.
const BEFORE_GAP_MS: i64 = 60_000;

/// How long a team that cannot be read is skipped, and after how long a gap is given up for it.
const RETRY: Duration = Duration::from_secs(60);
const GIVE_UP_MS: i64 = 24 * 3_600_000;

/// How often it is checked whether a team is due.
const LOOK: Duration = Duration::from_secs(60);

/// How often failures are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Reconciles automatically.
#[derive(Debug)]
pub struct Keeper {
    reconciler: Reconciler,
    when: When,
    holder: String,
    started: i64,
    /// Teams that could not be read, and until when they are skipped.
    resting: HashMap<String, Instant>,
    /// When it is checked again whether a team is due.
    look: Instant,
    failures: Throttle,
}

impl Keeper {
    /// For a worker, by the name that it has at NATS.
    #[must_use]
    pub fn new(reconciler: Reconciler, when: When, holder: &str) -> Self {
        let failures = Throttle::new(LOG_INTERVAL);
        let (started, resting, look) = (now_ms(), HashMap::new(), Instant::now());
        Self { reconciler, when, holder: holder.to_owned(), started, resting, look, failures }
    }

    /// Works until the soft stop, whenever this worker has the lease.
    ///
    /// # Errors
    /// Never; it outlives every outage.
    pub async fn run(mut self, soft: CancellationToken) -> Result<(), Infallible> {
        if self.when == When::Off {
            tracing::info!("RECONCILE=off: documents are compared with GitHub and Taiga only by `worker reconcile`");
            soft.cancelled().await;
            return Ok(());
        }
        while soft.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            let parts = &self.reconciler.parts;
            let taken = Lease::take(parts.jetstream.clone(), parts.topology.clone(), self.holder.clone());
            let Some(Some(lease)) = soft.run_until_cancelled(taken).await else { continue };
            tracing::debug!(holder = self.holder, "this worker reconciles");
            let held = soft.child_token();
            tokio::select! {
                () = lease.keep(held.clone()) => {}
                () = self.hold(&held) => {}
            }
            held.cancel();
        }
        Ok(())
    }

    /// Works while the lease is held.
    async fn hold(&mut self, held: &CancellationToken) {
        loop {
            match self.turn(held).await {
                Ok(()) => {
                    if self.failures.reset() {
                        tracing::info!("reconciliation goes on");
                    }
                }
                Err(Halt::Stopped) => return,
                Err(error) => {
                    if let Some(more) = self.failures.open() {
                        tracing::warn!(%error, more, "reconciliation waits");
                    }
                }
            }
            if held.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                return;
            }
        }
    }

    /// Does the work that is due.
    async fn turn(&mut self, held: &CancellationToken) -> Result<(), Halt> {
        let gaps = Gaps::look(&self.reconciler.parts).await?;
        if gaps.open.is_some() {
            self.recover(gaps, held).await?;
        }
        if self.look > Instant::now() {
            return Ok(());
        }
        self.look = Instant::now() + if let When::Every(interval) = self.when { interval.min(LOOK) } else { LOOK };
        let asking = self.asking(held, Share::Half);
        for prj in self.reconciler.teams().await? {
            for source in SOURCES {
                let done = self.done(source, &prj).await?.map(|done| done.at);
                if self.is_resting(source, &prj) || !schedule::is_due(self.when, &prj, now_ms(), done, self.started) {
                    continue;
                }
                let since = done.unwrap_or_else(|| now_ms() - GIVE_UP_MS) - BEFORE_GAP_MS;
                let depth = Depth::Day(schedule::day(now_ms()));
                match self.team(&prj, source, depth, Some(since), &asking).await {
                    Ok(()) => {}
                    Err(Halt::Stopped) => return Err(Halt::Stopped),
                    Err(error) => self.rest(source, &prj, &error),
                }
            }
        }
        Ok(())
    }

    /// After a gap: failed deliveries first, then lists and changed objects, then every object.
    async fn recover(&mut self, mut gaps: Gaps, held: &CancellationToken) -> Result<(), Halt> {
        let Some(gap) = gaps.open.clone() else { return Ok(()) };
        let asking = self.asking(held, Share::Whole);
        let since = gap.from - BEFORE_GAP_MS;
        let teams = self.reconciler.teams().await?;
        if gap.done.is_empty() {
            let (from, to) = (shared::time::rfc3339(gap.from), shared::time::rfc3339(gap.to));
            tracing::warn!(
                from,
                to,
                teams = teams.len(),
                "webhooks may have been lost: documents are compared with GitHub and Taiga"
            );
            ::metrics::counter!("ldconnect_reconcile_gaps_total").increment(1);
        }
        let all_places: Vec<(Project, Source)> =
            teams.iter().flat_map(|prj| SOURCES.map(|source| (prj.clone(), source))).collect();
        let mut all = true;
        for step in ["asked", "lists", "objects"] {
            if step == "lists" {
                settle::until_processed(&self.reconciler.parts, held, asking.notice).await?;
            }
            for (prj, source) in &all_places {
                let source = *source;
                let key = format!("{step}.{source}.{prj}");
                if gaps.open.as_ref().is_none_or(|gap| gap.done.contains(&key)) {
                    continue;
                }
                if self.is_resting(source, prj) {
                    all = false;
                    continue;
                }
                let made = match step {
                    "asked" => self.ask_again(prj, source, since, &asking).await.map(drop),
                    "lists" => self.team(prj, source, Depth::Since(since), None, &asking).await,
                    _ => self.team(prj, source, Depth::All, None, &asking).await,
                };
                match made {
                    Err(Halt::Stopped) => return Err(Halt::Stopped),
                    Err(error) if now_ms() - gap.to < GIVE_UP_MS => {
                        all = false;
                        self.rest(source, prj, &error);
                    }
                    // Given up: the next turn reads it.
                    Ok(()) | Err(_) => {
                        if let Some(gap) = &mut gaps.open {
                            gap.done.push(key);
                        }
                        gaps.remember(&self.reconciler.parts).await?;
                    }
                }
            }
        }
        if all {
            tracing::info!(from = gap.from, to = gap.to, "documents show again what GitHub and Taiga show");
            gaps.open = None;
            gaps.remember(&self.reconciler.parts).await?;
        }
        Ok(())
    }

    /// Reconciles a team at one provider, and notifies LD Eval if that changed anything.
    async fn team(
        &self,
        prj: &Project,
        source: Source,
        depth: Depth,
        failed_since: Option<i64>,
        asking: &Asking,
    ) -> Result<(), Halt> {
        if let Some(since) = failed_since
            && self.ask_again(prj, source, since, asking).await? > 0
        {
            settle::until_processed(&self.reconciler.parts, &asking.stop, asking.notice).await?;
        }
        let scope = Scope::everything(prj.clone(), depth);
        let report = self.reconciler.source(&scope, source, asking).await?;
        self.reconciler.finish(prj, asking).await?;
        self.tell(prj, source, &report).await
    }

    /// Requests a team's failed deliveries again at a provider.
    async fn ask_again(&self, prj: &Project, source: Source, since: i64, asking: &Asking) -> Result<usize, Halt> {
        let Reconciler { public_url, courses, .. } = &self.reconciler;
        let mut asked = 0;
        for place in place::named(&courses.courses(), source, prj) {
            asked += match source {
                Source::Github => match self.reconciler.github_api(prj, asking) {
                    Some(api) => {
                        failed::github(&api, &GithubPlace::of(&place), prj, public_url.as_ref(), since).await?
                    }
                    None => 0,
                },
                Source::Taiga => match self.reconciler.taiga_api(prj, asking) {
                    Some(api) => failed::taiga(&api, &place, prj, public_url.as_ref(), since).await?,
                    None => 0,
                },
                Source::Excel => 0,
            };
        }
        if asked > 0 {
            tracing::info!(
                prj = prj.as_str(),
                source = source.as_str(),
                asked,
                "failed deliveries were asked for again"
            );
        }
        Ok(asked)
    }

    /// Writes the result to metrics, log and NATS.
    async fn tell(&self, prj: &Project, source: Source, report: &Report) -> Result<(), Halt> {
        let Counts { checked, repaired, removed, unconfirmed, .. } = report.total(source);
        let labels = [("source", source.as_str().to_owned()), ("prj", prj.to_string())];
        for (outcome, count) in [("checked", checked), ("repaired", repaired), ("removed", removed)] {
            let labels =
                [("source", source.as_str().to_owned()), ("prj", prj.to_string()), ("outcome", outcome.to_owned())];
            ::metrics::counter!("ldconnect_reconcile_documents_total", &labels).increment(count as u64);
        }
        ::metrics::gauge!("ldconnect_reconcile_unconfirmed", &labels).set(unconfirmed as f64);
        ::metrics::gauge!("ldconnect_reconcile_findings", &labels).set(report.findings.len() as f64);
        let at = now_ms();
        ::metrics::gauge!("ldconnect_reconcile_last_timestamp_seconds", &labels).set(at as f64 / 1_000.0);
        let calls = report.calls;
        if repaired + removed > 0 {
            tracing::info!(
                prj = prj.as_str(),
                source = source.as_str(),
                checked,
                repaired,
                removed,
                calls,
                "documents differed from the provider and are repaired"
            );
        } else {
            tracing::debug!(
                prj = prj.as_str(),
                source = source.as_str(),
                checked,
                calls,
                "documents show what the provider shows"
            );
        }
        let before = self.done(source, prj).await?.unwrap_or_default().findings;
        let findings: Vec<String> = report.findings.iter().map(|finding| finding.finding.clone()).collect();
        for finding in findings.iter().filter(|finding| !before.contains(finding)) {
            tracing::warn!(prj = prj.as_str(), source = source.as_str(), finding, "reconciliation needs a person");
        }
        let done = Reconciled { at, checked, repaired, removed, unconfirmed, findings, calls };
        self.reconciler.parts.remember(&format!("done.{source}.{prj}"), &done).await
    }

    async fn done(&self, source: Source, prj: &Project) -> Result<Option<Reconciled>, Halt> {
        self.reconciler.parts.remembered(&format!("done.{source}.{prj}")).await
    }

    fn asking(&self, held: &CancellationToken, share: Share) -> Asking {
        Asking::new(held.clone(), share, |text| tracing::debug!("{text}"))
    }

    fn is_resting(&self, source: Source, prj: &Project) -> bool {
        self.resting.get(&format!("{source}.{prj}")).is_some_and(|until| *until > Instant::now())
    }

    /// One team's failure does not stop the others: it is skipped for a while.
    fn rest(&mut self, source: Source, prj: &Project, error: &Halt) {
        let rest = if let Halt::Later(wait) = error { RETRY.max(*wait) } else { RETRY };
        self.resting.insert(format!("{source}.{prj}"), Instant::now() + rest);
        self::metrics::failed(source);
        if let Some(more) = self.failures.open() {
            tracing::warn!(prj = prj.as_str(), source = source.as_str(), %error, more, "a team cannot be reconciled now; it is tried again later");
        }
    }
}
