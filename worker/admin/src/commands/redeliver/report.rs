//! What both providers have: arguments, and what was done, hook by hook.

use clap::Args;
use serde_json::json;
use shared::ids::Project;
use shared::source::Source;
use worker_reconcile::hook_url::{is_ours, looks_ours, project_of};

use crate::args::hook_url::PublicUrlArgs;
use crate::clients::ClientArgs;
use crate::terminal::{Column, CommandError, Output, Progress, Table, Tally, notice, print_json};

/// How often the request for one redelivery is sent, before it counts as failed.
pub(super) const ATTEMPTS: u32 = 3;

/// What both have.
#[derive(Debug, Args)]
pub(super) struct RedeliverArgs {
    #[command(flatten)]
    pub(super) url: PublicUrlArgs,
    /// With whose token or account; without it the default one, or the only one there is.
    #[arg(long)]
    pub(super) prj: Option<Project>,
    /// Print what would be requested and request nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl RedeliverArgs {
    pub(super) fn is_ours(&self, source: Source, address: &str) -> bool {
        self.url.public_url.as_ref().map_or_else(|| looks_ours(source, address), |base| is_ours(base, address))
    }

    /// Progress over the deliveries of a hook that are requested.
    pub(super) fn requesting(&self, hook: &str, lost: usize) -> Progress {
        Progress::new(format!("{}: requested", hook.trim_start_matches('/')), "deliveries", lost as u64)
    }
}

/// What became of a hook's deliveries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Different ones; a delivery and its redeliveries are one.
    pub(super) sent: usize,
    /// Answered with a 2xx at least once.
    pub(super) delivered: usize,
    /// Requested again now.
    pub(super) asked: usize,
    /// The provider did not redeliver these.
    pub(super) failed: usize,
    /// Earlier ones may have failed too, and the provider does not remember them.
    pub(super) older_gone: bool,
}

/// What was done, hook by hook.
pub(super) struct Report<'a> {
    pub(super) args: &'a RedeliverArgs,
    pub(super) table: Table,
    pub(super) hooks: usize,
    /// Deliveries that were requested.
    pub(super) tally: Tally,
    /// Lists of hooks and deliveries that were read.
    pub(super) reads: Tally,
    /// Of hooks whose provider does not remember enough: what a person should know.
    forgotten: Vec<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a RedeliverArgs) -> Self {
        let asked = if args.dry_run { "would ask again" } else { "asked again" };
        let numbers = ["sent", "delivered", asked, "failed"].map(Column::Right);
        let columns: Vec<Column> = std::iter::once(Column::Left("hook")).chain(numbers).collect();
        Self {
            args,
            table: Table::new(&columns),
            hooks: 0,
            tally: Tally::of("delivery", "deliveries"),
            reads: Tally::of("list", "lists"),
            forgotten: Vec::new(),
        }
    }

    /// `keeps` is what the provider remembers, and `url` where the hook leads.
    pub(super) fn hook(&mut self, (hook, url): (&str, &str), keeps: &str, counts: &Counts) {
        let Counts { sent, delivered, asked, failed, older_gone } = counts;
        self.hooks += 1;
        if *older_gone {
            let prj = project_of(url).map(|prj| format!(" --prj {prj}")).unwrap_or_default();
            self.forgotten.push(format!(
                "{hook}: earlier deliveries may have failed too, and {keeps}. Reconciliation reads them through the API: the worker's own, unless RECONCILE=off, or at once `worker reconcile{prj}`"
            ));
        }
        match self.args.output {
            Output::Table => self.table.row(&[&hook, sent, delivered, asked, failed]),
            Output::Json => print_json(&json!({
                "hook": hook, "sent": sent, "delivered": delivered, "asked_again": asked, "failed": failed,
                "older_gone": older_gone, "dry_run": self.args.dry_run,
            })),
        }
    }

    /// Prints the table, also when it ended early.
    pub(super) fn end(self, ended: Result<(), CommandError>, none: CommandError) -> Result<(), CommandError> {
        if self.args.output == Output::Table && self.hooks > 0 {
            self.table.print();
        }
        self.forgotten.iter().for_each(notice);
        ended?;
        if self.hooks == 0 && self.reads.failed() == 0 {
            return Err(none);
        }
        self.tally.end("The lines above say which; the same command requests them again")?;
        self.reads.end("The lines above say which; the same command reads them again")
    }
}
