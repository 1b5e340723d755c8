//! `worker team-links`: the links to teams' check pages, for a teacher to hand out.

mod qr;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::json;
use shared::config::{CredentialsArgs, SignatureArgs, TeamPageArgs};
use shared::credentials::{self, Courses, DefaultKeys, PageKeys, Viewer};
use shared::ids::Project;

use crate::args::hook_url::PublicUrlArgs;
use crate::terminal::{CommandError, Exit, finish, notice, print, print_block, print_json};

/// Whose links, and in which shape.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  worker team-links --course amep --output csv > links.csv
  worker team-links --prj PES11A --qr
  worker team-links --course amep --svg codes/

Whoever has a link sees that team's page. A teacher's link also shows the team's own secrets, where it has some (team_secrets).")]
pub struct Options {
    /// Only this team. It need not be in the credentials file.
    #[arg(long, conflicts_with = "course")]
    prj: Option<Project>,
    /// Only the teams of this course of the credentials file; without it, of all.
    #[arg(long)]
    course: Option<String>,
    /// The teachers' links, which also show a team's own secrets.
    #[arg(long)]
    teacher: bool,
    /// How the links are written.
    #[arg(long, default_value = "text")]
    output: Format,
    /// Draw a QR code below each link: only with --output text.
    #[arg(long)]
    qr: bool,
    /// Write a QR code of each link as SVG: into this file, or of several teams into this folder.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    public_url: PublicUrlArgs,
    #[command(flatten)]
    links: TeamPageArgs,
    #[command(flatten)]
    signatures: SignatureArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

/// How links are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Team and link, one a line.
    Text,
    /// For a spreadsheet, with a heading.
    Csv,
    /// One JSON object a line, for scripts.
    Json,
}

/// A team's link.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    course: String,
    prj: Project,
    url: String,
    /// Whether teams can compute it.
    is_known_to_teams: bool,
}

/// Prints them.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let base = options.public_url.required()?;
        let links = links(&options, &base)?;
        match options.output {
            Format::Text => links.iter().try_for_each(|link| {
                print(format_args!("{}  {}", link.prj, link.url));
                if options.qr {
                    print_block(&qr::drawn(&link.url)?);
                }
                Ok::<_, CommandError>(())
            })?,
            Format::Csv => print_block(csv(&links, options.teacher).trim_end()),
            Format::Json => links.iter().for_each(|link| {
                print_json(&json!({
                    "course": link.course, "prj": link.prj, "teacher": options.teacher, "link": link.url,
                }));
            }),
        }
        if let Some(path) = &options.svg {
            let codes = links.iter().map(|link| (link.prj.as_str(), link.url.as_str()));
            let written = qr::write(path, options.prj.is_some(), options.teacher, codes)?;
            notice(format_args!("wrote {written}"));
        }
        warn(&links);
        Ok(Exit::Done)
    })
    .await
}

fn links(options: &Options, base: &Url) -> Result<Vec<Link>, CommandError> {
    let defaults = DefaultKeys::new(&options.signatures).map_err(CommandError::usage)?;
    let keys = PageKeys::new(&options.links, defaults).map_err(CommandError::usage)?;
    let (handle, _) = credentials::open(&options.credentials.credentials_file).map_err(CommandError::usage)?;
    let courses = handle.courses();
    let viewer = if options.teacher { Viewer::Teacher } else { Viewer::Team };
    let root = base.as_str().trim_end_matches('/');
    teams(options, &courses)?
        .into_iter()
        .map(|(course, prj)| {
            let key = keys.key(&courses, &prj, viewer).ok_or_else(|| {
                CommandError::usage(format_args!(
                    "there is no secret of which a link for {prj} can be made: set TEAM_PAGES_SECRET (or TEAM_PAGES_SECRET_FILE), the same as for `worker run`"
                ))
            })?;
            let url = format!("{root}/team/{prj}/{key}");
            Ok(Link { course, url, is_known_to_teams: keys.is_known_to_teams(&courses, &prj), prj })
        })
        .collect()
}

