//! Asking GitHub and Taiga for a person who waits: pages, pauses, refusals, and Ctrl-C at any moment.
//!
//! Requests go out through the same clients as look-ups, one at a time, and a limit is waited for, aloud.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use shared::config::CredentialsArgs;
use shared::credentials::{self, Handle};
use shared::ids::Project;
use tokio_util::sync::CancellationToken;

use super::terminal::{Exit, Interrupt, tell};
use crate::config::EnrichArgs;
use crate::enrich::api::Reply;
use crate::enrich::github::Github;
use crate::enrich::taiga::Taiga;
use crate::enrich::tokens::{Account, Token};
use crate::enrich::{NotYet, Tokens};
use crate::status::Teller;

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
            None => one(self.tokens.all_github(), |token| token.payer.label == "default")
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
        let github = Github::new(&self.args.github_api_url, Teller::silent()).map_err(|error| error.to_string())?;
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
            None => one(self.tokens.all_taiga(), |account| account.payer.label == "default").map_err(|many| {
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
        let taiga = Taiga::new(&self.args.taiga_api_url, Teller::silent()).map_err(|error| error.to_string())?;
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

/// GitHub, asked with one token.
#[derive(Debug, Clone)]
pub struct Hub {
    github: Arc<Github>,
    token: Token,
    stop: CancellationToken,
}

impl Hub {
    /// What is there; `None` when it is not, or not for this token.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Halt> {
        read("GitHub", path, &self.ask(Method::GET, path, None).await?)
    }

    /// The list's first page, from which on it is turned over.
    #[must_use]
    pub fn list(&self, path: String) -> Pages<'_> {
        Pages { hub: self, next: Some(path), lenient: false, read: 0, last: None }
    }

    /// The whole list; `None` when there is none to see.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn all(&self, path: String) -> Result<Option<Vec<Value>>, Halt> {
        self.list(path).rest().await
    }

    /// The whole list; `None` when there is none, or this token may not see it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn all_it_may_see(&self, path: String) -> Result<Option<Vec<Value>>, Halt> {
        Pages { lenient: true, ..self.list(path) }.rest().await
    }

    /// The repository, or all of the organisation or person, as GitHub shows them; `None` when this token sees none.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn visible_repositories(&self, org: &str, repo: Option<&str>) -> Result<Option<Vec<Value>>, Halt> {
        if let Some(repo) = repo {
            return Ok(self.get(&format!("/repos/{org}/{repo}")).await?.map(|found| vec![found]));
        }
        match self.all_it_may_see(format!("/orgs/{org}/repos?per_page=100")).await? {
            // Some teams work under a person's account.
            None => self.all_it_may_see(format!("/users/{org}/repos?per_page=100")).await,
            all => Ok(all),
        }
    }

    /// As [`visible_repositories`](Self::visible_repositories), and none is an error.
    ///
    /// # Errors
    /// When there is none for this token; the text names the argument.
    pub async fn repositories(&self, org: &str, repo: Option<&str>) -> Result<Vec<Value>, Halt> {
        self.visible_repositories(org, repo).await?.ok_or_else(|| {
            Halt::Failed(match repo {
                Some(repo) => format!("--repo: GitHub shows no repository {org}/{repo} to this token; check both names, and that the token may read it"),
                None => format!("--org: GitHub shows no organisation or person {org} to this token; check the name"),
            })
        })
    }

    /// Sends a request until it is answered, whatever the answer.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        self.ask_at_most(FAILURES, method, path, body).await
    }

    /// Sends a request whose repetition would do it twice: of a failure nobody knows whether it was done.
    ///
    /// # Errors
    /// When it cannot be asked, or fails.
    pub async fn ask_once(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        self.ask_at_most(1, method, path, body).await
    }

    async fn ask_at_most(&self, most: u32, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        patiently("GitHub", &self.stop, most, async || {
            let request = |request: RequestBuilder| with(request, body);
            self.github.request(&self.token, "command", (method.clone(), path), request).await
        })
        .await
    }
}

/// A list of GitHub's, page by page.
#[derive(Debug)]
pub struct Pages<'h> {
    hub: &'h Hub,
    next: Option<String>,
    /// A list that this token may not see is none.
    lenient: bool,
    /// How many items were read.
    read: u64,
    /// How many items there are at most, by the number of the last page; lists with cursors do not say it.
    last: Option<u64>,
}

impl Pages<'_> {
    /// The next page; `None` after the last, or when there is no such list.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, Halt> {
        let Some(path) = self.next.take() else { return Ok(None) };
        let reply = self.hub.ask(Method::GET, &path, None).await?;
        self.next = link(&reply.headers, "next");
        self.last = link(&reply.headers, "last").and_then(|last| upper_bound(&last)).or(self.last);
        if self.lenient && reply.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        match read("GitHub", &path, &reply)? {
            Some(Value::Array(items)) => {
                self.read += items.len() as u64;
                Ok(Some(items))
            }
            None => Ok(None),
            Some(_) => Err(Halt::Failed(format!("GitHub's answer to {path} is no list"))),
        }
    }

    /// How many items the list has, as far as its pages have told: on the last one, how many it had.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        if self.next.is_none() { Some(self.read) } else { self.last }
    }

    /// All pages that are left, as one.
    async fn rest(&mut self) -> Result<Option<Vec<Value>>, Halt> {
        let Some(mut all) = self.next().await? else { return Ok(None) };
        while let Some(more) = self.next().await? {
            all.extend(more);
        }
        Ok(Some(all))
    }
}

