//! One team, at both providers.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Url;
use shared::credentials::Handle;
use shared::ids::Project;
use shared::source::Source;
use worker_providers::Tokens;
use worker_providers::github::GithubClient;
use worker_providers::taiga::TaigaClient;
use worker_providers::tokens::{Login, Token};

use crate::client::{Asking, GithubApi, Halt, TaigaApi};
use crate::kept::KeptPages;
use crate::parts::Parts;
use crate::place::{self, GithubPlace};
use crate::report::{Finding, Report};
use crate::scope::Scope;
use crate::settle;
use crate::stored;
use crate::team;

/// Reconciles teams.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// Streams and documents.
    pub parts: Parts,
    pub courses: Handle,
    pub tokens: Tokens,
    pub github: Arc<GithubClient>,
    pub taiga: Arc<TaigaClient>,
    /// Where the providers find ingress.
    pub public_url: Option<Url>,
}

impl Reconciler {
    /// GitHub with a project's token.
    #[must_use]
    pub fn github_api(&self, prj: &Project, asking: &Asking) -> Option<GithubApi> {
        let Parts { jetstream, topology, others, .. } = &self.parts;
        let kept = KeptPages::new(jetstream.clone(), topology.clone(), others.clone());
        let token = self.tokens.github(prj)?;
        Some(GithubApi { github: Arc::clone(&self.github), token, asking: asking.clone(), kept: Some(kept) })
    }

    /// GitHub with a token from a request. Its answers are not stored for others.
    #[must_use]
    pub fn github_with(&self, token: Token, asking: &Asking) -> Option<GithubApi> {
        Some(GithubApi { github: Arc::clone(&self.github), token, asking: asking.clone(), kept: None })
    }

    /// Taiga with a project's account.
    #[must_use]
    pub fn taiga_api(&self, prj: &Project, asking: &Asking) -> Option<TaigaApi> {
        let account = self.tokens.taiga(prj)?;
        Some(TaigaApi { taiga: Arc::clone(&self.taiga), account, asking: asking.clone() })
    }

    /// Every team of the credentials file, and every project that has documents.
    ///
    /// # Errors
    /// When MongoDB cannot be read.
    pub async fn teams(&self) -> Result<Vec<Project>, Halt> {
        let courses = self.courses.courses();
        let mut teams: BTreeSet<Project> = courses.iter().flat_map(|course| course.teams.clone()).collect();
        teams.extend(stored::projects(self.parts.store.database()).await?);
        Ok(teams.into_iter().collect())
    }

    /// Reconciles a team at one provider, and publishes what differs. [`Self::finish`] notifies LD Eval.
    ///
    /// # Errors
    /// When a server does not answer, or at a stop.
    pub async fn source(&self, scope: &Scope, source: Source, asking: &Asking) -> Result<Report, Halt> {
        let scope = &self.with_model(scope).await?;
        let mut report = Report::default();
        let mut findings = Vec::new();
        match source {
            Source::Github => {
                let Some(api) = self.github_api(&scope.prj, asking) else { return Ok(self.no_token(scope, source)) };
                let mut places: Vec<GithubPlace> =
                    self.named(source, &scope.prj).iter().map(|place| GithubPlace::of(place)).collect();
                if places.is_empty() {
                    let found =
                        place::hooked_repositories(&self.parts, &api, &scope.prj, self.public_url.as_ref()).await?;
                    (places, findings) = (found.places, found.findings);
                }
                for place in places {
                    report.extend(self.github(scope, &place, &api).await?);
                }
            }
            Source::Taiga => {
                let Some(api) = self.taiga_api(&scope.prj, asking) else { return Ok(self.no_token(scope, source)) };
                let mut slugs = self.named(source, &scope.prj);
                if slugs.is_empty() {
                    // Taiga shows hooks to members only.
                    if matches!(api.account.login, Login::Anonymous) {
                        return Ok(report);
                    }
                    let found = place::hooked_projects(&self.parts, &api, &scope.prj, self.public_url.as_ref()).await?;
                    (slugs, findings) = (found.places, found.findings);
                }
                for slug in slugs {
                    report.extend(self.taiga(scope, &slug, &api).await?);
                }
            }
            // A sheet has no API that we may use.
            Source::Excel => {}
        }
        let finding = |finding| Finding { prj: scope.prj.clone(), source, finding };
        report.findings.extend(findings.into_iter().map(finding));
        Ok(report)
    }

    /// Reconciles a team with a place at GitHub.
    ///
    /// # Errors
    /// When a server does not answer, or at a stop.
    pub async fn github(&self, scope: &Scope, place: &GithubPlace, api: &GithubApi) -> Result<Report, Halt> {
        team::github::reconcile(&self.parts, api, scope, &place.owner, place.name.as_deref()).await
    }

    /// Reconciles a team with a Taiga project.
    ///
    /// # Errors
    /// When a server does not answer, or at a stop.
    pub async fn taiga(&self, scope: &Scope, slug: &str, api: &TaigaApi) -> Result<Report, Halt> {
        team::taiga::reconcile(&self.parts, api, scope, slug).await
    }

    /// Notifies LD Eval of what was published, once it is processed.
    ///
    /// # Errors
    /// When NATS or MongoDB does not answer, or at a stop.
    pub async fn finish(&self, prj: &Project, asking: &Asking) -> Result<(), Halt> {
        settle::notify(&self.parts, prj, &asking.stop, asking.notice).await
    }

    /// The same with a quality model: the given one, else the course's, else the newest event's.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn with_model(&self, scope: &Scope) -> Result<Scope, Halt> {
        let mut scope = scope.clone();
        if scope.quality_model.is_none() {
            scope.quality_model = self.parts.quality_model(&self.courses, &scope.prj).await?;
        }
        Ok(scope)
    }

    fn named(&self, source: Source, prj: &Project) -> Vec<String> {
        place::named(&self.courses.courses(), source, prj)
    }

    fn no_token(&self, scope: &Scope, source: Source) -> Report {
        // A team without a place at this provider needs no token for it.
        if self.named(source, &scope.prj).is_empty() {
            return Report::default();
        }
        let (what, variables) = match source {
            Source::Github => {
                ("token for GitHub", "github_token of its course in the credentials file, or GITHUB_TOKEN")
            }
            _ => (
                "account for Taiga",
                "taiga_user and taiga_password of its course in the credentials file, or TAIGA_USERNAME and TAIGA_PASSWORD",
            ),
        };
        let finding = format!("{} has a place and no {what}: set {variables}", scope.prj);
        Report { findings: vec![Finding { prj: scope.prj.clone(), source, finding }], ..Report::default() }
    }
}
