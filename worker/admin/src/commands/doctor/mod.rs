//! `worker doctor`: the checks that an operator would do by hand, in order, each with what to do. A failed check stops
//! no other.
//!
//! It changes nothing but its own probe document in `ld_probe`; ingress checks and ignores the test delivery. Reading
//! order: a check's result ([`checks`]), NATS, MongoDB and LD Eval ([`parts`]), the tokens ([`tokens`]), the projects
//! and their events ([`teams`]), what the status page finds about them ([`findings`]), the delivery ([`delivery`]).

pub mod checks;
pub mod parts;
pub mod tokens;
pub mod teams;
pub mod findings;
pub mod delivery;

use std::process::ExitCode;

use clap::Args;
use reqwest::Url;
use shared::config::SignatureArgs;
use shared::credentials::{self, Courses, DefaultKeys, weak_team_secrets};
use shared::ids::Project;

use self::checks::{Checks, REQUEST_TIMEOUT};
use super::config_check;
use crate::args::InvalidArg;
use crate::terminal::{CommandError, Exit, Output, counted, finish};
use worker_core::config::Config;
use worker_providers::Tokens;

/// What to look at.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this project; without it all of the credentials file and all whose events are in the stream.
    #[arg(long)]
    prj: Option<Project>,
    /// Where the running ingress receives webhooks, for the test delivery.
    #[arg(long, default_value = "http://127.0.0.1:5000", value_parser = url)]
    ingress_url: Url,
    /// Print only what is not ok, and the summary.
    #[arg(long)]
    problems: bool,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    settings: Config,
    #[command(flatten)]
    signatures: SignatureArgs,
}

fn url(text: &str) -> Result<Url, InvalidArg> {
    let wrong = || InvalidArg("write an address, such as http://127.0.0.1:5000");
    let url = Url::parse(text).map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wrong()) }
}

/// Runs the command: exit code 0 when all is well, else 1.
pub async fn run(options: Options) -> ExitCode {
    finish(examine(options)).await
}

async fn examine(options: Options) -> Result<Exit, CommandError> {
    let Options { settings, signatures, prj, ingress_url, problems, output } = options;
    let http = client(reqwest::Client::builder().no_proxy())?;
    // As the look-ups go out: through a proxy, and with a login to no other server.
    let outside = client(reqwest::Client::builder().redirect(worker_providers::client::redirects()))?;
    let mut checks = Checks::new(output, problems);
    let prj = prj.as_ref();

    let contradictions = config_check::problems(&settings);
    match contradictions.is_empty() {
        true => checks.ok("settings", "they can be read, and none contradicts another"),
        false => contradictions
            .iter()
            .for_each(|problem| checks.bad("settings", problem, "fix it; `worker config check` shows all")),
    }
    let courses = credentials_file(&mut checks, &settings, prj);
    team_secrets(&mut checks, &signatures, &courses.courses());
    let streams = parts::nats(&mut checks, &settings).await;
    parts::mongodb(&mut checks, &settings, prj).await;
    parts::ld_eval(&mut checks, &settings, &http).await;
    if let Ok(tokens) = Tokens::new(courses.clone(), &settings.enrich) {
        tokens::check(&mut checks, &settings.enrich, &tokens, &courses.courses(), prj, &outside).await;
    }
    if let Some(streams) = &streams {
        teams::check(&mut checks, streams, &courses.courses(), prj).await;
        findings::check(&mut checks, streams, courses.clone(), prj).await;
        parts::backlog(&mut checks, streams).await;
        parts::dead_letters(&mut checks, streams, prj).await;
    }
    delivery::check(&mut checks, &http, &ingress_url, &signatures, &courses.courses(), prj).await;
    Ok(checks.end())
}

fn client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, CommandError> {
    let builder = builder.timeout(REQUEST_TIMEOUT).user_agent(concat!("ld-connect/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|error| {
        CommandError::failed(
            format_args!("no HTTP client can be made: {error}"),
            "Look at the TLS settings of this machine",
        )
    })
}

/// Whether keys of teams are derived from secrets that protect them.
fn team_secrets(checks: &mut Checks, signatures: &SignatureArgs, courses: &Courses) {
    let Ok(keys) = DefaultKeys::new(signatures) else { return };
    for warning in weak_team_secrets(&keys, courses) {
        checks.bad("team secrets", warning, "docs/credentials.md says how a secret is changed (A key for each team)");
    }
}

/// The credentials file as the worker would read it; empty when it is broken.
fn credentials_file(checks: &mut Checks, settings: &Config, prj: Option<&Project>) -> credentials::Handle {
    const NAME: &str = "credentials file";
    let file = &settings.credentials.credentials_file;
    let handle = match credentials::open(file) {
        Ok((handle, _)) => handle,
        Err(problem) => {
            checks.bad(
                NAME,
                problem,
                "fix the place it names; until then the running processes keep the last good file",
            );
            return credentials::Handle::fixed(Courses::default());
        }
    };
    let courses = handle.courses();
    if !file.exists() {
        checks.note(NAME, format_args!("{} is absent: no course has settings of its own", file.display()));
        return handle;
    }
    let teams: usize = courses.iter().map(|course| course.teams.len()).sum();
    let teams = counted(teams as u64, "team", "teams");
    checks.ok(NAME, format_args!("{}, {teams}", counted(courses.iter().count() as u64, "course", "courses")));
    if let Some(prj) = prj {
        match courses.course_of(prj) {
            Some(course) => checks.ok(NAME, format_args!("{prj} is a team of {:?}", course.name)),
            None => checks.note(NAME, format_args!("{prj} is in no course: the default secrets and tokens apply")),
        }
    }
    handle
}
