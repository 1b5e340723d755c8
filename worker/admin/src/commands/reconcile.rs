//! `worker reconcile`: makes documents show what GitHub and Taiga show, of one team or of all.
//!
//! `worker run` does the same automatically, every night and after a gap. The credentials file names the places of a
//! team.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::json;
use shared::ids::Project;
use shared::source::Source;
use worker_core::config::{DocumentArgs, MongoArgs};
use worker_reconcile::client::{Asking, GithubApi, Halt, Share, TaigaApi};
use worker_reconcile::parts::Parts;
use worker_reconcile::reconciler::Reconciler;
use worker_reconcile::report::{Counts, Line, Report};
use worker_reconcile::scope::{Depth, Scope};

use crate::args::hook_url::PublicUrlArgs;
use crate::args::time_args::TimeArg;
use crate::clients::ClientArgs;
use crate::streams::ConnectArgs;
use crate::terminal::{Column, CommandError, Exit, Output, Table, Tally, finish, notice, print_json};

/// What to do after a signal.
pub(super) const GOING_ON: &str = "what was published is processed; the same command starts over, which is harmless";

/// What to do when a part could not be read.
const ADVICE: &str = "Run the same command again for these; repeating it is harmless";

/// What to reconcile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  worker reconcile --dry-run
  worker reconcile --prj PES11A --source taiga
  worker reconcile --since 2d
  worker reconcile --prj PES11A --yes")]
pub struct Options {
    /// Only this team; without it every team that the credentials file names a place for, and every project with
    /// documents that has one of our hooks.
    #[arg(long)]
    prj: Option<Project>,
    /// Only this provider.
    #[arg(long, value_enum)]
    source: Option<Provider>,
    /// Read one by one only what was changed since then (a date, RFC 3339, or how long ago, such as 2d) or differs in
    /// the lists; without it every object.
    #[arg(long, value_name = "WHEN")]
    since: Option<TimeArg>,
    /// Say what would be published and publish nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Remove what is gone, also when it is more than a third of a kind and more than ten.
    #[arg(long)]
    yes: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    url: PublicUrlArgs,
    #[command(flatten)]
    reconciling: ReconcilingArgs,
}

/// How a reconciliation reaches NATS, MongoDB and the providers.
#[derive(Debug, Args)]
pub(super) struct ReconcilingArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    documents: DocumentArgs,
    #[command(flatten)]
    remote: ClientArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    Github,
    Taiga,
}

impl From<Provider> for Source {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Github => Self::Github,
            Provider::Taiga => Self::Taiga,
        }
    }
}

/// What a reconciliation from the command line uses.
#[derive(Debug)]
pub(super) struct Reconciling {
    pub(super) reconciler: Reconciler,
    pub(super) asking: Asking,
}

impl Reconciling {
    /// Connects.
    pub(super) async fn open(args: &ReconcilingArgs, public_url: Option<Url>) -> Result<Self, CommandError> {
        let ReconcilingArgs { connect, mongo, documents, remote } = args;
        let remote = remote.open()?;
        let (github, taiga) = remote.providers()?;
        let connection = connect.open().await?;
        let store = mongo.open().await.map_err(CommandError::usage)?;
        let parts =
            Parts::new(store, connection.client, connection.jetstream, connection.topology).with(documents.settings());
        let asking = Asking::new(remote.stop.clone(), Share::Whole, |text| notice(text));
        let reconciler = Reconciler {
            parts,
            courses: remote.courses.clone(),
            tokens: remote.tokens().clone(),
            github: Arc::new(github),
            taiga: Arc::new(taiga),
            public_url,
        };
        Ok(Self { reconciler, asking })
    }

    /// GitHub with a project's token.
    pub(super) fn github(&self, prj: &Project) -> Result<GithubApi, CommandError> {
        self.reconciler.github_api(prj, &self.asking).ok_or_else(|| {
            CommandError::usage(format_args!(
                "there is no token for {prj}: set GITHUB_TOKEN, or github_token of its course in the credentials file"
            ))
        })
    }

    /// Taiga with a project's account.
    pub(super) fn taiga(&self, prj: &Project) -> Result<TaigaApi, CommandError> {
        self.reconciler.taiga_api(prj, &self.asking).ok_or_else(|| {
            CommandError::usage(format_args!("there is no account for {prj}: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password of its course in the credentials file"))
        })
    }
}

impl From<Halt> for CommandError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Stopped => Self::interrupted(),
            Halt::Later(_) => Self::failed(halt, "Run the same command again later"),
            Halt::Down { what, advice } | Halt::Failed { what, advice } => Self::failed(what, advice),
        }
    }
}

pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        reconcile(&options).await.map_err(|error| error.going_on(GOING_ON))?;
        Ok(Exit::Done)
    })
    .await
}

async fn reconcile(options: &Options) -> Result<(), CommandError> {
    let open = Reconciling::open(&options.reconciling, options.url.public_url.clone()).await?;
    let Reconciling { reconciler, asking } = &open;
    let teams = match &options.prj {
        Some(prj) => vec![prj.clone()],
        None => reconciler.teams().await?,
    };
    let sources = options.source.map_or_else(|| vec![Source::Github, Source::Taiga], |source| vec![source.into()]);
    let depth = options.since.map_or(Depth::All, |since| Depth::Since(since.ms()));
    let (mut all, mut tally) = (Report::default(), Tally::of("team", "teams"));
    for prj in teams {
        let scope = Scope { dry_run: options.dry_run, confirmed: options.yes, ..Scope::everything(prj.clone(), depth) };
        let mut failed = false;
        for source in &sources {
            match reconciler.source(&scope, *source, asking).await {
                Ok(report) => all.extend(report),
                Err(error @ Halt::Failed { .. }) => {
                    notice(format_args!("{prj}: {error}"));
                    failed = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        reconciler.finish(&prj, asking).await?;
        if failed {
            tally.count_failed(1);
        } else {
            tally.count_done(1);
        }
    }
    let shown = show(options.output, &all);
    tally.end(ADVICE)?;
    shown
}

/// Writes the report.
///
/// # Errors
/// When an operator has something to do.
pub(super) fn show(output: Output, report: &Report) -> Result<(), CommandError> {
    match output {
        Output::Json => {
            report.lines.iter().for_each(|line| print_json(&json!(line)));
            report.findings.iter().for_each(|finding| print_json(&json!(finding)));
        }
        Output::Table => {
            let [checked, same, repaired, removed, waiting] =
                ["checked", "same", "repaired", "removed", "unconfirmed"].map(Column::Right);
            let [prj, place, kind] = ["prj", "place", "kind"].map(Column::Left);
            let mut table = Table::new(&[prj, place, kind, checked, same, repaired, removed, waiting]);
            for Line { prj, place, kind, counts, .. } in &report.lines {
                let Counts { checked, same, repaired, removed, unconfirmed } = counts;
                table.row(&[prj, place, kind, checked, same, repaired, removed, unconfirmed]);
            }
            if report.lines.is_empty() {
                notice("nothing to reconcile: check where the credentials file says that teams live");
            } else {
                table.print();
            }
            if report.lines.iter().any(|line| line.dry_run) {
                notice("dry run: nothing was published");
            }
        }
    }
    report.findings.iter().for_each(|finding| notice(format_args!("{}: {}", finding.prj, finding.finding)));
    match report.findings.len() as u64 {
        0 => Ok(()),
        failed => {
            let all = report.lines.len() as u64 + failed;
            let advice = "Do what is said above".into();
            Err(CommandError::Partial { failed, all, one: "kind or finding", many: "kinds and findings", advice })
        }
    }
}
