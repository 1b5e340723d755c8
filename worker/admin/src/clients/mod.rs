//! GitHub and Taiga for commands: pages, rate limits, refusals, and Ctrl-C at any moment.
//!
//! Requests use the same clients as look-ups, one at a time. A rate limit is waited for, with a notice. Reading order:
//! the tokens (here), one request (`asking`), then `github` and `taiga`; how they send to us ([`webhook`]).

mod asking;
mod github;
mod taiga;
pub mod webhook;

use std::sync::Arc;

use clap::Args;
use shared::config::CredentialsArgs;
use shared::credentials::{self, Course, Handle};
use shared::ids::Project;
use shared::source::Source;
use tokio_util::sync::CancellationToken;

pub use self::asking::refused;
pub use self::github::GithubClient;
pub use self::taiga::{TaigaClient, no_project};
use crate::args::InvalidArg;
use crate::terminal::{CommandError, Interrupt};
use worker_providers::Tokens;
pub use worker_providers::asking::{GITHUB, TAIGA};
use worker_providers::config::EnrichArgs;
use worker_providers::report::Reporter;
use worker_providers::tokens::{Account, Token};

/// The addresses of the providers, and the tokens.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    #[command(flatten)]
    credentials: CredentialsArgs,
    #[command(flatten)]
    enrich: EnrichArgs,
}

/// The providers, and all tokens.
#[derive(Debug)]
pub struct Clients {
    args: EnrichArgs,
    pub courses: Handle,
    tokens: Tokens,
    /// Cancelled at Ctrl-C and SIGTERM.
    pub stop: CancellationToken,
}

impl ClientArgs {
    /// Reads the credentials file.
    ///
    /// # Errors
    /// When a setting is wrong; the text names it.
    pub fn open(&self) -> Result<Clients, CommandError> {
        let (courses, _) = credentials::open(&self.credentials.credentials_file).map_err(CommandError::usage)?;
        let tokens = Tokens::new(courses.clone(), &self.enrich).map_err(CommandError::usage)?;
        Ok(Clients { args: self.enrich.clone(), courses, tokens, stop: Interrupt::listen().soft })
    }
}

impl Clients {
    /// GitHub with a project's token; without a project with the only token there is, or the default one.
    ///
    /// # Errors
    /// When there is none, or too many; the text says what to set.
    pub fn github(&self, project: Option<&Project>) -> Result<GithubClient, CommandError> {
        let token = match project {
            Some(project) => self.tokens.github(project).ok_or_else(|| {
                CommandError::usage(format_args!("there is no token for {project}: set GITHUB_TOKEN, or github_token of its course in the credentials file"))
            })?,
            None => one(self.tokens.all_github(), |token| token.credential.label == "default")
                .map_err(|many| CommandError::usage(format_args!("{}: set GITHUB_TOKEN, or say whose with --prj", none_or(many, "token"))))?,
        };
        self.github_of(token)
    }

