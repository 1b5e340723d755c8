//! Arguments of the commands on hooks: where hooks are, which ones, and how they are to be.

use clap::{ArgGroup, Args};
use reqwest::Url;
use shared::config::SignatureArgs;
use shared::credentials::DefaultKeys;
use shared::ids::{Project, QualityModel};
use shared::secret::Secret;
use shared::source::Source;
use worker_reconcile::hook_url::{hook_url, model_of, project_of};

use crate::args::hook_url::PublicUrlArgs;
use crate::clients::{ClientArgs, Clients, name};
use crate::terminal::{CommandError, Output};

/// What all of them have.
#[derive(Debug, Args)]
pub(super) struct HookArgs {
    #[command(flatten)]
    pub(super) url: PublicUrlArgs,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

/// Where hooks are looked for at GitHub.
#[derive(Debug, Args)]
pub(super) struct GithubPlace {
    /// Of this organisation (or person) and its repositories; else wherever one of our tokens administers.
    #[arg(long, value_parser = name)]
    pub(super) org: Option<String>,
    /// Only of this repository.
    #[arg(long, value_parser = name, requires = "org")]
    pub(super) repo: Option<String>,
}

/// Where webhooks are looked for at Taiga.
#[derive(Debug, Args)]
pub(super) struct TaigaPlace {
    /// Of this project; else of every project that one of our accounts administers.
    #[arg(long, value_parser = name)]
    pub(super) slug: Option<String>,
}

/// How a hook is to be.
#[derive(Debug, Args)]
pub(super) struct DesiredHook {
    /// Whose hook: the prj of its address.
    #[arg(long)]
    pub(super) prj: Project,
    /// The quality model of its address; without it the one that the hook has, or for a new hook its course's.
    #[arg(long)]
    pub(super) quality_model: Option<QualityModel>,
    /// No quality model in its address.
    #[arg(long, conflicts_with = "quality_model")]
    pub(super) no_quality_model: bool,
    /// Also set the secret of a hook that looks right: GitHub does not show which one it has.
    #[arg(long)]
    pub(super) set_secret: bool,
    /// Print what would be done, and whether the token or account may do it. Do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Where the new or the fixed hook leads, and with which secret.
pub(super) struct Target {
    pub(super) source: Source,
    pub(super) base: Url,
    pub(super) secret: Secret,
    /// The quality model of the course.
    pub(super) model: Option<QualityModel>,
}

/// Which hooks to remove.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["prj", "all"])))]
pub(super) struct HookFilter {
    /// Those of this project.
    #[arg(long)]
    pub(super) prj: Option<Project>,
    /// All our hooks, of every project.
    #[arg(long)]
    pub(super) all: bool,
    /// Print what would be removed and remove nothing; the same as leaving out --yes.
    #[arg(long, conflicts_with = "yes")]
    pub(super) dry_run: bool,
    /// Really do it.
    #[arg(long)]
    pub(super) yes: bool,
}

impl HookFilter {
    pub(super) fn takes(&self, address: &str) -> bool {
        self.prj.as_ref().is_none_or(|prj| project_of(address).as_deref() == Some(prj.as_str()))
    }
}

impl HookArgs {
    pub(super) fn open(&self) -> Result<(Clients, Url), CommandError> {
        Ok((self.clients.open()?, self.url.required()?))
    }
}

impl DesiredHook {
    /// Where it is to lead, and the secret.
    pub(super) fn target(
        &self,
        source: Source,
        clients: &Clients,
        base: Url,
        secrets: &SignatureArgs,
    ) -> Result<Target, CommandError> {
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
        let model = courses.course_of(&self.prj).and_then(|course| course.quality_model.clone());
        Ok(Target { source, base, secret: key.secret, model })
    }

    /// The address: with the quality model that was asked for, else that of the existing hook or, for a new one, the
    /// course's.
    pub(super) fn address(&self, target: &Target, existing: Option<&str>) -> String {
        let kept = || existing.map_or_else(|| target.model.clone(), model_of);
        let model = if self.no_quality_model { None } else { self.quality_model.clone().or_else(kept) };
        hook_url(&target.base, target.source, &self.prj, model.as_ref())
    }

    /// Whether this hook is the one that is meant: of this project, or of none at all.
    pub(super) fn means(&self, address: &str) -> bool {
        project_of(address).is_none_or(|prj| prj == self.prj.as_str())
    }
}
