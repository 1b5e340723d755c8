//! The secret in the links to teams' check pages.

use clap::Args;

use crate::secret::Secret;

/// Of what the links to teams' check pages are made.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Team pages")]
pub struct TeamPageArgs {
    /// Secret of which the links to teams' check pages are made; unset, the secret for GitHub of the course, or the
    /// default one, or else the same of Taiga.
    #[arg(long, env = "TEAM_PAGES_SECRET", hide_env_values = true)]
    pub team_pages_secret: Option<Secret>,
    /// The secret that it replaced: links made of it still work.
    #[arg(long, env = "TEAM_PAGES_SECRET_PREVIOUS", hide_env_values = true)]
    pub team_pages_secret_previous: Option<Secret>,
}
