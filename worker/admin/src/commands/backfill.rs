//! `worker backfill`: reconciles one project with a place at GitHub or Taiga that is given on the command line.
//!
//! As `worker reconcile`, it publishes what differs and removes what is gone; with dates it reads only what was changed
//! then, and removes nothing. It may be run again, and interrupted at any moment.

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use shared::ids::{Project, QualityModel};
use worker_reconcile::place::GithubPlace;
use worker_reconcile::reading::taiga::Item;
use worker_reconcile::scope::{Depth, GithubKind, Scope};

use super::reconcile::{Reconciling, ReconcilingArgs, show};
use crate::args::InvalidArg;
use crate::args::time_args::TimeArg;
use crate::clients::name;
use crate::terminal::{CommandError, Exit, Output, finish};

const GITHUB_EXAMPLES: &str = "Examples:
  worker backfill github --org upc-pes --prj PES11A
  worker backfill github --org upc-pes --repo marmota --prj PES11A --events commits --from-date 2026-11-01
  worker backfill github --org upc-pes --prj PES11A --dry-run";

const TAIGA_EXAMPLES: &str = "Examples:
  worker backfill taiga --slug mireia-marmota --prj PES11A
  worker backfill taiga --slug mireia-marmota --prj PES11A --events task,userstory --from-date 3d
  worker backfill taiga --slug mireia-marmota --prj PES11A --dry-run";

/// With which place to reconcile.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Commits, issues and pull requests of an organisation's repositories.
    #[command(after_help = GITHUB_EXAMPLES)]
    Github(Box<Github>),
    /// Stories, tasks, issues and epics of a Taiga project, with their milestones and links.
    #[command(after_help = TAIGA_EXAMPLES)]
    Taiga(Box<Taiga>),
}

/// From where at GitHub, and what.
#[derive(Debug, Args)]
struct Github {
    /// The organisation, or the person, whose repositories they are.
    #[arg(long, value_parser = name)]
    org: String,
    /// Only this repository, without its owner; all of them when it is left out.
    #[arg(long, value_parser = name)]
    repo: Option<String>,
    /// What to read.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "commits,issues,pull_requests")]
    events: Vec<GithubEvents>,
    #[command(flatten)]
    common: Common,
}

/// From where at Taiga, and what.
#[derive(Debug, Args)]
struct Taiga {
    /// The project's slug, the last part of its address.
    #[arg(long, value_parser = name)]
    slug: String,
    /// What to read.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "task,userstory,issue,epic")]
    events: Vec<TaigaEvents>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum GithubEvents {
    Commits,
    Issues,
    PullRequests,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lowercase")]
enum TaigaEvents {
    Task,
    UserStory,
    Issue,
    Epic,
}

/// What both have.
#[derive(Debug, Args)]
struct Common {
    /// Whose documents: the prj of the team's webhooks.
    #[arg(long)]
    prj: Project,
    /// Only what was last changed from then on: a date (Madrid), RFC 3339, or how long ago, such as 3d.
    #[arg(long, value_name = "WHEN")]
    from_date: Option<TimeArg>,
    /// Only what was last changed until then, written like --from-date; of a date, its whole day.
    #[arg(long, value_name = "WHEN")]
    to_date: Option<Until>,
    /// The quality model of notifications; without it the course's, else that of the newest event.
    #[arg(long)]
    quality_model: Option<QualityModel>,
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
    reconciling: ReconcilingArgs,
}

/// The end of a time: of a date, the midnight after it.
#[derive(Debug, Clone, Copy)]
struct Until(i64);

impl FromStr for Until {
    type Err = InvalidArg;

    fn from_str(text: &str) -> Result<Self, InvalidArg> {
        let next_day = text.parse::<Date>().ok().and_then(|date| date.tomorrow().ok()).map(|date| date.to_string());
        // Only what reads as a date alone: jiff would take a longer text's date too.
        let typed = if text.len() == 10 { next_day.as_deref().unwrap_or(text) } else { text };
        typed.parse::<TimeArg>().map(|when| Self(when.ms()))
    }
}

impl Common {
    fn scope(&self) -> Result<Scope, CommandError> {
        let range = (self.from_date.map(TimeArg::ms), self.to_date.map(|to| to.0));
        if let (Some(from), Some(to)) = range
            && from >= to
        {
            return Err(CommandError::usage(
                "--to-date is before --from-date: write the earlier one first, such as --from-date 2026-11-01 --to-date 2026-11-30",
            ));
        }
        let scope = Scope::everything(self.prj.clone(), Depth::All);
        let quality_model = self.quality_model.clone();
        Ok(Scope { range, quality_model, dry_run: self.dry_run, confirmed: self.yes, ..scope })
    }

    async fn open(&self) -> Result<Reconciling, CommandError> {
        Reconciling::open(&self.reconciling, None).await
    }
}

pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.from {
            From::Github(options) => github(options).await,
            From::Taiga(options) => taiga(options).await,
        };
        ended.map_err(|error| error.going_on(super::reconcile::GOING_ON))?;
        Ok(Exit::Done)
    })
    .await
}

async fn github(options: &Github) -> Result<(), CommandError> {
    let Github { org, repo, events, common } = options;
    let kind = |events: &GithubEvents| match events {
        GithubEvents::Commits => GithubKind::Commits,
        GithubEvents::Issues => GithubKind::Issues,
        GithubEvents::PullRequests => GithubKind::PullRequests,
    };
    let scope = Scope { github: events.iter().map(kind).collect(), ..common.scope()? };
    let open = common.open().await?;
    let api = open.github(&scope.prj)?;
    let scope = open.reconciler.with_model(&scope).await?;
    let place = GithubPlace { owner: org.clone(), name: repo.clone() };
    let mut report = open.reconciler.github(&scope, &place, &api).await?;
    if report.lines.is_empty()
        && let Some(finding) = report.findings.pop()
    {
        let option = if repo.is_some() { "--repo" } else { "--org" };
        return Err(CommandError::not_found(format_args!("{option}: {}", finding.finding), "Nothing was done"));
    }
    open.reconciler.finish(&scope.prj, &open.asking).await?;
    show(common.output, &report)
}

async fn taiga(options: &Taiga) -> Result<(), CommandError> {
    let Taiga { slug, events, common } = options;
    let item = |events: &TaigaEvents| match events {
        TaigaEvents::Task => Item::Task,
        TaigaEvents::UserStory => Item::Story,
        TaigaEvents::Issue => Item::Issue,
        TaigaEvents::Epic => Item::Epic,
    };
    let scope = Scope { taiga: events.iter().map(item).collect(), ..common.scope()? };
    let open = common.open().await?;
    let api = open.taiga(&scope.prj)?;
    let scope = open.reconciler.with_model(&scope).await?;
    let mut report = open.reconciler.taiga(&scope, slug, &api).await?;
    if report.lines.is_empty()
        && let Some(finding) = report.findings.pop()
    {
        return Err(CommandError::not_found(format_args!("--slug: {}", finding.finding), "Nothing was done"));
    }
    open.reconciler.finish(&scope.prj, &open.asking).await?;
    show(common.output, &report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day() {
        let ms = |text: &str| text.parse::<Until>().map(|until| until.0);
        assert_eq!(ms("2026-11-30"), "2026-12-01".parse::<TimeArg>().map(TimeArg::ms));
        assert_eq!(ms("2026-11-30T12:00:00Z"), "2026-11-30T12:00:00Z".parse::<TimeArg>().map(TimeArg::ms));
        assert!(ms("tomorrow").unwrap_err().0.contains("2026-11-23"));
    }
}
