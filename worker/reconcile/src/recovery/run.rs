//! The work: the same reconciliation as at night, with the addresses and tokens of a request.

use serde_json::{Value, json};
use shared::source::Source;
use worker_providers::tokens::{Account, Token};

use super::request::{All, Team};
use crate::client::{Asking, GithubApi, Halt, TaigaApi};
use crate::reconciler::Reconciler;
use crate::report::Report;
use crate::scope::Scope;

/// The label of a request's token, in metrics and logs.
const LABEL: &str = "recovery request";

/// Recovers a team. One step for each provider; one that fails does not stop the other.
pub(super) async fn team(reconciler: &Reconciler, asking: &Asking, team: Team) -> (bool, Value) {
    let Team { scope, github, taiga } = team;
    let mut steps = Vec::new();
    let mut is_ok = true;
    let scope = match reconciler.with_model(&scope).await {
        Ok(scope) => scope,
        Err(error) => return (false, json!({ "status": "error", "steps": [], "error": error.to_string() })),
    };
    if let Some((place, token)) = github {
        let api = match token {
            Some(token) => reconciler.github_with(Token::new(LABEL, &token), asking),
            None => reconciler.github_api(&scope.prj, asking),
        };
        let done = match api {
            Some(api) => reconciler.github(&scope, &place, &GithubApi { kept: None, ..api }).await,
            None => Err(Halt::failed("there is no token for GitHub", "Send github_token, or set GITHUB_TOKEN")),
        };
        is_ok &= step(&mut steps, Source::Github, done);
    }
    if let Some((slug, token)) = taiga {
        let api = match token {
            Some(token) => Some(TaigaApi {
                taiga: reconciler.taiga.clone(),
                account: Account::with_token(LABEL, &token),
                asking: asking.clone(),
            }),
            None => reconciler.taiga_api(&scope.prj, asking),
        };
        let done = match api {
            Some(api) => reconciler.taiga(&scope, &slug, &api).await,
            None => Err(Halt::failed(
                "there is no account for Taiga",
                "Send taiga_token, or set TAIGA_USERNAME and TAIGA_PASSWORD",
            )),
        };
        is_ok &= step(&mut steps, Source::Taiga, done);
    }
    let mut answer = json!({ "status": if is_ok { "ok" } else { "error" }, "steps": steps });
    if let Err(error) = reconciler.finish(&scope.prj, asking).await {
        is_ok = false;
        answer["status"] = "error".into();
        answer["error"] = format!("the documents are written, but LD Eval is not notified: {error}").into();
    }
    (is_ok, answer)
}

/// Adds the result of one provider; returns whether it succeeded.
fn step(steps: &mut Vec<Value>, source: Source, done: Result<Report, Halt>) -> bool {
    let failure = match &done {
        Err(error) => Some(error.to_string()),
        // Nothing of it could be read.
        Ok(report) if report.lines.is_empty() => report.findings.first().map(|finding| finding.finding.clone()),
        Ok(_) => None,
    };
    let (is_ok, step) = match (failure, done) {
        (None, Ok(report)) => {
            let counts = report.total(source);
            let findings: Vec<&str> = report.findings.iter().map(|finding| finding.finding.as_str()).collect();
            let step = json!({
                "source": source.as_str(), "status": "ok", "checked": counts.checked, "repaired": counts.repaired,
                "removed": counts.removed, "unconfirmed": counts.unconfirmed, "findings": findings,
            });
            (true, step)
        }
        (failure, _) => (false, json!({ "source": source.as_str(), "status": "error", "error": failure })),
    };
    steps.push(step);
    is_ok
}

/// Reconciles all teams; what was found in each.
pub(super) async fn all(reconciler: &Reconciler, asking: &Asking, wanted: All) -> Result<Value, Halt> {
    let (mut report, mut failed) = (Report::default(), Vec::new());
    let teams = reconciler.teams().await?;
    for prj in &teams {
        let scope = Scope { dry_run: wanted.dry_run, ..Scope::everything(prj.clone(), wanted.depth) };
        for source in [Source::Github, Source::Taiga] {
            match reconciler.source(&scope, source, asking).await {
                Ok(found) => report.extend(found),
                Err(Halt::Stopped) => return Err(Halt::Stopped),
                Err(error) => failed.push(json!({ "prj": prj, "source": source.as_str(), "error": error.to_string() })),
            }
        }
        if !wanted.dry_run {
            reconciler.finish(prj, asking).await?;
        }
    }
    let [github, taiga] = [Source::Github, Source::Taiga].map(|source| report.total(source));
    Ok(json!({
        "teams": teams.len(), "dry_run": wanted.dry_run, "github": github, "taiga": taiga,
        "findings": report.findings, "failed": failed,
    }))
}
