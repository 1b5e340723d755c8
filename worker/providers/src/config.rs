//! Settings of the look-ups.

use std::num::NonZeroUsize;

use clap::Args;
use reqwest::Url;
use shared::secret::Secret;

/// How GitHub and Taiga are reached. A course in the credentials file may have a token and an account of its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Look-ups")]
pub struct EnrichArgs {
    /// GitHub's API; of GitHub Enterprise it ends in /api/v3.
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com", value_parser = api_url)]
    pub github_api_url: String,
    /// Taiga's API, with its version.
    #[arg(long, env = "TAIGA_API_URL", default_value = "https://api.taiga.io/api/v1", value_parser = api_url)]
    pub taiga_api_url: String,
    /// Token for look-ups at GitHub, where a course has none.
    #[arg(long, env = "GITHUB_TOKEN", hide_env_values = true)]
    pub github_token: Option<Secret>,
    /// Account for look-ups at Taiga, where a course has none; needs TAIGA_PASSWORD too.
    #[arg(long, env = "TAIGA_USERNAME")]
    pub taiga_username: Option<String>,
    /// Password of that account.
    #[arg(long, env = "TAIGA_PASSWORD", hide_env_values = true)]
    pub taiga_password: Option<Secret>,
    /// How many look-ups are worked on at the same time; each provider gets four requests at once at most.
    #[arg(long, env = "ENRICH_CONCURRENCY", default_value = "16", value_parser = places)]
    pub enrich_concurrency: NonZeroUsize,
}

/// A URL of scheme, host, port and path only: paths are appended to it.
fn api_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("it is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("it must be an address alone, without user, password, ? and #".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn places(text: &str) -> Result<NonZeroUsize, String> {
    let wrong = || "it must be a number from 1 to 1000".to_owned();
    text.parse().ok().filter(|places: &NonZeroUsize| places.get() <= 1000).ok_or_else(wrong)
}
