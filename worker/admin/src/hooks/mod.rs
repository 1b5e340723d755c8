//! `worker hooks`: see, make, mend and remove our hooks at GitHub and Taiga.
//!
//! A hook is ours when it leads to a webhook of this installation's ingress (`--public-url`); no other is ever
//! changed or removed. Making one that is there already changes nothing, or mends it.

mod github;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::json;
use shared::config::SignatureArgs;
use shared::credentials::DefaultKeys;
use shared::ids::{Project, QualityModel};
use shared::secret::Secret;
use shared::source::Source;

use super::ours::{UrlArgs, address, project_of};
use super::remote::{Halt, Remote, RemoteArgs, name};
use super::terminal::{Exit, Output, Progress, counted, finish, say, tell};

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
    /// Make one, or mend the one that is there: address, content type, events.
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
        common: Box<Common>,
    },
    /// Webhooks of projects.
    #[command(
        after_help = "Example:\n  worker hooks list taiga --public-url https://ld.example.edu --slug mireia-marmota"
    )]
    Taiga {
        #[command(flatten)]
        place: TaigaPlace,
        #[command(flatten)]
        common: Box<Common>,
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
        wish: Box<Wish>,
        #[command(flatten)]
        common: Box<Common>,
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
        wish: Box<Wish>,
        #[command(flatten)]
        common: Box<Common>,
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
        which: Box<Which>,
        #[command(flatten)]
        common: Box<Common>,
    },
    /// Webhooks of projects.
    #[command(after_help = "Example:\n  worker hooks delete taiga --public-url https://ld.example.edu --all --yes")]
    Taiga {
        #[command(flatten)]
        place: TaigaPlace,
        #[command(flatten)]
        which: Box<Which>,
        #[command(flatten)]
        common: Box<Common>,
    },
}

/// What all of them have.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    url: UrlArgs,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    remote: RemoteArgs,
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
struct Wish {
    /// Whose hook: the prj of its address.
    #[arg(long)]
    prj: Project,
    /// The quality model of its address.
    #[arg(long)]
    quality_model: Option<QualityModel>,
    /// Set the secret also of a hook that looks right: nobody can read there which one it has.
    #[arg(long)]
    set_secret: bool,
    /// Say what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Which hooks to remove.
#[derive(Debug, Args)]
struct Which {
    /// Those of this project.
    #[arg(long, required_unless_present = "all")]
    prj: Option<Project>,
    /// All of ours, of every project.
    #[arg(long, conflicts_with = "prj")]
    all: bool,
    /// Say what would be removed and remove nothing; so it is without --yes, too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Really do it.
    #[arg(long)]
    yes: bool,
}

impl Which {
    fn progress(&self, hooks: usize) -> Progress {
        Progress::new(if self.yes { "removed" } else { "found" }, "hooks", hooks as u64)
    }

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

impl Common {
    fn open(&self) -> Result<(Remote, Url), String> {
        Ok((self.remote.open()?, self.url.required()?))
    }

    /// One line of the answer: a hook, and what is or was done with it.
    fn line(&self, hook: &Hook, done: &str) {
        let Hook { owner, id, url, .. } = hook;
        match self.output {
            Output::Table => say(format_args!("{owner}#{id}  {url}  {done}")),
            Output::Json => say(json!({
                "owner": owner, "id": id, "url": url, "prj": project_of(url), "state": done,
                "wrong": hook.wrong,
            })),
        }
    }

    fn list(&self, hooks: &[Hook]) {
        for hook in hooks {
            let state =
                if hook.wrong.is_empty() { "right".to_owned() } else { format!("wrong: {}", hook.wrong.join(", ")) };
            self.line(hook, &state);
        }
        if hooks.is_empty() {
            tell(
                "there is no hook of ours to be seen: check --public-url, and that the token or account may administer hooks",
            );
        }
    }
}

impl Wish {
    /// Address and secret.
    fn of(
        &self,
        source: Source,
        remote: &Remote,
        base: &Url,
        secrets: &SignatureArgs,
    ) -> Result<(String, Secret), String> {
        let courses = remote.courses.courses();
        let default = DefaultKeys::new(secrets).map_err(|error| error.to_string())?;
        let own = courses.course_of(&self.prj).and_then(|course| course.signing_keys(source));
        let keys = own.or_else(|| default.of(source)).ok_or_else(|| {
            let name = source.as_str();
            format!("there is no secret for {}: set {}_SECRET, or {name}_secret of its course in the teachers' file, as ingress has it", self.prj, name.to_uppercase())
        })?;
        Ok((address(base, source, &self.prj, self.quality_model.as_ref()), keys.current.clone()))
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
            Action::List(List::Github { place, common }) => github::list(place, common).await,
            Action::List(List::Taiga { place, common }) => taiga::list(place, common).await,
            Action::Create(Create::Github { org, repo, wish, common, secrets }) => {
                github::create((org, repo.as_deref()), wish, common, secrets).await
            }
            Action::Create(Create::Taiga { slug, wish, common, secrets }) => {
                taiga::create(slug, wish, common, secrets).await
            }
            Action::Delete(Delete::Github { place, which, common }) => github::delete(place, which, common).await,
            Action::Delete(Delete::Taiga { place, which, common }) => taiga::delete(place, which, common).await,
        };
        let again = "what was done stays; the same command does the rest";
        ended.map_or_else(|halt: Halt| halt.end(again), |()| Ok(Exit::Done))
    })
    .await
}

/// Says at the end of a removal what was left.
fn removed(which: &Which, hooks: usize, failed: usize) -> Result<(), Halt> {
    let hooks = hooks as u64;
    match (which.yes, failed) {
        (_, 1..) => Err(Halt::Failed(format!(
            "{failed} of {} could not be removed; what the providers said is above",
            counted(hooks, "hook", "hooks")
        ))),
        (true, 0) => {
            tell(format_args!("removed {}", counted(hooks, "hook", "hooks")));
            Ok(())
        }
        (false, 0) => {
            tell(format_args!("{} would be removed; add --yes to do it", counted(hooks, "hook", "hooks")));
            Ok(())
        }
    }
}
