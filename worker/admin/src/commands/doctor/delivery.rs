//! A signed delivery through the running ingress: GitHub's `ping`, which is checked like any other and not stored.

use reqwest::{StatusCode, Url};
use shared::config::SignatureArgs;
use shared::credentials::{Courses, DefaultKeys};
use shared::ids::Project;
use shared::secret::Secret;
use shared::source::Source;

use super::checks::Checks;
use crate::clients::webhook::{self, Said};
use crate::terminal::CommandError;

const NAME: &str = "test delivery";

const PING: &str = r#"{"zen":"Speak like a human.","hook_id":0,"hook":{"type":"Repository","active":true}}"#;

/// The project of a ping for the default secret.
const NO_PROJECT: &str = "doctor";

/// Sends one for each secret: the default one, and that of each course that has its own.
pub async fn check(
    checks: &mut Checks,
    http: &reqwest::Client,
    ingress: &Url,
    defaults: &SignatureArgs,
    courses: &Courses,
    prj: Option<&Project>,
) {
    match send(http, ingress, NO_PROJECT, None).await {
        Ok((StatusCode::FORBIDDEN, _)) => {
            checks.ok(NAME, format_args!("{ingress} answers, and refuses what is not signed (403)"))
        }
        Ok((status, _)) => checks.bad(
            NAME,
            format_args!("{ingress} answers {status} to a delivery that is not signed, not 403"),
            "is that address ingress's? Give it with --ingress-url",
        ),
        Err(error) => {
            let to_do = "start ingress, or give its address with --ingress-url";
            return checks.bad(NAME, format_args!("{ingress}: {error}"), to_do);
        }
    }
    let defaults = DefaultKeys::new(defaults).unwrap_or_default();
    let key = |prj: &Project| Some(defaults.in_force(courses, Source::Github, Some(prj)).into_iter().next()?.secret);
    let all: Vec<(String, Option<Secret>)> = match prj {
        Some(prj) => vec![(prj.to_string(), key(prj))],
        None => {
            let own = courses.iter().filter(|course| course.signing_keys(Source::Github).is_some());
            let teams = own.filter_map(|course| course.teams.first());
            let no_project = Project::new(NO_PROJECT).ok();
            no_project.iter().chain(teams).map(|team| (team.to_string(), key(team))).collect()
        }
    };
    for (project, secret) in all {
        let Some(secret) = secret else {
            checks.note(NAME, format_args!("{project}: left out, because GITHUB_SECRET is not set here"));
            continue;
        };
        match send(http, ingress, &project, Some(&secret)).await {
            Ok((StatusCode::OK, answer)) if answer.contains("ignored") => {
                checks.ok(NAME, format_args!("{project}: a signed ping passes all checks of ingress"));
            }
            Ok((StatusCode::FORBIDDEN, _)) => checks.bad(
                NAME,
                format_args!("{project}: ingress refuses our signature (403)"),
                "the secret here is not ingress's: compare GITHUB_SECRET and the credentials file of both",
            ),
            Ok((status, _)) => {
                checks.bad(NAME, format_args!("{project}: ingress answers {status}"), "look at its /readyz and log");
            }
            Err(error) => checks.bad(NAME, format_args!("{project}: {error}"), "look at ingress's log"),
        }
    }
}

/// Posts a ping; status and body of the answer.
async fn send(
    http: &reqwest::Client,
    ingress: &Url,
    project: &str,
    secret: Option<&Secret>,
) -> Result<(StatusCode, String), CommandError> {
    // Unsigned it is the documented health check, which names no project and leaves no trace.
    let query = if secret.is_some() { format!("prj={project}") } else { "ping=1".to_owned() };
    let url = ingress.join(&format!("webhook/github?{query}")).map_err(CommandError::usage)?;
    let said = Said { event: "ping", delivery: "" };
    let request = webhook::request(http, url, Source::Github, said, secret, PING.to_owned());
    let answer = request.send().await.map_err(|error| {
        CommandError::failed(format_args!("ingress does not answer: {}", error.without_url()), "Look at its log")
    })?;
    let status = answer.status();
    Ok((status, answer.text().await.unwrap_or_default()))
}