    /// GitHub once with each token there is.
    ///
    /// # Errors
    /// When there is none.
    pub fn all_github(&self) -> Result<Vec<GithubClient>, CommandError> {
        let all: Vec<GithubClient> =
            self.tokens.all_github().into_iter().map(|t| self.github_of(t)).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(CommandError::usage(
                "there is no token: set GITHUB_TOKEN, or github_token in the credentials file",
            ));
        }
        Ok(all)
    }

    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Where the teams of a client's token live at GitHub, as the credentials file says it.
    #[must_use]
    pub fn places_of(&self, github: &GithubClient) -> Vec<String> {
        let courses = self.courses.courses();
        let is_its = |team: &Project| {
            self.tokens.github(team).is_some_and(|token| token.credential.id == github.token.credential.id)
        };
        let of_course = |course: &Course| {
            let teams = course.teams.iter().filter(|team| is_its(team));
            teams.flat_map(|team| course.places(Source::Github, team).to_vec()).collect::<Vec<_>>()
        };
        courses.iter().flat_map(of_course).collect()
    }

    /// Both providers.
    ///
    /// # Errors
    /// When an HTTP client cannot be made.
    pub fn providers(
        &self,
    ) -> Result<(worker_providers::github::GithubClient, worker_providers::taiga::TaigaClient), CommandError> {
        let github = worker_providers::github::GithubClient::new(&self.args.github_api_url, Reporter::silent())
            .map_err(CommandError::usage)?;
        Ok((
            github,
            worker_providers::taiga::TaigaClient::new(
                self.args.taiga_api(),
                self.args.taiga_auth(),
                Reporter::silent(),
            )
            .map_err(CommandError::usage)?,
        ))
    }

    fn github_of(&self, token: Token) -> Result<GithubClient, CommandError> {
        let github = worker_providers::github::GithubClient::new(&self.args.github_api_url, Reporter::silent())
            .map_err(CommandError::usage)?;
        Ok(GithubClient { github: Arc::new(github), token, stop: self.stop.clone() })
    }

    /// Taiga with a project's account; without a project with the only account there is, or the default one.
    ///
    /// # Errors
    /// When there is none, or too many; the text says what to set.
    pub fn taiga(&self, project: Option<&Project>) -> Result<TaigaClient, CommandError> {
        let account = match project {
            Some(project) => self.tokens.taiga(project).ok_or_else(|| {
                CommandError::usage(format_args!("there is no account for {project}: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password of its course in the credentials file"))
            })?,
            None => one(self.tokens.all_taiga(), |account| account.credential.label == "default").map_err(|many| {
                CommandError::usage(format_args!("{}: set TAIGA_USERNAME and TAIGA_PASSWORD, or say whose with --prj", none_or(many, "account")))
            })?,
        };
        self.taiga_of(account)
    }

    /// Taiga once with each account there is.
    ///
    /// # Errors
    /// When there is none.
    pub fn all_taiga(&self) -> Result<Vec<TaigaClient>, CommandError> {
        let all: Vec<TaigaClient> =
            self.tokens.all_taiga().into_iter().map(|a| self.taiga_of(a)).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(CommandError::usage(
                "there is no account: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password in the credentials file",
            ));
        }
        Ok(all)
    }

    fn taiga_of(&self, account: Account) -> Result<TaigaClient, CommandError> {
        let taiga = worker_providers::taiga::TaigaClient::new(
            self.args.taiga_api(),
            self.args.taiga_auth(),
            Reporter::silent(),
        )
        .map_err(CommandError::usage)?;
        Ok(TaigaClient { taiga: Arc::new(taiga), account, stop: self.stop.clone() })
    }
}

/// The preferred one, or the only one.
fn one<T>(mut all: Vec<T>, preferred: impl Fn(&T) -> bool) -> Result<T, usize> {
    if let Some(index) = all.iter().position(preferred) {
        return Ok(all.swap_remove(index));
    }
    if all.len() > 1 {
        return Err(all.len());
    }
    all.pop().ok_or(0)
}

fn none_or(count: usize, what: &str) -> String {
    if count == 0 { format!("there is no {what}") } else { format!("{count} courses have a {what} of their own") }
}

/// Reads the name of an organisation, a repository or a project's slug: it becomes part of an address.
///
/// # Errors
/// When it cannot be one; the text shows what would be right.
pub fn name(text: &str) -> Result<String, InvalidArg> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=200).contains(&text.len()) && text.bytes().all(good) && !text.bytes().all(|byte| byte == b'.') {
        return Ok(text.to_owned());
    }
    Err(InvalidArg("write the name alone, of letters, digits, -, _ and ., such as upc-pes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        assert_eq!(name("upc-pes.2026_a"), Ok("upc-pes.2026_a".to_owned()));
        for bad in ["", "..", "a/b", "a?b", "a b", "https://github.example/a"] {
            assert!(name(bad).unwrap_err().0.contains("such as upc-pes"), "{bad}");
        }
    }

    #[test]
    fn the_default_token_goes_before_the_only_one_and_several_are_too_many() {
        assert_eq!(one(vec!["a", "default"], |name| *name == "default"), Ok("default"));
        assert_eq!(one(vec!["a"], |_| false), Ok("a"));
        assert_eq!(one(vec!["a", "b"], |_| false), Err(2));
        assert_eq!(one(Vec::<&str>::new(), |_| false), Err(0));
    }
}
