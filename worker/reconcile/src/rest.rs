//! The commits that a push did not name, because GitHub names 2,048 at most: its repository is compared at once, and not
//! only in the night.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::ids::Project;
use shared::source::Source;
use tokio_util::sync::CancellationToken;
use worker_core::enrich::Rest;
use worker_providers::ProviderError;

use crate::client::{Asking, Halt, Share};
use crate::place::{self, GithubPlace};
use crate::reconciler::Reconciler;
use crate::scope::{Depth, GithubKind, Scope};

/// After how long it is tried again when MongoDB or NATS does not answer.
const RETRY: Duration = Duration::from_secs(10);

impl Rest for Reconciler {
    fn read<'a>(&'a self, prj: &'a Project, repo: &'a str) -> BoxFuture<'a, Result<bool, ProviderError>> {
        self.commits_of(prj, repo).map(|made| made.map_err(as_provider_error)).boxed()
    }
}

impl Reconciler {
    async fn commits_of(&self, prj: &Project, repo: &str) -> Result<bool, Halt> {
        // The look-up is dropped when it is to stop.
        let asking = Asking::new(CancellationToken::new(), Share::Half, |text| tracing::debug!("{text}"));
        let Some(api) = self.github_api(prj, &asking) else { return Ok(false) };
        let named = place::named(&self.courses.courses(), Source::Github, prj);
        let is_theirs = match named.is_empty() {
            true => place::is_hooked(&api, repo, prj, self.public_url.as_ref()).await?,
            false => named.iter().any(|place| GithubPlace::of(place).holds(repo)),
        };
        if !is_theirs {
            tracing::info!(
                prj = prj.as_str(),
                repo,
                "a push has more commits than GitHub names; its repository is no place of the team's, so it is not read"
            );
            return Ok(false);
        }
        let scope = Scope { github: [GithubKind::Commits].into(), ..Scope::everything(prj.clone(), Depth::All) };
        self.github(&self.with_model(&scope).await?, &GithubPlace::of(repo), &api).await?;
        self.finish(prj, &asking).await?;
        Ok(true)
    }
}

fn as_provider_error(halt: Halt) -> ProviderError {
    match halt {
        Halt::Later(wait) => ProviderError::Limited(wait),
        Halt::Stopped => ProviderError::Limited(RETRY),
        Halt::Down { .. } => ProviderError::Unavailable(halt.to_string()),
        Halt::Failed { .. } => ProviderError::Refused(halt.to_string()),
    }
}
