//! Asking GitHub and Taiga for a person who waits: pages, pauses, refusals, and Ctrl-C at any moment.
//!
//! Requests go out through the same clients as look-ups, one at a time, and a limit is waited for, aloud. Reading
//! order: whose token is asked with (here), then `hub` and `board`.

mod hub;
mod board;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use shared::config::CredentialsArgs;
use shared::credentials::{self, Handle};
use shared::ids::Project;
use tokio_util::sync::CancellationToken;

pub use self::board::{Board, no_project};
pub use self::hub::Hub;
use super::terminal::{Exit, Interrupt, tell};
use worker_providers::client::ProviderReply;
use worker_providers::config::EnrichArgs;
use worker_providers::github::GithubClient;
use worker_providers::report::Reporter;
use worker_providers::taiga::TaigaClient;
use worker_providers::tokens::{Account, Token};
use worker_providers::{ProviderError, Tokens};

/// After how many failures in a row a provider counts as down. Their pauses grow to a minute.
const FAILURES: u32 = 8;

/// How long an answer may take: Taiga's whole lists take longer than what a look-up asks.
const PATIENCE: Duration = Duration::from_secs(60);

/// From which wait on it is said that somebody waits.
const NOTABLE: Duration = Duration::from_secs(3);

/// Why a command ends before its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    /// Ctrl-C, or SIGTERM.
    Interrupted,
    /// This went wrong; what to do is in it.
    Failed(String),
}

impl From<String> for Halt {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

impl Halt {
    /// As the command's end: an interruption says how to go on.
    ///
    /// # Errors
    /// What failed.
    pub fn end(self, how_to_go_on: &str) -> Result<Exit, String> {
        match self {
            Self::Interrupted => {
                tell(format_args!("interrupted: {how_to_go_on}"));
                Ok(Exit::Interrupted)
            }
            Self::Failed(error) => Err(error),
        }
    }
}

/// Where the providers are and with whose tokens they are asked.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    #[command(flatten)]
    credentials: CredentialsArgs,
    #[command(flatten)]
    enrich: EnrichArgs,
}

/// The providers, and everybody's tokens.
#[derive(Debug)]
pub struct Remote {
    args: EnrichArgs,
    /// The teachers' file.
    pub courses: Handle,
    tokens: Tokens,
    /// Cancelled at Ctrl-C and SIGTERM.
    pub stop: CancellationToken,
}

impl RemoteArgs {
    /// Reads the teachers' file.
    ///
    /// # Errors
    /// When a setting is wrong; the text names it.
    pub fn open(&self) -> Result<Remote, String> {
        let (courses, _) = credentials::open(&self.credentials.credentials_file).map_err(|error| error.to_string())?;
        let tokens = Tokens::new(courses.clone(), &self.enrich)?;
        Ok(Remote { args: self.enrich.clone(), courses, tokens, stop: Interrupt::listen().soft })
    }
}

impl Remote {
    /// GitHub with a project's token; without a project with the only token there is, or the default one.
    ///
    /// # Errors
    /// When there is none, or too many; the text says what to set.
    pub fn hub(&self, project: Option<&Project>) -> Result<Hub, String> {
        let token = match project {
            Some(project) => self.tokens.github(project).ok_or_else(|| {
                format!("there is no token for {project}: set GITHUB_TOKEN, or github_token of its course in the teachers' file")
            })?,
            None => one(self.tokens.all_github(), |token| token.credential.label == "default")
                .map_err(|many| format!("{}: set GITHUB_TOKEN, or say whose with --prj", none_or(many, "token")))?,
        };
        self.hub_of(token)
    }

