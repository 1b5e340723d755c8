//! `worker hooks`: list, create, fix and remove our hooks at GitHub and Taiga.
//!
//! A hook is ours when it leads to a webhook of this installation's ingress (`--public-url`). No other hook is ever
//! changed or removed. `create` fixes a hook that is there already.

mod github;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::credentials::DefaultKeys;
use shared::ids::{Project, QualityModel};
use shared::secret::Secret;
use shared::source::Source;
use worker_providers::client::ProviderReply;

use crate::args::hook_url::{PublicUrlArgs, hook_url, project_of};
use crate::clients::{ClientArgs, Clients, name, refused};
use crate::terminal::{
    Column, CommandError, Exit, Output, Progress, Table, Tally, counted, finish, notice, print_json,
};

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
    /// Webhooks of projects.
    #[command(
        after_help = "Example:\n  worker hooks list taiga --public-url https://ld.example.edu --slug mireia-marmota"
    )]
    Taiga {
        #[command(flatten)]
        place: TaigaPlace,
        #[command(flatten)]
        args: Box<HookArgs>,
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

/// What all of them have.
#[derive(Debug, Args)]
struct HookArgs {
    #[command(flatten)]
    url: PublicUrlArgs,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    clients: ClientArgs,
}

/// Where hooks are looked for at GitHub.
#[derive(Debug, Args)]
struct GithubPlace {
    /// Of this organisation (or person) and its repositories; else wherever a token of ours administers.
    #[arg(long, value_parser = name)]
    org: Option<String>,
    /// Only of this repository.
    #[arg(long, value_parser = name, requires = "org")]
    repo: Option<String>,
}

/// Where webhooks are looked for at Taiga.
#[derive(Debug, Args)]
struct TaigaPlace {
    /// Of this project; else of every project that an account of ours administers.
    #[arg(long, value_parser = name)]
    slug: Option<String>,
}

/// How a hook is to be.
#[derive(Debug, Args)]
struct DesiredHook {
    /// Whose hook: the prj of its address.
    #[arg(long)]
    prj: Project,
    /// The quality model of its address.
    #[arg(long)]
    quality_model: Option<QualityModel>,
    /// Also set the secret of a hook that looks right: GitHub does not show which one it has.
    #[arg(long)]
    set_secret: bool,
    /// Print what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Which hooks to remove.
#[derive(Debug, Args)]
struct HookFilter {
    /// Those of this project.
    #[arg(long, required_unless_present = "all")]
    prj: Option<Project>,
    /// All of ours, of every project.
    #[arg(long, conflicts_with = "prj")]
    all: bool,
    /// Print what would be removed and remove nothing; the same as leaving out --yes.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Really do it.
    #[arg(long)]
    yes: bool,
}

impl HookFilter {
    fn takes(&self, address: &str) -> bool {
        self.prj.as_ref().is_none_or(|prj| project_of(address).as_deref() == Some(prj.as_str()))
    }
}

/// A hook of ours.
#[derive(Debug)]
struct Hook {
    /// Whose it is, such as `repos/upc-pes/marmota`.
    owner: String,
    /// Its number.
    id: i64,
    /// Where it leads.
    url: String,
    /// What is wrong with it; empty when nothing is.
    wrong: Vec<&'static str>,
}

/// A provider, asked with one token or account.
trait HookProvider {
    /// Its name in messages.
    const NAME: &'static str;

    /// Where the owner's hooks are.
    fn collection(owner: &str) -> String;

    /// Where one hook is.
    fn path(hook: &Hook) -> String;

    /// Sends a request; of a POST no repetition, which would create a second hook.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ProviderReply, CommandError>;
}

/// Our hooks, each with the client that shows it, and what could not be read.
struct Found<P> {
    hooks: Vec<(P, Hook)>,
    tally: Tally,
}

impl HookArgs {
    fn open(&self) -> Result<(Clients, Url), CommandError> {
        Ok((self.clients.open()?, self.url.required()?))
    }
}

/// The answer: hooks, and what is or was done with each.
struct Answer {
    output: Output,
    table: Table,
    lines: usize,
}

impl Answer {
    fn new(args: &HookArgs) -> Self {
        let columns = ["hook", "address", "state"].map(Column::Left);
        Self { output: args.output, table: Table::new(&columns), lines: 0 }
    }

    fn line(&mut self, hook: &Hook, state: &str) {
        let Hook { owner, id, url, wrong } = hook;
        self.lines += 1;
        match self.output {
            Output::Table => self.table.row(&[&format_args!("{owner}#{id}"), url, &state]),
            Output::Json => print_json(&json!({
                "owner": owner, "id": id, "url": url, "prj": project_of(url), "state": state, "wrong": wrong,
            })),
        }
    }

    fn print(self) {
        if self.output == Output::Table && self.lines > 0 {
            self.table.print();
        }
    }
}

fn list<P>(found: Found<P>, args: &HookArgs) -> Result<(), CommandError> {
    let mut answer = Answer::new(args);
    for (_, hook) in &found.hooks {
        let state =
            if hook.wrong.is_empty() { "right".to_owned() } else { format!("wrong: {}", hook.wrong.join(", ")) };
        answer.line(hook, &state);
    }
    answer.print();
    if found.hooks.is_empty() {
        notice("no hook of ours was found: check --public-url, and that the token or account may administer hooks");
    }
    found.tally.end("Run the same command again for these")
}

/// Creates the hook, or fixes the first of those that are there.
async fn create<P: HookProvider>(
    provider: &P,
    owner: String,
    existing: Vec<Hook>,
    (url, body): (String, Value),
    desired: &DesiredHook,
    args: &HookArgs,
) -> Result<(), CommandError> {
    let mut answer = Answer::new(args);
    let mut existing = existing.into_iter();
    let send = async |method: Method, path: String| {
        let reply = provider.send(method, &path, Some(&body)).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refused(P::NAME, &path, &reply)) }
    };
    let Some(mut hook) = existing.next() else {
        let mut hook = Hook { owner, id: 0, url, wrong: Vec::new() };
        if !desired.dry_run {
            let reply = send(Method::POST, P::collection(&hook.owner)).await?;
            let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            hook.id = made.get("id").and_then(Value::as_i64).unwrap_or_default();
        }
        answer.line(&hook, if desired.dry_run { "would be created" } else { "created" });
        answer.print();
        return Ok(());
    };
    if hook.url != url && !hook.wrong.contains(&"url") {
        hook.wrong.push("url");
    }
    if hook.wrong.is_empty() && !desired.set_secret {
        answer.line(&hook, "right");
    } else {
        if !desired.dry_run {
            send(Method::PATCH, P::path(&hook)).await?;
            hook.url = url;
        }
        answer.line(&hook, if desired.dry_run { "would be fixed" } else { "fixed" });
    }
    answer.print();
    for other in existing {
        notice(format_args!(
            "{}#{} leads here too ({}): one is enough, remove it on {}'s page",
            other.owner,
            other.id,
            other.url,
            P::NAME
        ));
    }
    Ok(())
}

