//! `worker reconcile`: makes documents show what GitHub and Taiga show, of one team or of all.
//!
//! `worker run` does the same by itself, every night and after a gap. Where a team lives the credentials file says.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;
use shared::ids::Project;
use shared::source::Source;
use worker_core::config::MongoArgs;
use worker_reconcile::client::{self, Asking, GithubApi, Share, TaigaApi};
use worker_reconcile::parts::Parts;
use worker_reconcile::reconciler::Reconciler;
use worker_reconcile::report::{Counts, Line, Report};
use worker_reconcile::wish::{Depth, Wish};

use super::ours::UrlArgs;
use super::remote::{Halt, RemoteArgs};
use super::terminal::{ConnectArgs, Exit, Output, finish, say, tell};
use super::when::When;

/// What to reconcile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  worker reconcile --dry-run
  worker reconcile --prj PES11A --source taiga
  worker reconcile --since 2d
  worker reconcile --prj PES11A --yes")]
pub struct Options {
    /// Only this team; without it every team that the credentials file names a place for, and every project with
    /// documents that has a hook of ours.
    #[arg(long)]
    prj: Option<Project>,
    /// Only this provider.
    #[arg(long, value_enum)]
    source: Option<Provider>,
    /// Read one by one only what was changed since then (a date, RFC 3339, or how long ago, such as 2d) or differs in
    /// the lists; without it every object.
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
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
    url: UrlArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    remote: RemoteArgs,
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

/// Everything that a reconciliation from the command line works with.
#[derive(Debug)]
pub(super) struct Reconciling {
    /// It.
    pub(super) reconciler: Reconciler,
    /// How the providers are asked.
    pub(super) asking: Asking,
}

impl Reconciling {
    /// Connects.
    pub(super) async fn open(
        connect: &ConnectArgs,
        mongo: &MongoArgs,
        remote: &RemoteArgs,
        url: Option<&UrlArgs>,
    ) -> Result<Self, Halt> {
        let remote = remote.open()?;
        let (github, taiga) = remote.providers()?;
        let connection = connect.open().await?;
        let store = mongo.open().await?;
        let parts = Parts::new(store, connection.client, connection.jetstream, connection.topology);
        let asking = Asking::new(remote.stop.clone(), Share::Whole, |text| tell(text));
        let reconciler = Reconciler {
            parts,
            courses: remote.courses.clone(),
            tokens: remote.tokens().clone(),
            github: Arc::new(github),
            taiga: Arc::new(taiga),
            public_url: url.and_then(|url| url.public_url.clone()),
        };
        Ok(Self { reconciler, asking })
    }

    /// GitHub with a project's token.
    pub(super) fn github(&self, prj: &Project) -> Result<GithubApi, Halt> {
        self.reconciler.github_api(prj, &self.asking).ok_or_else(|| {
            Halt::Failed(format!("there is no token for {prj}: set GITHUB_TOKEN, or github_token of its course in the credentials file"))
        })
    }

    /// Taiga with a project's account.
    pub(super) fn taiga(&self, prj: &Project) -> Result<TaigaApi, Halt> {
        self.reconciler.taiga_api(prj, &self.asking).ok_or_else(|| {
            Halt::Failed(format!("there is no account for {prj}: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password of its course in the credentials file"))
        })
    }
}

impl From<client::Halt> for Halt {
    fn from(halt: client::Halt) -> Self {
        match halt {
            client::Halt::Stopped => Self::Interrupted,
            client::Halt::Failed(error) => Self::Failed(error),
        }
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let again = "what was published is processed; the same command begins anew, which does no harm";
        reconcile(&options).await.or_else(|halt| halt.end(again))
    })
    .await
}

async fn reconcile(options: &Options) -> Result<Exit, Halt> {
    let open = Reconciling::open(&options.connect, &options.mongo, &options.remote, Some(&options.url)).await?;
    let Reconciling { reconciler, asking } = &open;
    let teams = match &options.prj {
        Some(prj) => vec![prj.clone()],
        None => reconciler.teams().await?,
    };
    let sources = options.source.map_or_else(|| vec![Source::Github, Source::Taiga], |source| vec![source.into()]);
    let depth = options.since.map_or(Depth::All, |since| Depth::Since(since.ms()));
    let (mut all, mut failed) = (Report::default(), false);
    for prj in teams {
        let wish = Wish { dry_run: options.dry_run, confirmed: options.yes, ..Wish::everything(prj.clone(), depth) };
        for source in &sources {
            match reconciler.source(&wish, *source, asking).await {
                Ok(report) => all.extend(report),
                Err(client::Halt::Failed(error)) => {
                    // One team's trouble is not another's.
                    tell(format_args!("{prj}: {error}"));
                    failed = true;
                }
                Err(halt) => return Err(halt.into()),
            }
        }
        reconciler.finish(&prj, asking).await?;
    }
    show(options.output, &all);
    let unconfirmed = all.lines.iter().any(|line| line.counts.unconfirmed > 0);
    Ok(if failed || unconfirmed || !all.findings.is_empty() { Exit::Failed } else { Exit::Done })
}

/// Writes what was found.
pub(super) fn show(output: Output, report: &Report) {
    match output {
        Output::Json => {
            report.lines.iter().for_each(|line| say(json!(line)));
            report.findings.iter().for_each(|finding| say(json!(finding)));
        }
        Output::Table => {
            let head = ("team", "place", "kind");
            say(format_args!(
                "{:<16}  {:<32}  {:<14}  {:>8}  {:>8}  {:>8}  {:>8}",
                head.0, head.1, head.2, "checked", "same", "repaired", "removed"
            ));
            for Line { prj, place, kind, counts, dry_run, .. } in &report.lines {
                let Counts { checked, same, repaired, removed, unconfirmed } = counts;
                let waits = if *unconfirmed > 0 { format!("  {unconfirmed} wait for --yes") } else { String::new() };
                let would = if *dry_run { "  (dry run)" } else { "" };
                say(format_args!(
                    "{:<16}  {place:<32}  {kind:<14}  {checked:>8}  {same:>8}  {repaired:>8}  {removed:>8}{waits}{would}",
                    prj.as_str()
                ));
            }
            report.findings.iter().for_each(|finding| tell(format_args!("{}: {}", finding.prj, finding.finding)));
        }
    }
}
