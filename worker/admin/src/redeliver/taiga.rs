//! `/webhooklogs` of a project's webhooks.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use shared::source::Source;

use super::{Common, Tally};
use crate::remote::{Board, Halt, name};
use crate::terminal::tell;

pub(super) const EXAMPLES: &str = "Examples:
  worker redeliver taiga --slug mireia-marmota --dry-run
  worker redeliver taiga --slug mireia-marmota --prj PES11A";

/// Of which project.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The project's slug, the last part of its address.
    #[arg(long, value_parser = name)]
    slug: String,
    #[command(flatten)]
    common: Common,
}

/// A delivery and its resends.
#[derive(Debug, Default)]
struct Group {
    oldest: i64,
    arrived: bool,
}

/// Returns how many were not taken when they were sent again.
pub(super) async fn run(options: &Options) -> Result<usize, Halt> {
    let remote = options.common.remote.open()?;
    let board = remote.board(options.common.prj.as_ref())?;
    let project = board.project(&options.slug).await?;
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    let hooks = board.list(&format!("/webhooks?project={id}")).await?;
    options.common.head();
    let (mut refused, mut ours) = (0, 0);
    for hook in hooks {
        let url = hook.get("url").and_then(Value::as_str).unwrap_or_default();
        let Some(id) = hook.get("id").and_then(Value::as_i64) else { continue };
        if options.common.is_ours(Source::Taiga, url) {
            ours += 1;
            let tally = of_hook(options, &board, id).await?;
            options.common.line(&format!("{}#{id}", options.slug), &tally);
            refused += tally.refused;
        }
    }
    if ours == 0 {
        return Err(Halt::Failed(
            "no webhook of ours was found: check --slug, that the account administers the project, and --public-url"
                .to_owned(),
        ));
    }
    Ok(refused)
}

async fn of_hook(options: &Options, board: &Board, hook: i64) -> Result<Tally, Halt> {
    let mut groups = BTreeMap::<String, Group>::new();
    for log in board.list(&format!("/webhooklogs?webhook={hook}")).await? {
        let Some(id) = log.get("id").and_then(Value::as_i64) else { continue };
        let group = groups.entry(identity(&log)).or_insert(Group { oldest: id, arrived: false });
        group.oldest = group.oldest.min(id);
        group.arrived |= arrived(&log);
    }
    let mut tally = Tally { sent: groups.len(), ..Tally::default() };
    let (delivered, mut lost): (Vec<_>, Vec<_>) = groups.into_values().partition(|group| group.arrived);
    tally.delivered = delivered.len();
    // Oldest first: each resend makes a log, and of more than ten the oldest goes, which then was sent again.
    lost.sort_by_key(|group| group.oldest);
    let mut progress = options.common.asking(&format!("{}#{hook}", options.slug), lost.len());
    for group in lost {
        if options.common.dry_run {
            tally.asked += 1;
            continue;
        }
        progress.add(1);
        let path = format!("/webhooklogs/{}/resend", group.oldest);
        let reply = board.ask(Method::POST, &path, None).await?;
        let log: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        // Taiga sends at once, and its answer says how that went. Where it sends later, it says nothing yet.
        let refused = !reply.status.is_success() || (log.get("status").is_some() && !arrived(&log));
        if refused {
            tell(format_args!(
                "{path}: Taiga answered {}, ingress {}",
                reply.status,
                log.get("status").unwrap_or(&Value::Null)
            ));
            tally.refused += 1;
        } else {
            tally.asked += 1;
        }
    }
    Ok(tally)
}

fn arrived(log: &Value) -> bool {
    log.get("status").and_then(Value::as_i64).is_some_and(|status| (200..300).contains(&status))
}

/// A resend has the same type, action, object and date.
fn identity(log: &Value) -> String {
    let data = log.get("request_data").unwrap_or(&Value::Null);
    let part = |name: &str| data.get(name).unwrap_or(&Value::Null).to_string();
    let object = data.get("data").and_then(|data| data.get("id")).unwrap_or(&Value::Null);
    format!("{} {} {object} {}", part("type"), part("action"), part("date"))
}