/// Removes hooks one by one; one that cannot be removed stops no other.
async fn delete<P: HookProvider>(found: Found<P>, filter: &HookFilter, args: &HookArgs) -> Result<(), CommandError> {
    let Found { mut hooks, mut tally } = found;
    hooks.retain(|(_, hook)| filter.takes(&hook.url));
    let count = counted(hooks.len() as u64, "hook", "hooks");
    let mut progress = Progress::new(if filter.yes { "removed" } else { "found" }, "hooks", hooks.len() as u64);
    let mut answer = Answer::new(args);
    let mut ended = Ok(());
    for (provider, hook) in &hooks {
        progress.add(1);
        if !filter.yes {
            answer.line(hook, "would be removed");
            continue;
        }
        let path = P::path(hook);
        let removed = provider.send(Method::DELETE, &path, None).await.and_then(|reply| match reply.status {
            // Gone already is gone.
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(refused(P::NAME, &path, &reply)),
        });
        match tally.tried(format_args!("{}#{}", hook.owner, hook.id), removed) {
            Ok(Some(())) => answer.line(hook, "removed"),
            Ok(None) => answer.line(hook, "not removed"),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    progress.end();
    answer.print();
    ended?;
    if !filter.yes {
        notice(format_args!("{count} would be removed; add --yes to do it"));
    } else if tally.failed() == 0 {
        notice(format_args!("removed {count}"));
    }
    tally.end("The lines above say which, and why")
}

impl DesiredHook {
    /// Address and secret.
    fn of(
        &self,
        source: Source,
        clients: &Clients,
        base: &Url,
        secrets: &SignatureArgs,
    ) -> Result<(String, Secret), CommandError> {
        let courses = clients.courses.courses();
        let default = DefaultKeys::new(secrets).map_err(CommandError::usage)?;
        let key = default.in_force(&courses, source, Some(&self.prj)).into_iter().next().ok_or_else(|| {
            let name = source.as_str();
            CommandError::usage(format_args!(
                "there is no secret for {}: set {}_SECRET, or {name}_secret of its course in the credentials file, as ingress has it",
                self.prj,
                name.to_uppercase()
            ))
        })?;
        Ok((hook_url(base, source, &self.prj, self.quality_model.as_ref()), key.secret))
    }

    /// Whether a hook of ours is the one that is meant: of this project, or of none at all.
    fn means(&self, address: &str) -> bool {
        project_of(address).is_none_or(|prj| prj == self.prj.as_str())
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.action {
            Action::List(List::Github { place, args }) => match github::find(place, args).await {
                Ok(found) => list(found, args),
                Err(error) => Err(error),
            },
            Action::List(List::Taiga { place, args }) => match taiga::find(place, args).await {
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
            Action::Delete(Delete::Taiga { place, filter, args }) => match taiga::find(place, args).await {
                Ok(found) => delete(found, filter, args).await,
                Err(error) => Err(error),
            },
        };
        ended.map_err(|error| error.going_on("what was done stays; the same command does the rest"))?;
        Ok(Exit::Done)
    })
    .await
}
