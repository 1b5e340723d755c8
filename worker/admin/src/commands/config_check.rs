//! `worker config check`: what is in effect and what is wrong with it, without NATS or MongoDB.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::config_report::{self, Report, secret};
use shared::credentials::{Courses, Handle};

use worker_core::config::Config as Settings;
use worker_core::store::UnusableUri;
use worker_providers::Tokens;

/// Commands about the settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Prints the effective settings and every problem; exit code 0 when there is none, else 1.
    Check(Box<Options>),
}

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// The teachers' file to check, instead of the one in effect.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Prints settings (secrets as set or unset), notes and problems.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    let Config::Check(options) = config;
    report(*options).print()
}

/// What is wrong with settings, the teachers' file left out.
pub(super) fn problems(settings: &Settings) -> Vec<String> {
    let mut report = Report::default();
    check_addresses(&mut report, settings);
    report.problems.extend(Tokens::new(Handle::fixed(Courses::default()), &settings.enrich).err());
    report.problems
}

fn report(options: Options) -> Report {
    let mut settings = options.settings;
    if let Some(file) = options.file {
        settings.credentials.credentials_file = file;
    }
    let mut report = Report { settings: effective(&settings), ..Report::default() };
    check_addresses(&mut report, &settings);
    let courses = report.check_file(&settings.credentials.credentials_file);
    let file_is_good = courses.is_some();
    let courses = courses.unwrap_or_else(|| Handle::fixed(Courses::default()));
    match Tokens::new(courses.clone(), &settings.enrich) {
        Ok(_) if file_is_good => describe(&mut report, &settings, &courses.courses()),
        Ok(_) => {}
        Err(error) => report.problems.push(error),
    }
    report
}

/// Looks whether NATS and MongoDB could be reached with these settings, without asking them.
fn check_addresses(report: &mut Report, settings: &Settings) {
    report.check_nats(&settings.nats);
    if let Err(error) = UnusableUri::check(settings.mongo.mongo_uri.expose()) {
        report.problems.push(format!("MONGO_URI: {error}"));
    }
}

/// Which look-ups will be made.
fn describe(report: &mut Report, settings: &Settings, courses: &Courses) {
    for course in courses.iter() {
        let whose = |own: bool, default: bool| match (own, default) {
            (true, _) => "its own",
            (false, true) => "the default",
            (false, false) => "none",
        };
        let github = whose(course.github_token.is_some(), settings.enrich.github_token.is_some());
        let taiga = whose(course.taiga_password.is_some(), settings.enrich.taiga_password.is_some());
        let (name, teams) = (&course.name, course.teams.len());
        report
            .notes
            .push(format!("course {name:?}: {teams} teams, token for GitHub: {github}, account for Taiga: {taiga}"));
    }
    if settings.enrich.github_token.is_none() {
        report.notes.push(
            "GITHUB_TOKEN is unset: commits are looked up only for teams whose course has a github_token".to_owned(),
        );
    }
    if settings.enrich.taiga_password.is_none() {
        report.notes.push(
            "TAIGA_USERNAME is unset: sprints are looked up only for teams whose course has a taiga_user".to_owned(),
        );
    }
}

fn effective(settings: &Settings) -> Vec<(&'static str, String)> {
    let (enrich, work) = (&settings.enrich, &settings.work);
    let mut all = config_report::nats(&settings.nats, &settings.streams);
    all.extend([
        ("MONGO_URI", shared::redact::without_login(settings.mongo.mongo_uri.expose())),
        ("MONGO_DB", settings.mongo.mongo_db.clone()),
        ("EVAL_HOST", settings.eval.eval_host.clone()),
        ("EVAL_PORT", settings.eval.eval_port.to_string()),
        ("CREDENTIALS_FILE", settings.credentials.credentials_file.display().to_string()),
        ("GITHUB_API_URL", enrich.github_api_url.clone()),
        ("GITHUB_TOKEN", secret(&enrich.github_token)),
        ("TAIGA_API_URL", enrich.taiga_api_url.clone()),
        ("TAIGA_USERNAME", secret(&enrich.taiga_username)),
        ("TAIGA_PASSWORD", secret(&enrich.taiga_password)),
        ("ENRICH_CONCURRENCY", enrich.enrich_concurrency.to_string()),
        ("WORKER_CONCURRENCY", work.batches.worker_concurrency.to_string()),
        ("WORKER_BATCH", work.batches.worker_batch.to_string()),
        ("ADMIN_ADDR", work.admin_addr.to_string()),
    ]);
    all.extend(config_report::process(&settings.logs, &settings.shutdown));
    all
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
        report(Cli::try_parse_from(["x", "--file", "/nowhere/c.json"].iter().chain(args)).unwrap().options)
    }

    #[test]
    fn secrets_and_passwords_are_not_printed() {
        let secrets = ["--github-token", "hush", "--taiga-username", "hush", "--taiga-password", "hush"];
        let addresses = ["--mongo-uri", "mongodb://u:hush@a:1/db", "--nats-url", "nats://u:hush@a:1"];
        let report = check(&[secrets.as_slice(), &addresses].concat());
        let text = report.text();
        assert!(!text.contains("hush") && report.problems.is_empty(), "{text}");
        for line in ["GITHUB_TOKEN=set\n", "MONGO_URI=mongodb://…@a:1/db\n", "CREDENTIALS_FILE=/nowhere/c.json\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("note: /nowhere/c.json is absent"), "{text}");
    }

    #[test]
    fn every_problem_is_told_without_repeating_a_password() {
        let wrong = ["--taiga-username", "u", "--mongo-uri", "mongo://u:hush@x", "--nats-url", "http://x"];
        let report = check(&wrong);
        assert_eq!(report.problems.len(), 3, "{:?}", report.problems);
        assert!(!report.text().contains("hush"), "{}", report.text());
    }
}