    /// GitHub once with each token there is.
    ///
    /// # Errors
    /// When there is none.
    pub fn hubs(&self) -> Result<Vec<Hub>, String> {
        let all: Vec<Hub> = self.tokens.all_github().into_iter().map(|t| self.hub_of(t)).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("there is no token: set GITHUB_TOKEN, or github_token in the teachers' file".to_owned());
        }
        Ok(all)
    }

    fn hub_of(&self, token: Token) -> Result<Hub, String> {
        let github = GithubClient::new(&self.args.github_api_url, Reporter::silent()).map_err(|error| error.to_string())?;
        Ok(Hub { github: Arc::new(github), token, stop: self.stop.clone() })
    }

    /// Taiga with a project's account; without a project with the only account there is, or the default one.
    ///
    /// # Errors
    /// When there is none, or too many; the text says what to set.
    pub fn board(&self, project: Option<&Project>) -> Result<Board, String> {
        let account = match project {
            Some(project) => self.tokens.taiga(project).ok_or_else(|| {
                format!("there is no account for {project}: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password of its course in the teachers' file")
            })?,
            None => one(self.tokens.all_taiga(), |account| account.credential.label == "default").map_err(|many| {
                format!("{}: set TAIGA_USERNAME and TAIGA_PASSWORD, or say whose with --prj", none_or(many, "account"))
            })?,
        };
        self.board_of(account)
    }

    /// Taiga once with each account there is.
    ///
    /// # Errors
    /// When there is none.
    pub fn boards(&self) -> Result<Vec<Board>, String> {
        let all: Vec<Board> =
            self.tokens.all_taiga().into_iter().map(|a| self.board_of(a)).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("there is no account: set TAIGA_USERNAME and TAIGA_PASSWORD, or taiga_user and taiga_password in the teachers' file".to_owned());
        }
        Ok(all)
    }

    fn board_of(&self, account: Account) -> Result<Board, String> {
        let taiga = TaigaClient::new(&self.args.taiga_api_url, Reporter::silent()).map_err(|error| error.to_string())?;
        Ok(Board { taiga: Arc::new(taiga), account, stop: self.stop.clone() })
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

fn with(request: RequestBuilder, body: Option<&Value>) -> RequestBuilder {
    let request = request.timeout(PATIENCE);
    match body {
        Some(body) => request.json(body),
        None => request,
    }
}

/// Asks until there is an answer: waits at limits, tries again after failures, gives up at a refusal.
async fn patiently(
    provider: &str,
    stop: &CancellationToken,
    most: u32,
    ask: impl AsyncFn() -> Result<ProviderReply, ProviderError>,
) -> Result<ProviderReply, Halt> {
    let mut failures = 0;
    loop {
        let answer = stop.run_until_cancelled(ask()).await.ok_or(Halt::Interrupted)?;
        let wait = match answer {
            Ok(reply) => return Ok(reply),
            Err(ProviderError::Limited(wait)) => wait,
            Err(ProviderError::Unavailable(error)) => {
                failures += 1;
                if failures >= most {
                    return Err(Halt::Failed(format!(
                        "{provider} fails ({failures} times in a row, at last: {error}); run the same command again later"
                    )));
                }
                tell(format_args!("{provider} fails ({error}); trying again"));
                // How long is the client's affair: its next answer says it.
                Duration::ZERO
            }
            Err(ProviderError::Refused(error) | ProviderError::Unreadable(error)) => return Err(Halt::Failed(error)),
        };
        if wait >= NOTABLE {
            tell(format_args!("{provider} asks for a pause of {} s", wait.as_secs()));
        }
        stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(Halt::Interrupted)?;
    }
}

/// An answer as JSON; `None` when it says that there is nothing (404, 410, GitHub's 409 of an empty repository).
fn read(provider: &str, path: &str, reply: &ProviderReply) -> Result<Option<Value>, Halt> {
    match reply.status {
        status if status.is_success() => serde_json::from_slice(&reply.body)
            .map(Some)
            .map_err(|error| Halt::Failed(format!("{provider}'s answer to {path} cannot be read: {error}"))),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => Ok(None),
        _ => Err(refused(provider, path, reply)),
    }
}

/// What a provider said to a request that it did not do.
#[must_use]
pub fn refused(provider: &str, what: &str, reply: &ProviderReply) -> Halt {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let said = ["message", "_error_message", "detail"].iter().find_map(|name| body.get(*name)?.as_str()).unwrap_or("");
    Halt::Failed(format!(
        "{provider} answered {} to {what}: {said}; check that the token or account may do this",
        reply.status
    ))
}

/// Reads the name of an organisation, a repository or a project's slug: it becomes part of an address.
///
/// # Errors
/// When it cannot be one; the text shows what would be right.
pub fn name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=200).contains(&text.len()) && text.bytes().all(good) && !text.bytes().all(|byte| byte == b'.') {
        return Ok(text.to_owned());
    }
    Err("write the name alone, of letters, digits, -, _ and ., such as upc-pes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        assert_eq!(name("upc-pes.2026_a"), Ok("upc-pes.2026_a".to_owned()));
        for bad in ["", "..", "a/b", "a?b", "a b", "https://github.example/a"] {
            assert!(name(bad).unwrap_err().contains("such as upc-pes"), "{bad}");
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
