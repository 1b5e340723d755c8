//! `worker config check`: the effective settings and their problems, without NATS or MongoDB.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::config::{EnvironmentError, Unchecked};
use shared::config_report::Report;
use shared::credentials::{Courses, DefaultKeys, Handle, PageKeys, weak_team_secrets};

use crate::terminal::{CommandError, Exit, finish, print_block};
use worker_core::config::{Config, MongoArgs, PageArgs};
use worker_providers::Tokens;
use worker_reconcile::config::RunArgs;

/// Commands about the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with where its value comes from, and every problem; exit code 0 when there is none, else 1.
    Check(Box<Options>),
}

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// The credentials file to check, instead of the one in effect.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Unchecked<RunArgs>,
}

/// Prints settings (secrets as set or unset), notes and problems.
pub async fn run(config: ConfigCommand) -> ExitCode {
    let ConfigCommand::Check(options) = config;
    finish(async move {
        let report = report(*options).map_err(CommandError::usage)?;
        // Not escaped again: both programs print the same text, which is escaped.
        print_block(report.text().trim_end());
        Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Failed })
    })
    .await
}

/// What is wrong with settings, without the credentials file.
pub(super) fn problems(settings: &Config) -> Vec<String> {
    let mut report = Report::default();
    check_addresses(&mut report, settings);
    let tokens = Tokens::new(Handle::fixed(Courses::default()), &settings.enrich);
    report.problems.extend(tokens.err().map(|error| error.to_string()));
    report.problems
}

fn report(options: Options) -> Result<Report, EnvironmentError> {
    let (mut report, settings) = Report::of(options.settings)?;
    let Some(RunArgs { config: settings, pages, reconcile }) = settings else { return Ok(report) };
    if reconcile.recovery_api && reconcile.recovery_token.is_none() {
        report.notes.push(format!(
            "RECOVERY_API is on without RECOVERY_TOKEN: every client that reaches {} may start recoveries",
            settings.work.admin_addr
        ));
    }
    check_addresses(&mut report, &settings);
    check_pages(&mut report, &pages, reconcile.public_url.is_some());
    let file = options.file.as_deref();
    let courses = report.check_file(file.unwrap_or(&settings.credentials.credentials_file), file.is_some());
    let file_is_good = courses.is_some();
    let courses = courses.unwrap_or_else(|| Handle::fixed(Courses::default()));
    // What is wrong with them is said of the pages.
    if let Ok(keys) = DefaultKeys::new(&pages.signatures) {
        report.notes.extend(weak_team_secrets(&keys, &courses.courses()));
    }
    match Tokens::new(courses.clone(), &settings.enrich) {
        Ok(_) if file_is_good => describe(&mut report, &settings, &courses.courses()),
        Ok(_) => {}
        Err(error) => report.problems.push(error.to_string()),
    }
    Ok(report)
}

/// Whether NATS and MongoDB could be reached with these settings, without a request to them.
fn check_addresses(report: &mut Report, settings: &Config) {
    report.check_nats(&settings.nats);
    if let Err(error) = settings.mongo.check() {
        report.problems.push(error.to_string());
    }
}

/// Whether the check pages of teams can work as they are set.
fn check_pages(report: &mut Report, pages: &PageArgs, has_public_url: bool) {
    let Some(addr) = pages.team_pages_addr else { return };
    let keys = DefaultKeys::new(&pages.signatures).and_then(|defaults| PageKeys::new(&pages.links, defaults));
    report.problems.extend(keys.err().map(|error| error.to_string()));
    if !has_public_url {
        report.notes.push(format!(
            "the check pages of teams ({addr}) show no address to paste, because PUBLIC_URL is unset: set it to where GitHub and Taiga find ingress"
        ));
    }
}

