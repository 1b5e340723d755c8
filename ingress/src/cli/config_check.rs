//! `ingress config check`: the effective settings and their problems, without NATS.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::config::{EnvironmentError, SignatureArgs, SigningSecrets, Unchecked};
use shared::config_report::Report;
use shared::credentials::{Courses, DefaultKeys, weak_team_secrets};
use shared::source::Source;

use crate::config::Settings;
use crate::server::Certificate;
use crate::webhook::access::UnsignedSheets;

/// Commands about the settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every setting with where its value comes from, and every problem; exit code 0 when there is none, else 1.
    Check(Options),
}

#[derive(Debug, Args)]
pub struct Options {
    /// The credentials file to check, instead of the one in effect.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Unchecked<Settings>,
}

/// Prints settings (secrets as set or unset), notes and problems.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    match report(options) {
        Ok(report) => report.print(),
        // The same text as in a usage error.
        Err(error) => clap::Error::raw(clap::error::ErrorKind::Io, format!("{error}\n")).exit(),
    }
}

fn report(options: Options) -> Result<Report, EnvironmentError> {
    let (mut report, settings) = Report::of(options.settings)?;
    let Some(settings) = settings else { return Ok(report) };
    let keys = DefaultKeys::new(&settings.signatures);
    let keys = keys.map_err(|error| report.problems.push(error.to_string())).unwrap_or_default();
    if let Err(error) = Certificate::open(settings.tls_cert.as_deref(), settings.tls_key.as_deref()) {
        report.problems.push(error.to_string());
    }
    report.notes.extend(shared_secrets(&settings.signatures));
    report.check_nats(&settings.nats);
    let file = options.file.as_deref();
    if let Some(courses) = report.check_file(file.unwrap_or(&settings.credentials.credentials_file), file.is_some()) {
        describe(&mut report, &courses.courses(), &keys, settings.excel_unsigned);
    }
    Ok(report)
}

/// Whose webhooks are accepted, and with which secrets.
fn describe(report: &mut Report, courses: &Courses, keys: &DefaultKeys, unsigned: UnsignedSheets) {
    for course in courses.iter() {
        let own: Vec<_> = Source::ALL
            .into_iter()
            .filter(|source| course.signing_keys(*source).is_some())
            .map(Source::as_str)
            .collect();
        let own = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
        let (name, teams) = (&course.name, course.teams.len());
        report.notes.push(format!("course {name:?}: {teams} teams, own signing secrets: {own}"));
    }
    report.notes.extend(weak_team_secrets(keys, courses));
    for source in Source::ALL.into_iter().filter(|source| keys.of(*source).is_none()) {
        let (title, variable) = (source.description().title, source.description().secret.variable);
        let effect = match unsigned {
            _ if !source.description().may_be_unsigned => "refused",
            UnsignedSheets::Listed => "accepted unsigned from teams of the credentials file (EXCEL_UNSIGNED=listed)",
            UnsignedSheets::Any => "accepted unsigned from anyone (EXCEL_UNSIGNED=any)",
            UnsignedSheets::Off => "refused (EXCEL_UNSIGNED=off)",
        };
        report.notes.push(format!(
            "{variable} is unset: webhooks of {title} are {effect}, except from teams whose course has a secret"
        ));
    }
}

/// One source's signed bytes must not be acceptable to another.
fn shared_secrets(keys: &SignatureArgs) -> Vec<String> {
    let secret = |(source, of): (Source, &SigningSecrets)| {
        Some((source.description().secret.variable, of.current.as_ref()?.expose().to_owned()))
    };
    let set: Vec<_> = keys.secrets.iter().filter_map(secret).collect();
    let pairs = set.iter().enumerate().flat_map(|(at, one)| set[at + 1..].iter().map(move |other| (one, other)));
    pairs
        .filter(|(one, other)| one.1 == other.1)
        .map(|(one, other)| format!("{} and {} are the same: give each source a secret of its own", one.0, other.0))
        .collect()
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
        let args = ["ingress", "--credentials-file", "/nowhere/c.json"].iter().chain(args);
        report(Cli::try_parse_from(args).unwrap().options).unwrap()
    }

    #[test]
    fn secrets_and_passwords_are_not_printed() {
        let text = check(&["--github-secret", "hush", "--nats-url", "nats://u:hush@a:1, b:2"]).text();
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("GITHUB_SECRET=set  # flag\n") && text.contains("TAIGA_SECRET=unset\n"), "{text}");
        assert!(text.contains("NATS_URL=nats://…@a:1,b:2  # flag\n"), "{text}");
        assert!(text.contains("note: EXCEL_SECRET is unset") && !text.contains("problem"), "{text}");
    }

    #[test]
    fn a_secret_that_two_sources_share_is_reported() {
        let told = |args: &[&str]| check(args).text().contains("GITHUB_SECRET and EXCEL_SECRET are the same");
        assert!(told(&["--github-secret", "hush", "--taiga-secret", "other", "--excel-secret", "hush"]));
        assert!(!told(&["--github-secret", "hush", "--taiga-secret", "other"]));
    }

    #[test]
    fn every_problem_is_reported() {
        let report =
            check(&["--excel-secret-previous", "x", "--nats-url", "http://x", "--nats-creds", "/nowhere/n.creds"]);
        assert_eq!(report.problems.len(), 3, "{:?}", report.problems);
    }
}
