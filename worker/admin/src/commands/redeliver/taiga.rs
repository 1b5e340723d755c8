//! `/webhooklogs` of a project's webhooks.

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use shared::source::Source;
use worker_reconcile::deliveries::{Deliveries, taiga_has_arrived};

use super::report::{ATTEMPTS, Counts, RedeliverArgs, Report};
use crate::clients::{TAIGA, TaigaClient, name, refused};
use crate::terminal::{CommandError, Tally};

pub(super) const EXAMPLES: &str = "Examples:
  worker redeliver taiga --slug mireia-marmota --dry-run
  worker redeliver taiga --slug mireia-marmota --prj PES11A";

/// How many deliveries of a webhook Taiga keeps.
const LOGS: usize = 10;

/// Of which project.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The project's slug, the last part of its address.
    #[arg(long, value_parser = name)]
    slug: String,
    #[command(flatten)]
    common: RedeliverArgs,
}

pub(super) async fn run(options: &Options) -> Result<(), CommandError> {
    let clients = options.common.clients.open()?;
    let taiga = clients.taiga(options.common.prj.as_ref())?;
    let project = taiga.project(&options.slug).await?;
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    let hooks = taiga.list(&format!("/webhooks?project={id}")).await?;
    let mut report = Report::new(&options.common);
    let ended = of_hooks(options, &taiga, hooks, &mut report).await;
    let none = CommandError::not_found(
        "No webhook that leads here was found",
        "Check --slug, that the account administers the project, and --public-url",
    );
    report.end(ended, none)
}

async fn of_hooks(
    options: &Options,
    taiga: &TaigaClient,
    hooks: Vec<Value>,
    report: &mut Report<'_>,
) -> Result<(), CommandError> {
    for hook in hooks {
        let url = hook.get("url").and_then(Value::as_str).unwrap_or_default();
        let Some(id) = hook.get("id").and_then(Value::as_i64) else { continue };
        if options.common.is_ours(Source::Taiga, url) {
            let name = format!("{}#{id}", options.slug);
            let logs = taiga.list(&format!("/webhooklogs?webhook={id}")).await;
            let Some(logs) = report.reads.tried(&name, logs)? else { continue };
            let mut counts = Counts::default();
            let ended = of_hook(options, taiga, &name, &logs, &mut counts, &mut report.tally).await;
            report.hook((&name, url), "Taiga keeps only the last ten deliveries of a webhook", &counts);
            ended?;
        }
    }
    Ok(())
}

async fn of_hook(
    options: &Options,
    taiga: &TaigaClient,
    name: &str,
    logs: &[Value],
    counts: &mut Counts,
    tally: &mut Tally,
) -> Result<(), CommandError> {
    let mut all = Deliveries::default();
    all.add_taiga(logs, i64::MIN);
    let lost = all.lost();
    counts.sent = all.count();
    counts.delivered = all.count() - lost.len();
    counts.older_gone = logs.len() >= LOGS && all.oldest().is_some_and(|oldest| !oldest.arrived);
    if options.common.dry_run {
        counts.asked = lost.len();
        return Ok(());
    }
    let mut progress = options.common.requesting(name, lost.len());
    for log in lost {
        progress.add(1);
        let done = resend(taiga, log).await;
        match tally.tried(format_args!("not redelivered: delivery {log} of {name}"), done)? {
            Some(()) => counts.asked += 1,
            None => counts.failed += 1,
        }
    }
    Ok(())
}

/// Taiga sends at once, and its answer says how that went. Where it sends later, it does not say it yet.
async fn resend(taiga: &TaigaClient, log: i64) -> Result<(), CommandError> {
    let path = format!("/webhooklogs/{log}/resend");
    let reply = taiga.ask_at_most(ATTEMPTS, Method::POST, &path, None).await?;
    if !reply.status.is_success() {
        return Err(refused(TAIGA, &path, &reply));
    }
    let log: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match log.get("status") {
        Some(status) if !taiga_has_arrived(&log) => Err(CommandError::not_found(
            format_args!("Taiga sent it again, and ingress answered {status}"),
            "Look at ingress's log; `worker doctor` compares the secrets",
        )),
        _ => Ok(()),
    }
}