/// Which look-ups will be made.
fn describe(report: &mut Report, settings: &Config, courses: &Courses) {
    for course in courses.iter() {
        let whose = |own: bool, default: bool| match (own, default) {
            (true, _) => "its own",
            (false, true) => "the default",
            (false, false) => "none",
        };
        let github = whose(course.github_token.is_some(), settings.enrich.github_token.is_some());
        let enrich = &settings.enrich;
        let taiga =
            whose(course.taiga_password.is_some(), enrich.taiga_password.is_some() || enrich.taiga_token.is_some());
        let (name, teams) = (&course.name, course.teams.len());
        report
            .notes
            .push(format!("course {name:?}: {teams} teams, token for GitHub: {github}, account for Taiga: {taiga}"));
    }
    describe_mongo(report, &settings.mongo);
    if settings.enrich.github_token.is_none() {
        report.notes.push(
            "GITHUB_TOKEN is unset: commits are looked up only for teams whose course has a github_token".to_owned(),
        );
    }
    if settings.enrich.taiga_password.is_none() && settings.enrich.taiga_token.is_none() {
        let any = courses.iter().any(|course| course.taiga_password.is_some());
        let note = match &settings.enrich.taiga_api_url {
            Some(url) if !any => format!("there is no account for Taiga: {url} is asked without a token"),
            _ => {
                "TAIGA_USERNAME is unset: milestones' figures are looked up only for teams whose course has a taiga_user".to_owned()
            }
        };
        report.notes.push(note);
    }
}

fn describe_mongo(report: &mut Report, mongo: &MongoArgs) {
    let Some(host) = &mongo.mongo_host else { return };
    match mongo.uri() {
        Ok(_) if mongo.mongo_uri.is_some() => {
            report.notes.push(format!("MONGO_URI is set, so MONGO_HOST ({host}) and its like are not used"));
        }
        Ok(uri) => {
            let address = shared::redact::without_login(uri.expose());
            report.notes.push(format!("MongoDB's address is made of MONGO_HOST and its like: {address}"));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn check(args: &[&str]) -> Report {
        report(Cli::try_parse_from(["x", "--credentials-file", "/nowhere/c.json"].iter().chain(args)).unwrap().options)
            .unwrap()
    }

    #[test]
    fn secrets_and_passwords_are_not_printed() {
        let secrets = ["--github-token", "hush", "--taiga-username", "u", "--taiga-password", "hush"];
        let addresses = ["--mongo-uri", "mongodb://u:hush@a:1/db", "--nats-url", "nats://u:hush@a:1"];
        let report = check(&[secrets.as_slice(), &addresses].concat());
        let text = report.text();
        assert!(!text.contains("hush") && report.problems.is_empty(), "{text}");
        for line in [
            "GITHUB_TOKEN=set  # flag\n",
            "MONGO_URI=mongodb://…@a:1/db  # flag\n",
            "CREDENTIALS_FILE=/nowhere/c.json  # flag\n",
            "EVAL_PORT=5001  # default\n",
            "NATS_CREDS=unset\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("note: /nowhere/c.json is absent"), "{text}");
    }

    #[test]
    fn every_problem_is_reported_and_no_password_repeated() {
        let wrong = ["--taiga-username", "u", "--mongo-uri", "mongo://u:hush@x", "--nats-url", "http://x"];
        let unreadable =
            ["--eval-port", "0", "--eval-host", "http://ld-eval", "--mongo-db", "a.b", "--ld-replicas", "2"];
        let report = check(&[&wrong[..], &unreadable, &["--file", "/nowhere/else.json"]].concat());
        assert_eq!(report.problems.len(), 8, "{:#?}", report.problems);
        assert!(!report.text().contains("hush"), "{}", report.text());
        for named in ["EVAL_PORT", "EVAL_HOST", "MONGO_DB", "LD_REPLICAS", "MONGO_URI", "NATS_URL", "TAIGA_", "--file"]
        {
            assert!(report.problems.iter().any(|problem| problem.contains(named)), "{named}: {:#?}", report.problems);
        }
    }

    #[test]
    fn a_weak_secret_from_which_keys_of_teams_are_derived_is_reported() {
        let report = check(&["--team-secrets", "both", "--github-secret", "short"]);
        assert!(report.text().contains("note: GITHUB_SECRET has fewer than 32 characters"), "{}", report.text());
        assert!(report.problems.is_empty() && !report.text().contains("short\n"), "{}", report.text());
    }

    #[test]
    fn an_ipv6_address_is_a_host_of_ld_eval() {
        let report = check(&["--eval-host", "::1"]);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}
