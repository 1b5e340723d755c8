//! `worker hooks`: list, create, fix and remove our hooks at GitHub and Taiga.
//!
//! A hook is ours when it leads to a webhook of this installation's ingress (`--public-url`). No other hook is ever
//! changed or removed. `create` fixes a hook that is there already.

mod actions;
mod args;
mod github;
mod hook;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::config::SignatureArgs;

use self::actions::{delete, list};
use self::args::{DesiredHook, GithubPlace, HookArgs, HookFilter, TaigaPlace};
use crate::clients::name;
use crate::terminal::{Exit, finish};

/// What to do with hooks.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List ours, and what is wrong with each.
    #[command(subcommand)]
    List(List),
    /// Create one, or fix the one that is there: address, content type, events.
    #[command(subcommand)]
    Create(Create),
    /// Remove ours: of a project, or all of them at the end of a term.
    #[command(subcommand)]
    Delete(Delete),
}

#[derive(Debug, Subcommand)]
enum List {
    /// Hooks of organisations and repositories.
    #[command(after_help = "Examples:
  worker hooks list github --public-url https://ld.example.edu
  worker hooks list github --public-url https://ld.example.edu --org upc-pes")]
    Github {
        #[command(flatten)]
        place: GithubPlace,
        #[command(flatten)]
        args: Box<HookArgs>,
    },
    /// Webhooks of projects. Their keys are compared with the secrets of ingress, where those are set here too.
    #[command(
        after_help = "Example:\n  worker hooks list taiga --public-url https://ld.example.edu --slug mireia-marmota"
    )]
    Taiga {
        #[command(flatten)]
        place: TaigaPlace,
        #[command(flatten)]
        args: Box<HookArgs>,
        #[command(flatten)]
        secrets: Box<SignatureArgs>,
    },
}

#[derive(Debug, Subcommand)]
enum Create {
    /// A hook of an organisation, or with --repo of one repository.
    #[command(after_help = "Examples:
  worker hooks create github --public-url https://ld.example.edu --org upc-pes --prj PES11A
  worker hooks create github --public-url https://ld.example.edu --org upc-pes --repo marmota --prj PES11A --dry-run")]
    Github {
        /// The organisation, or the person whose repository it is.
        #[arg(long, value_parser = name)]
        org: String,
        /// The repository, without its owner; without it the hook is the organisation's.
        #[arg(long, value_parser = name)]
        repo: Option<String>,
        #[command(flatten)]
        desired: Box<DesiredHook>,
        #[command(flatten)]
        args: Box<HookArgs>,
        #[command(flatten)]
        secrets: Box<SignatureArgs>,
    },
    /// A webhook of a project.
    #[command(
        after_help = "Example:\n  worker hooks create taiga --public-url https://ld.example.edu --slug mireia-marmota --prj PES11A"
    )]
    Taiga {
        /// The project's slug, the last part of its address.
        #[arg(long, value_parser = name)]
        slug: String,
        #[command(flatten)]
        desired: Box<DesiredHook>,
        #[command(flatten)]
        args: Box<HookArgs>,
        #[command(flatten)]
        secrets: Box<SignatureArgs>,
    },
}

#[derive(Debug, Subcommand)]
enum Delete {
    /// Hooks of organisations and repositories.
    #[command(after_help = "Examples:
  worker hooks delete github --public-url https://ld.example.edu --org upc-pes --prj PES11A --yes
  worker hooks delete github --public-url https://ld.example.edu --all --yes")]
    Github {
        #[command(flatten)]
        place: GithubPlace,
        #[command(flatten)]
        filter: Box<HookFilter>,
        #[command(flatten)]
        args: Box<HookArgs>,
    },
    /// Webhooks of projects.
    #[command(after_help = "Example:\n  worker hooks delete taiga --public-url https://ld.example.edu --all --yes")]
    Taiga {
        #[command(flatten)]
        place: TaigaPlace,
        #[command(flatten)]
        filter: Box<HookFilter>,
        #[command(flatten)]
        args: Box<HookArgs>,
    },
}

pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.action {
            Action::List(List::Github { place, args }) => match github::find(place, args).await {
                Ok(found) => list(found, args),
                Err(error) => Err(error),
            },
            Action::List(List::Taiga { place, args, secrets }) => match taiga::find(place, args, Some(secrets)).await {
                Ok(found) => list(found, args),
                Err(error) => Err(error),
            },
            Action::Create(Create::Github { org, repo, desired, args, secrets }) => {
                github::create((org, repo.as_deref()), desired, args, secrets).await
            }
            Action::Create(Create::Taiga { slug, desired, args, secrets }) => {
                taiga::create(slug, desired, args, secrets).await
            }
            Action::Delete(Delete::Github { place, filter, args }) => match github::find(place, args).await {
                Ok(found) => delete(found, filter, args).await,
                Err(error) => Err(error),
            },
            Action::Delete(Delete::Taiga { place, filter, args }) => match taiga::find(place, args, None).await {
                Ok(found) => delete(found, filter, args).await,
                Err(error) => Err(error),
            },
        };
        ended.map_err(|error| error.going_on("what was done stays; the same command does the rest"))?;
        Ok(Exit::Done)
    })
    .await
}