/// Which teams, each with its course.
fn teams(options: &Options, courses: &Courses) -> Result<Vec<(String, Project)>, CommandError> {
    if let Some(prj) = &options.prj {
        let course = courses.course_of(prj).map(|course| course.name.clone()).unwrap_or_default();
        return Ok(vec![(course, prj.clone())]);
    }
    let wanted = courses.iter().filter(|course| options.course.as_ref().is_none_or(|name| *name == course.name));
    let teams: Vec<_> =
        wanted.flat_map(|course| course.teams.iter().map(|team| (course.name.clone(), team.clone()))).collect();
    match (&options.course, teams.is_empty()) {
        (_, false) => Ok(teams),
        (Some(name), true) => {
            let names = courses.iter().map(|course| course.name.as_str()).collect::<Vec<_>>().join(", ");
            let file = options.credentials.credentials_file.display();
            Err(CommandError::not_found(
                format_args!("{file} has no course {name:?} with teams"),
                format!("Its courses: {names}"),
            ))
        }
        (None, true) => Err(CommandError::usage(format_args!(
            "{} lists no team: name one with --prj",
            options.credentials.credentials_file.display()
        ))),
    }
}

/// RFC 4180, with the line feeds of a Unix.
fn csv(links: &[Link], teacher: bool) -> String {
    let cell = |text: &str| match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let line = |cells: [&str; 3]| cells.map(cell).join(",") + "\n";
    let heading = line(["course", "prj", if teacher { "teacher_link" } else { "link" }]);
    let links = links.iter().map(|link| line([&link.course, link.prj.as_str(), &link.url]));
    std::iter::once(heading).chain(links).collect()
}

/// Says which teams can compute each other's links.
fn warn(links: &[Link]) {
    let known: Vec<_> = links.iter().filter(|link| link.is_known_to_teams).map(|link| link.prj.as_str()).collect();
    if !known.is_empty() {
        notice(format_args!(
            "warning: these links are made of a secret that teams sign with, so teams can compute each other's: {}. Set TEAM_PAGES_SECRET to a secret of its own, for this command and for `worker run`",
            known.join(", ")
        ));
    }
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

    fn made(more: &[&str]) -> Result<Vec<Link>, CommandError> {
        let args = ["x", "--public-url", "https://ld.example.edu/", "--credentials-file", "/nowhere/c.json"];
        let options = Command::try_parse_from(args.iter().chain(more)).unwrap().options;
        links(&options, &options.public_url.required()?)
    }

    #[test]
    fn a_link_leads_to_the_teams_page_at_the_public_address() {
        let link = made(&["--prj", "A", "--team-pages-secret", "own"]).unwrap().remove(0);
        let key = link.url.strip_prefix("https://ld.example.edu/team/A/").unwrap();
        assert!(key.len() == 32 && !link.is_known_to_teams, "{link:?}");
        let teacher = made(&["--prj", "A", "--team-pages-secret", "own", "--teacher"]).unwrap().remove(0);
        assert_ne!(link.url, teacher.url);
        assert!(made(&["--prj", "A", "--github-secret", "shared"]).unwrap()[0].is_known_to_teams);
    }

    #[test]
    fn without_a_secret_or_a_team_it_says_what_to_set() {
        let error = |more: &[&str]| made(more).unwrap_err().to_string();
        assert!(error(&["--prj", "A"]).contains("set TEAM_PAGES_SECRET"), "{}", error(&["--prj", "A"]));
        assert!(error(&["--team-pages-secret", "own"]).contains("--prj"));
        assert!(error(&["--team-pages-secret", "own", "--course", "none"]).contains("no course \"none\""));
    }

    #[test]
    fn csv_has_a_heading_and_quotes_what_needs_it() {
        let link = |course: &str, prj: &str| Link {
            course: course.to_owned(),
            prj: prj.parse().unwrap(),
            url: format!("https://x/{prj}"),
            is_known_to_teams: false,
        };
        let text = csv(&[link("the \"new\" amep, autumn", "A"), link("", "B")], false);
        assert_eq!(text, "course,prj,link\n\"the \"\"new\"\" amep, autumn\",A,https://x/A\n,B,https://x/B\n");
    }
}