/// `Link: <https://…>; rel="next", …`
fn link(headers: &HeaderMap, rel: &str) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let rel = format!("rel=\"{rel}\"");
    links.split(',').find_map(|link| {
        let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.split(';').any(|part| part.trim() == rel).then(|| address.to_owned())
    })
}

/// How many items there are at most when this is the address of the last page.
fn upper_bound(last: &str) -> Option<u64> {
    let url = Url::parse(last).ok()?;
    let number = |name: &str| url.query_pairs().find(|(key, _)| key == name)?.1.parse::<u64>().ok();
    number("page")?.checked_mul(number("per_page")?)
}

/// Taiga, asked with one account.
#[derive(Debug, Clone)]
pub struct Board {
    taiga: Arc<Taiga>,
    account: Account,
    stop: CancellationToken,
}

impl Board {
    /// What is there; `None` when it is not, or not for this account.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Halt> {
        read("Taiga", path, &self.ask(Method::GET, path, None).await?)
    }

    /// A whole list: in one answer where Taiga gives one, else page by page.
    ///
    /// # Errors
    /// When it cannot be asked, or is not there.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Halt> {
        let mut all = Vec::new();
        for page in 1_u32.. {
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = if page == 1 { path.to_owned() } else { format!("{path}{joint}page={page}") };
            let reply = self.ask(Method::GET, &path, None).await?;
            let Some(Value::Array(items)) = read("Taiga", &path, &reply)? else {
                return Err(Halt::Failed(format!("Taiga shows no list at {path} to this account")));
            };
            let count = reply.headers.get("x-pagination-count").and_then(|count| count.to_str().ok()?.parse().ok());
            let ended = items.is_empty();
            all.extend(items);
            if ended || count.is_none_or(|count: usize| all.len() >= count) {
                break;
            }
        }
        Ok(all)
    }

    /// The project with this slug, as Taiga shows it in full; `None` when this account does not see one.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn visible_project(&self, slug: &str) -> Result<Option<Value>, Halt> {
        self.get(&format!("/projects/by_slug?slug={slug}")).await
    }

    /// As [`visible_project`](Self::visible_project), and none is an error.
    ///
    /// # Errors
    /// When there is none for this account; the text names `--slug`.
    pub async fn project(&self, slug: &str) -> Result<Value, Halt> {
        self.visible_project(slug).await?.ok_or_else(|| no_project(slug, "this account"))
    }

    /// Sends a request until it is answered, whatever the answer.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        self.ask_at_most(FAILURES, method, path, body).await
    }

    /// Sends a request whose repetition would do it twice: of a failure nobody knows whether it was done.
    ///
    /// # Errors
    /// When it cannot be asked, or fails.
    pub async fn ask_once(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        self.ask_at_most(1, method, path, body).await
    }

    async fn ask_at_most(&self, most: u32, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Halt> {
        patiently("Taiga", &self.stop, most, async || {
            // Lists come whole.
            let request = |request: RequestBuilder| with(request, body).header("x-disable-pagination", "True");
            self.taiga.request(&self.account, "command", (method.clone(), path), request).await
        })
        .await
    }
}

/// The answer to a slug that leads nowhere.
#[must_use]
pub fn no_project(slug: &str, whom: &str) -> Halt {
    Halt::Failed(format!(
        "--slug: Taiga shows no project {slug} to {whom}; a slug is the last part of the project's address, such as mireia-marmota"
    ))
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
    ask: impl AsyncFn() -> Result<Reply, NotYet>,
) -> Result<Reply, Halt> {
    let mut failures = 0;
    loop {
        let answer = stop.run_until_cancelled(ask()).await.ok_or(Halt::Interrupted)?;
        let wait = match answer {
            Ok(reply) => return Ok(reply),
            Err(NotYet::Wait(wait)) => wait,
            Err(NotYet::Failing(error)) => {
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
            Err(NotYet::Refused(error) | NotYet::Unreadable(error)) => return Err(Halt::Failed(error)),
        };
        if wait >= NOTABLE {
            tell(format_args!("{provider} asks for a pause of {} s", wait.as_secs()));
        }
        stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(Halt::Interrupted)?;
    }
}

/// An answer as JSON; `None` when it says that there is nothing (404, 410, GitHub's 409 of an empty repository).
fn read(provider: &str, path: &str, reply: &Reply) -> Result<Option<Value>, Halt> {
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
pub fn refused(provider: &str, what: &str, reply: &Reply) -> Halt {
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
    fn the_next_page_is_where_the_link_says() {
        let next = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, text.parse().unwrap());
            link(&headers, "next")
        };
        let both = r#"<https://x/a?page=2>; rel="next", <https://x/a?page=9>; rel="last""#;
        assert_eq!(next(both).as_deref(), Some("https://x/a?page=2"));
        assert_eq!(next(r#"<https://x/a?page=1>; rel="prev", <https://x/a?page=1>; rel="first""#), None);
        assert_eq!(link(&HeaderMap::new(), "next"), None);
    }

    #[test]
    fn the_last_page_bounds_a_list() {
        assert_eq!(upper_bound("https://x/a?per_page=100&page=9"), Some(900));
        assert_eq!(upper_bound("https://x/a?per_page=100&cursor=v1"), None);
    }

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
