//! `/hooks/{id}/deliveries` of an organisation's and its repositories' hooks.

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use shared::source::Source;
use shared::time::{now_ms, parse_instant};
use worker_reconcile::deliveries::Deliveries;

use super::report::{ATTEMPTS, Counts, RedeliverArgs, Report};
use crate::args::time_args::TimeArg;
use crate::clients::{GITHUB, GithubClient, name, refused};
use crate::terminal::{CommandError, Progress, Tally};

pub(super) const EXAMPLES: &str = "Examples:
  worker redeliver github --org upc-pes --dry-run
  worker redeliver github --org upc-pes --since 2h
  worker redeliver github --org upc-pes --repo marmota --prj PES11A";

/// Of which hooks, and since when.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The organisation (or person).
    #[arg(long, value_parser = name)]
    org: String,
    /// Only of this repository, without its owner; else of the organisation and all its repositories.
    #[arg(long, value_parser = name)]
    repo: Option<String>,
    /// Only what was sent since then: how long ago, such as 2h or 3d, a date (Madrid), or RFC 3339.
    #[arg(long, value_name = "WHEN", default_value = "3d")]
    since: TimeArg,
    #[command(flatten)]
    common: RedeliverArgs,
}

const DAY_MS: i64 = 24 * 3_600_000;

/// For how long GitHub keeps a hook's deliveries.
const KEPT_MS: i64 = 3 * DAY_MS;

/// How exactly that is known.
const MARGIN_MS: i64 = 3_600_000;

pub(super) async fn run(options: &Options) -> Result<(), CommandError> {
    let clients = options.common.clients.open()?;
    let github = clients.github(options.common.prj.as_ref())?;
    let mut owners = Vec::new();
    if options.repo.is_none() {
        owners.push(format!("/orgs/{}", options.org));
    }
    for repository in github.repositories(&options.org, options.repo.as_deref()).await? {
        owners.extend(repository.get("full_name").and_then(Value::as_str).map(|name| format!("/repos/{name}")));
    }
    let mut report = Report::new(&options.common);
    let ended = of_owners(options, &github, owners, &mut report).await;
    let none = CommandError::not_found(
        "No hook that leads here was found",
        "Check --org, that the token may read hooks (admin:repo_hook, admin:org_hook), and --public-url",
    );
    report.end(ended, none)
}

async fn of_owners(
    options: &Options,
    github: &GithubClient,
    owners: Vec<String>,
    report: &mut Report<'_>,
) -> Result<(), CommandError> {
    for owner in owners {
        // A person has no organisation, and not every token may see every hook.
        let hooks = github.all_it_may_see(format!("{owner}/hooks?per_page=100")).await;
        let Some(hooks) = report.reads.tried(&owner, hooks)? else { continue };
        for hook in hooks.unwrap_or_default() {
            let url = hook.get("config").and_then(|config| config.get("url")?.as_str()).unwrap_or_default();
            let Some(id) = hook.get("id").and_then(Value::as_u64) else { continue };
            if options.common.is_ours(Source::Github, url) {
                let path = format!("{owner}/hooks/{id}/deliveries");
                let read = read(github, &path, options.since.ms()).await;
                let Some(read) = report.reads.tried(&path, read)? else { continue };
                let mut counts =
                    Counts { older_gone: older_gone(&read, &hook, options.since.ms()), ..Counts::default() };
                let ended = of_hook(options, github, &path, &read, &mut counts, &mut report.tally).await;
                let name = format!("{}#{id}", owner.trim_start_matches('/'));
                report.hook((&name, url), "GitHub keeps deliveries for three days only", &counts);
                ended?;
            }
        }
    }
    Ok(())
}

async fn of_hook(
    options: &Options,
    github: &GithubClient,
    path: &str,
    all: &Deliveries,
    counts: &mut Counts,
    tally: &mut Tally,
) -> Result<(), CommandError> {
    let lost = all.lost();
    counts.sent = all.count();
    counts.delivered = all.count() - lost.len();
    if options.common.dry_run {
        counts.asked = lost.len();
        return Ok(());
    }
    let mut progress = options.common.requesting(path, lost.len());
    for attempt in lost {
        progress.add(1);
        let attempt = format!("{path}/{attempt}/attempts");
        let reply = github.ask_at_most(ATTEMPTS, Method::POST, &attempt, None).await;
        let done = reply.and_then(|reply| match reply.status.is_success() {
            true => Ok(()),
            false => Err(refused(GITHUB, &attempt, &reply)),
        });
        match tally.tried(format_args!("not redelivered: {attempt}"), done)? {
            Some(()) => counts.asked += 1,
            None => counts.failed += 1,
        }
    }
    Ok(())
}

/// Whether deliveries may have failed that GitHub no longer has: all that it keeps was requested, and that is less than
/// what is wanted, or begins with a failure.
fn older_gone(all: &Deliveries, hook: &Value, since: i64) -> bool {
    let kept_since = now_ms() - KEPT_MS;
    let created = hook.get("created_at").and_then(|at| parse_instant(at.as_str()?));
    if all.has_older || since > kept_since + MARGIN_MS || created.is_some_and(|created| created > kept_since) {
        return false;
    }
    let begins_with_failure = all.oldest().is_some_and(|oldest| !oldest.arrived && oldest.first < kept_since + DAY_MS);
    since < kept_since - MARGIN_MS || begins_with_failure
}

/// The deliveries of a hook since a time.
async fn read(github: &GithubClient, path: &str, since: i64) -> Result<Deliveries, CommandError> {
    let mut all = Deliveries::default();
    let mut pages = github.list(format!("{path}?per_page=100"));
    // Its pages have no numbers, so the total is not known.
    let mut progress = Progress::new(format!("{}: read", path.trim_start_matches('/')), "deliveries", None);
    // Newest first, so a page that ends before `since` is the last.
    while let Some(page) = pages.next().await? {
        all.add_github(&page, since);
        progress.add(page.len() as u64);
        if all.has_older {
            break;
        }
    }
    progress.end();
    Ok(all)
}
