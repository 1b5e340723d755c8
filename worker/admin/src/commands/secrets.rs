//! `worker secrets`: the keys of a team, and the addresses to which they belong.

use std::process::ExitCode;

use clap::Args;
use reqwest::Url;
use serde_json::json;
use shared::config::{CredentialsArgs, SignatureArgs};
use shared::credentials::{self, DefaultKeys, KeyKind};
use shared::ids::Project;
use shared::source::Source;
use worker_reconcile::hook_url::hook_url;

use crate::args::hook_url::PublicUrlArgs;
use crate::terminal::{Column, CommandError, Exit, Output, Table, finish, notice, print_json};

/// Whose keys.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  worker secrets --prj PES11A --public-url https://ld.example.edu")]
pub struct Options {
    /// The team.
    #[arg(long)]
    prj: Project,
    /// How the answer is written.
    #[arg(long, default_value = "table")]
    output: Output,
    #[command(flatten)]
    public_url: PublicUrlArgs,
    #[command(flatten)]
    signatures: SignatureArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

/// A source's key and the address that it signs for.
struct Line {
    source: Source,
    url: String,
    key: Option<(KeyKind, String)>,
}

/// Prints them.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let base = options.public_url.required()?;
        let lines = lines(&options, &base)?;
        match options.output {
            Output::Table => {
                let mut table = Table::new(&[
                    Column::Left("source"),
                    Column::Left("key of"),
                    Column::Left("key"),
                    Column::Left("payload URL"),
                ]);
                for Line { source, url, key } in &lines {
                    let (owner, key) = key.as_ref().map_or(("-", "-"), |(kind, key)| (kind.as_str(), key));
                    table.row(&[&source.description().title, &owner, &key, url]);
                }
                table.print();
            }
            Output::Json => lines.iter().for_each(|Line { source, url, key }| {
                let (owner, key) = key.as_ref().map(|(kind, key)| (kind.as_str(), key)).unzip();
                print_json(&json!({ "source": source, "url": url, "key": key, "key_of": owner }));
            }),
        }
        if lines.iter().any(|line| matches!(line.key, Some((KeyKind::Course, _)))) {
            notice(format_args!(
                "a key of the course signs for all its teams: see team_secrets in docs/credentials.md"
            ));
        }
        Ok(Exit::Done)
    })
    .await
}

fn lines(options: &Options, base: &Url) -> Result<Vec<Line>, CommandError> {
    let defaults = DefaultKeys::new(&options.signatures).map_err(CommandError::usage)?;
    let (handle, _) = credentials::open(&options.credentials.credentials_file).map_err(CommandError::usage)?;
    let courses = handle.courses();
    let model = courses.course_of(&options.prj).and_then(|course| course.quality_model.as_ref());
    Ok(Source::ALL
        .into_iter()
        .map(|source| {
            let key = defaults.in_force(&courses, source, Some(&options.prj)).into_iter().next();
            let key = key.map(|key| (key.kind, key.secret.expose().to_owned()));
            Line { source, url: hook_url(base, source, &options.prj, model), key }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_teams_key_and_address_are_those_that_its_hook_needs() {
        let args =
            ["x", "--prj", "A", "--public-url", "https://ld.example.edu", "--credentials-file", "/nowhere/c.json"];
        let more = ["--github-secret", "s", "--taiga-secret", "t", "--team-secrets", "both"];
        let options = Command::try_parse_from(args.into_iter().chain(more)).unwrap().options;
        let lines = lines(&options, &options.public_url.required().unwrap()).unwrap();
        let key = credentials::team_key(&"s".parse().unwrap(), Source::Github, &options.prj);
        assert_eq!(lines[0].key, Some((KeyKind::Team, key.expose().to_owned())));
        assert_eq!(lines[1].url, "https://ld.example.edu/webhook/taiga?prj=A");
        assert_eq!(lines[2].key, None, "no secret is set for sheets");
    }
}
