//! `/hooks/{id}/deliveries` of an organisation's and its repositories' hooks.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use shared::source::Source;
use shared::time::parse_instant;

use super::{Common, Tally};
use crate::remote::{Halt, Hub, name};
use crate::terminal::{Progress, tell};
use crate::when::When;

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
    since: When,
    #[command(flatten)]
    common: Common,
}

/// A delivery and its redeliveries.
#[derive(Debug, Default)]
struct Group {
    /// The newest attempt, which is the one to be repeated: `(when, id)`.
    newest: (i64, u64),
    /// When it was first sent.
    first: i64,
    arrived: bool,
}

/// Returns how many GitHub refuses to send again.
pub(super) async fn run(options: &Options) -> Result<usize, Halt> {
    let remote = options.common.remote.open()?;
    let hub = remote.hub(options.common.prj.as_ref())?;
    let mut owners = Vec::new();
    if options.repo.is_none() {
        owners.push(format!("/orgs/{}", options.org));
    }
    for repository in hub.repositories(&options.org, options.repo.as_deref()).await? {
        owners.extend(repository.get("full_name").and_then(Value::as_str).map(|name| format!("/repos/{name}")));
    }
    options.common.head();
    let (mut refused, mut hooks) = (0, 0);
    for owner in owners {
        // None to see: a person has no organisation, and not every token may see every hook.
        for hook in hub.all_it_may_see(format!("{owner}/hooks?per_page=100")).await?.unwrap_or_default() {
            let url = hook.get("config").and_then(|config| config.get("url")?.as_str()).unwrap_or_default();
            let Some(id) = hook.get("id").and_then(Value::as_u64) else { continue };
            if options.common.is_ours(Source::Github, url) {
                hooks += 1;
                let path = format!("{owner}/hooks/{id}/deliveries");
                let tally = of_hook(options, &hub, &path).await?;
                options.common.line(&format!("{}#{id}", owner.trim_start_matches('/')), &tally);
                refused += tally.refused;
            }
        }
    }
    if hooks == 0 {
        return Err(Halt::Failed(
            "no hook of ours was found: check --org, that the token may read hooks (admin:repo_hook, admin:org_hook), and --public-url".to_owned(),
        ));
    }
    Ok(refused)
}

async fn of_hook(options: &Options, hub: &Hub, path: &str) -> Result<Tally, Halt> {
    let groups = read(hub, path, options.since.ms()).await?;
    let mut tally = Tally { sent: groups.len(), ..Tally::default() };
    let (arrived, mut lost): (Vec<_>, Vec<_>) = groups.into_values().partition(|group| group.arrived);
    tally.delivered = arrived.len();
    // As they were sent: fewer of them find something newer there.
    lost.sort_by_key(|group| (group.first, group.newest));
    let mut progress = options.common.asking(path, lost.len());
    for group in lost {
        if !options.common.dry_run {
            progress.add(1);
            let attempt = format!("{path}/{}/attempts", group.newest.1);
            let reply = hub.ask(Method::POST, &attempt, None).await?;
            if !reply.status.is_success() {
                tell(format_args!("GitHub answered {} to {attempt}", reply.status));
                tally.refused += 1;
                continue;
            }
        }
        tally.asked += 1;
    }
    Ok(tally)
}

/// All deliveries since then, by the id that a delivery shares with its redeliveries.
async fn read(hub: &Hub, path: &str, since: i64) -> Result<BTreeMap<String, Group>, Halt> {
    let mut groups = BTreeMap::<String, Group>::new();
    let mut pages = hub.list(format!("{path}?per_page=100"));
    // Its pages have no numbers, so nobody knows how many there are.
    let mut progress = Progress::new(format!("{}: read", path.trim_start_matches('/')), "deliveries", None);
    // Newest first, so a page that ends before `since` is the last.
    while let Some(page) = pages.next().await? {
        let mut older = false;
        for delivery in &page {
            let text = |name: &str| delivery.get(name).and_then(Value::as_str);
            let number = |name: &str| delivery.get(name).and_then(Value::as_u64);
            let (Some(guid), Some(id)) = (text("guid"), number("id")) else { continue };
            let at = text("delivered_at").and_then(parse_instant).unwrap_or(i64::MAX);
            if at < since {
                older = true;
                continue;
            }
            let arrived = number("status_code").is_some_and(|status| (200..300).contains(&status));
            let group = groups.entry(guid.to_owned()).or_insert(Group { first: at, ..Group::default() });
            group.first = group.first.min(at);
            group.newest = group.newest.max((at, id));
            group.arrived |= arrived;
        }
        progress.add(page.len() as u64);
        if older {
            break;
        }
    }
    progress.end();
    Ok(groups)
}
