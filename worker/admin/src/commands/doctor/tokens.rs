//! Whether tokens and accounts are valid, and what is left of their rate limits.

use std::collections::HashSet;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use shared::credentials::Courses;
use shared::ids::Project;

use super::checks::Checks;
use crate::terminal::counted;
use worker_providers::Tokens;
use worker_providers::config::EnrichArgs;
use worker_providers::tokens::{Account, Login, Token};

/// A project that is in no course: with the default token.
const NO_COURSE: &str = "-";

/// `GET /rate_limit`
#[derive(Deserialize)]
struct RateLimit {
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    core: Budget,
}

#[derive(Deserialize)]
struct Budget {
    limit: u64,
    remaining: u64,
    reset: i64,
}

/// `POST /auth`, or `GET /users/me`
#[derive(Default, Deserialize)]
struct Me {
    id: Option<i64>,
    auth_token: Option<String>,
}

/// One request to GitHub or Taiga for each token and account.
pub async fn check(
    checks: &mut Checks,
    settings: &EnrichArgs,
    tokens: &Tokens,
    courses: &Courses,
    prj: Option<&Project>,
    http: &reqwest::Client,
) {
    let all = || {
        // One team of each course.
        let teams = courses.iter().filter_map(|course| course.teams.first().cloned());
        teams.chain(Project::new(NO_COURSE).ok()).collect()
    };
    let projects: Vec<Project> = prj.map_or_else(all, |prj| vec![prj.clone()]);
    let (mut github, mut taiga) = (HashSet::new(), HashSet::new());
    for project in &projects {
        if let Some(token) = tokens.github(project)
            && github.insert(token.credential.id.clone())
        {
            ask_github(checks, &settings.github_api_url, &token, http).await;
        }
        if let Some(account) = tokens.taiga(project)
            && taiga.insert(account.credential.id.clone())
        {
            ask_taiga(checks, settings, &account, http).await;
        }
    }
    if github.is_empty() {
        checks.note("GitHub token", "there is none: lines changed and signatures of commits are not looked up");
    }
    if taiga.is_empty() {
        checks.note("Taiga account", "there is none: milestones' figures are not looked up");
    }
}

async fn ask_github(checks: &mut Checks, api: &str, token: &Token, http: &reqwest::Client) {
    const NAME: &str = "GitHub token";
    let whose = whose(&token.credential.label);
    // GitHub does not count this request.
    let asked = http.get(format!("{}/rate_limit", api.trim_end_matches('/'))).bearer_auth(token.secret.expose());
    match asked.send().await {
        Ok(answer) if answer.status().is_success() => match answer.json::<RateLimit>().await {
            Ok(RateLimit { resources: Resources { core: Budget { limit, remaining, reset } } }) => {
                let found = format!("{whose}: {remaining} of {limit} requests left, full again at {}", instant(reset));
                match remaining {
                    0 => checks.bad(NAME, found, "nothing: look-ups wait and go on by themselves"),
                    _ => checks.ok(NAME, found),
                }
            }
            Err(_) => checks.bad(
                NAME,
                format_args!("{whose}: the answer cannot be read"),
                "is GITHUB_API_URL an API of GitHub?",
            ),
        },
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => checks.bad(
            NAME,
            format_args!("{whose} is refused (401): it has expired or was revoked"),
            format_args!(
                "make a new one and put it into {}",
                place(&token.credential.label, "github_token", "GITHUB_TOKEN")
            ),
        ),
        Ok(answer) => {
            checks.bad(NAME, format_args!("{whose}: GitHub answers {}", answer.status()), "try again in a minute")
        }
        Err(_) => checks.bad(
            NAME,
            format_args!("{api} does not answer"),
            "fix GITHUB_API_URL, or this machine's way to it (HTTPS_PROXY)",
        ),
    }
}

async fn ask_taiga(checks: &mut Checks, settings: &EnrichArgs, account: &Account, http: &reqwest::Client) {
    const NAME: &str = "Taiga account";
    let whose = whose(&account.credential.label);
    let (api, asked) = match &account.login {
        Login::Password { username, password } => {
            let login = json!({ "type": "normal", "username": username, "password": password.expose() });
            (settings.taiga_auth(), http.post(format!("{}/auth", settings.taiga_auth())).json(&login))
        }
        Login::Token(token) => {
            (settings.taiga_api(), http.get(format!("{}/users/me", settings.taiga_api())).bearer_auth(token.expose()))
        }
        Login::Anonymous => {
            return checks.note(NAME, format_args!("there is none: {} is asked without a token", settings.taiga_api()));
        }
    };
    match asked.send().await {
        Ok(answer) if answer.status().is_success() => {
            let me: Me = answer.json().await.unwrap_or_default();
            let token = match &account.login {
                Login::Token(token) => Some(token.expose()),
                _ => me.auth_token.as_deref(),
            };
            match projects(settings.taiga_api(), me.id, token, http).await {
                Some(0) => checks.bad(
                    NAME,
                    format_args!("{whose} logs in and sees no project"),
                    "make it a member of each team's project, better an administrator: without, nothing is looked up, reconciled or redelivered",
                ),
                Some(count) => checks.ok(
                    NAME,
                    format_args!("{whose} logs in and is a member of {}", counted(count as u64, "project", "projects")),
                ),
                None => checks.note(NAME, format_args!("{whose} logs in; its projects cannot be listed")),
            }
        }
        Ok(answer) if matches!(answer.status().as_u16(), 400 | 401) => checks.bad(
            NAME,
            format_args!("{whose} is refused ({})", answer.status().as_u16()),
            format_args!(
                "fix {}",
                place(
                    &account.credential.label,
                    "taiga_user and taiga_password",
                    match account.login {
                        Login::Token(_) => "TAIGA_TOKEN",
                        _ => "TAIGA_USERNAME and TAIGA_PASSWORD",
                    }
                )
            ),
        ),
        Ok(answer) => {
            checks.bad(NAME, format_args!("{whose}: Taiga answers {}", answer.status()), "try again in a minute")
        }
        Err(_) => checks.bad(
            NAME,
            format_args!("{api} does not answer"),
            "fix TAIGA_API_URL (or TAIGA_AUTH_URL), or this machine's way to it (HTTPS_PROXY)",
        ),
    }
}

/// How many projects the account is a member of, if Taiga says it.
async fn projects(api: &str, me: Option<i64>, token: Option<&str>, http: &reqwest::Client) -> Option<usize> {
    let request = http.get(format!("{api}/projects?member={}", me?)).bearer_auth(token?);
    let answer = request.header("x-disable-pagination", "True").send().await.ok()?;
    let projects: Vec<IgnoredAny> = answer.error_for_status().ok()?.json().await.ok()?;
    Some(projects.len())
}

fn whose(label: &str) -> String {
    if label == "default" { "the default one".to_owned() } else { format!("that of {label:?}") }
}

/// The place of a token or account in the settings.
fn place(label: &str, field: &str, variable: &str) -> String {
    if label == "default" { variable.to_owned() } else { format!("{field} of {label:?} in the credentials file") }
}

fn instant(seconds: i64) -> String {
    shared::time::rfc3339(seconds.saturating_mul(1_000))
}
