//! Settings of the look-ups.

use std::num::NonZeroUsize;

use clap::Args;
use reqwest::Url;
use shared::secret::Secret;

const TAIGA_VERSION: &str = "/api/v1";

const TAIGA: &str = "https://api.taiga.io/api/v1";

/// How GitHub and Taiga are reached. A course in the credentials file may have a token and an account of its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Look-ups")]
pub struct EnrichArgs {
    /// GitHub's API; of GitHub Enterprise it ends in /api/v3.
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com", value_parser = api_url)]
    pub github_api_url: String,
    /// Taiga's API; `https://api.taiga.io/api/v1` if unset. /api/v1 is added where it is missing. Where it is set and
    /// there is no account and no token, Taiga is asked without a token.
    #[arg(long, env = "TAIGA_API_URL", value_parser = taiga_url)]
    pub taiga_api_url: Option<String>,
    /// Taiga's API for logging in; TAIGA_API_URL if unset.
    #[arg(long, env = "TAIGA_AUTH_URL", value_parser = taiga_url)]
    pub taiga_auth_url: Option<String>,
    /// Token for look-ups at GitHub, where a course has none.
    #[arg(long, env = "GITHUB_TOKEN", hide_env_values = true)]
    pub github_token: Option<Secret>,
    /// Account for look-ups at Taiga, where a course has none; needs TAIGA_PASSWORD too.
    #[arg(long, env = "TAIGA_USERNAME")]
    pub taiga_username: Option<String>,
    /// Password of that account.
    #[arg(long, env = "TAIGA_PASSWORD", hide_env_values = true)]
    pub taiga_password: Option<Secret>,
    /// Token for look-ups at Taiga, used as it is, where there is no account. Taiga's own tokens expire after a day.
    #[arg(long, env = "TAIGA_TOKEN", hide_env_values = true)]
    pub taiga_token: Option<Secret>,
    /// How many look-ups are worked on at the same time; each provider gets four requests at once at most.
    #[arg(long, env = "ENRICH_CONCURRENCY", default_value = "16", value_parser = slots)]
    pub enrich_concurrency: NonZeroUsize,
}

impl EnrichArgs {
    /// Taiga's API, with its version.
    #[must_use]
    pub fn taiga_api(&self) -> &str {
        self.taiga_api_url.as_deref().unwrap_or(TAIGA)
    }

    /// Taiga's API for logging in, with its version.
    #[must_use]
    pub fn taiga_auth(&self) -> &str {
        self.taiga_auth_url.as_deref().unwrap_or_else(|| self.taiga_api())
    }
}

/// The address of an API cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidUrl {
    #[error("it is not an address: {0}")]
    NoUrl(String),
    #[error("it must begin with http:// or https://")]
    Scheme,
    #[error("it must be an address alone, without user, password, ? and #")]
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be a number from 1 to 1000")]
struct InvalidSlots;

/// A URL of scheme, host, port and path only: paths are appended to it.
fn api_url(text: &str) -> Result<String, InvalidUrl> {
    let url = Url::parse(text).map_err(|error| InvalidUrl::NoUrl(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(InvalidUrl::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidUrl::More);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Taiga's API with its version, also where only the server is given, or the address of its login.
fn taiga_url(text: &str) -> Result<String, InvalidUrl> {
    let url = api_url(text)?;
    let url = url.strip_suffix("/auth").unwrap_or(&url);
    Ok(if url.ends_with(TAIGA_VERSION) { url.to_owned() } else { format!("{url}{TAIGA_VERSION}") })
}

fn slots(text: &str) -> Result<NonZeroUsize, InvalidSlots> {
    text.parse().ok().filter(|slots: &NonZeroUsize| slots.get() <= 1000).ok_or(InvalidSlots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taigas_address_may_be_given_with_or_without_its_version() {
        for given in
            ["https://t.example", "https://t.example/", "https://t.example/api/v1", "https://t.example/api/v1/auth"]
        {
            assert_eq!(taiga_url(given).unwrap(), "https://t.example/api/v1", "{given}");
        }
        assert_eq!(taiga_url("http://t.example:9/sub").unwrap(), "http://t.example:9/sub/api/v1");
        assert!(taiga_url("https://u:hush@t.example").is_err());
    }
}
