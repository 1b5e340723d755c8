//! docs/configuration.md is generated from the flags of both binaries. After a change of a flag: `BLESS=1 cargo test -p
//! checks`. No other page, help text or message names a command or a flag that does not exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::repository::workspace;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};

const HEAD: &str = "\
<!-- Written by `BLESS=1 cargo test -p checks`. Do not edit. -->

# Configuration

Every setting is a flag and an environment variable. Of one setting, the first of these that is there counts: the flag
`--name`, the variable `NAME`, the file that `NAME_FILE` names, the same two in a file `.env` of the
working folder, the default. An empty variable is unset. A value in `.env` is literal: `$` and `\\` are characters like
others; quote a value with spaces. `ingress config check` and `worker config check` print what is in effect, secrets as
set or unset, and every problem; nothing needs to run for that.

[.env.example](../.env.example) holds the same settings to be copied; what a course has of its own stands in the
credentials file, see [credentials.md](credentials.md).

Names of the Python service are read where ours are absent: `GITHUB_SIGNATURE_KEY` and `TAIGA_SIGNATURE_KEY` for `GITHUB_SECRET` and
`TAIGA_SECRET`, `MONGO_PASS` for `MONGO_PASSWORD`, `WEBHOOK_URL_GITHUB` and `WEBHOOK_URL_TAIGA` for `PUBLIC_URL`.

Requests to GitHub and Taiga go through the proxy that `HTTPS_PROXY` names, except to hosts in `NO_PROXY`. These two are read from the
environment of the process alone.
";

/// One setting, of one binary or of both.
struct Setting {
    flag: String,
    help: String,
    defaults: BTreeMap<&'static str, String>,
    heading: String,
}

/// The settings of a binary's `run`, in its order.
fn settings(binary: &'static str, run: &Command, all: &mut Vec<(String, Setting)>) {
    for arg in run.get_arguments() {
        let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let heading = arg.get_help_heading().unwrap_or("Addresses and limits").to_owned();
        let default =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
        match all.iter_mut().find(|(had, _)| *had == name) {
            Some((_, setting)) => {
                setting.defaults.insert(binary, default);
            }
            None => {
                let flag = arg.get_long().unwrap_or_default().to_owned();
                let defaults = [(binary, default)].into();
                all.push((name, Setting { flag, help: help(arg), defaults, heading }));
            }
        }
    }
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { "—".to_owned() } else { format!("`{text}`") }
}

fn tables(ingress: &Command, worker: &Command) -> String {
    let mut all = Vec::new();
    settings("ingress", ingress.find_subcommand("run").unwrap(), &mut all);
    settings("worker", worker.find_subcommand("run").unwrap(), &mut all);
    assert!(all.len() > 30, "only {} settings were found", all.len());
    let mut headings: Vec<&str> = Vec::new();
    for (_, setting) in &all {
        if !headings.contains(&setting.heading.as_str()) {
            headings.push(&setting.heading);
        }
    }
    let mut text = String::new();
    for heading in headings {
        writeln!(text, "\n## {heading}\n\n| variable | flag | read by | default | meaning |\n|---|---|---|---|---|")
            .unwrap();
        for (name, Setting { flag, help, defaults, .. }) in all.iter().filter(|(_, one)| one.heading == heading) {
            let who = defaults.keys().copied().collect::<Vec<_>>().join(", ");
            let first = defaults.values().next().unwrap();
            let default = if defaults.values().all(|value| value == first) {
                code(first)
            } else {
                defaults.iter().map(|(who, value)| format!("{who} {}", code(value))).collect::<Vec<_>>().join(", ")
            };
            writeln!(text, "| `{name}` | `--{flag}` | {who} | {default} | {help} |").unwrap();
        }
    }
    text
}

/// Commands with what they take beside the settings.
fn commands(path: &str, command: &Command, text: &mut String) {
    let own = |arg: &&Arg| arg.get_env().is_none() && !["help", "version"].contains(&arg.get_id().as_str());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        if sub.has_subcommands() {
            commands(&path, sub, text);
            continue;
        }
        writeln!(text, "\n### `{path}`\n\n{about}").unwrap();
        let own: Vec<&Arg> = sub.get_arguments().filter(own).collect();
        if !own.is_empty() {
            text.push('\n');
        }
        for arg in own {
            let name = arg.get_long().map_or_else(|| format!("<{}>", arg.get_id()), |long| format!("--{long}"));
            writeln!(text, "- `{name}`: {}", help(arg)).unwrap();
        }
    }
}

#[test]
fn the_configuration_is_documented_as_it_is() {
    let (ingress, worker) = (ingress::cli::Cli::command(), worker::cli::Command::command());
    let mut text = HEAD.to_owned() + &tables(&ingress, &worker);
    text.push_str("\n## Commands\n\nEach of them also takes the settings above that it needs; `--help` lists all.\n");
    commands("ingress", &ingress, &mut text);
    commands("worker", &worker, &mut text);
    let path = workspace().join("docs/configuration.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/configuration.md is not what the flags say; rewrite it with \
         BLESS=1 cargo test -p checks"
    );
}

fn is_ours(line: &str) -> bool {
    line.starts_with("worker ") || line.starts_with("ingress ")
}

/// The command lines of a block or a help text, without their comments.
fn standing_alone(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| is_ours(line)).map(str::to_owned).collect()
}

/// The command lines within sentences, between backticks.
fn within_sentences(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let quoted = paragraphs.flat_map(|part| part.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    // A command with an ellipsis or a placeholder is not complete.
    quoted.filter(|line| is_ours(line) && line.is_ascii() && !line.contains(['{', '[', '<', '*'])).collect()
}

/// The words of a command line as a shell splits them; `a
/// b c
/// d` is `a c`, `b c`, `a d` and `b d`.
fn alternatives(line: &str) -> Vec<Vec<String>> {
    let mut lines = vec![Vec::new()];
    let command = line.split(" > ").next().unwrap_or_default();
    let quoted = command.split('"').enumerate().flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    for word in quoted {
        let with =
            |choice: &str| lines.iter().map(|line| [&line[..], &[choice.to_owned()]].concat()).collect::<Vec<_>>();
        lines = word.split('|').flat_map(with).collect();
    }
    lines
}

/// What is wrong with a command line, if anything is.
fn wrong(line: &str, whole: bool) -> Option<String> {
    let command =
        if line.starts_with("worker ") { worker::cli::Command::command() } else { ingress::cli::Cli::command() };
    alternatives(line).into_iter().find_map(|words| {
        let error = command.clone().try_get_matches_from(words).err()?;
        let unfinished = [
            ErrorKind::MissingRequiredArgument,
            ErrorKind::MissingSubcommand,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ];
        let fine = error.kind() == ErrorKind::DisplayHelp || (!whole && unfinished.contains(&error.kind()));
        (!fine).then(|| error.to_string())
    })
}

/// The examples of every command's help.
fn examples(command: &Command, lines: &mut Vec<String>) {
    for text in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
        lines.extend(standing_alone(&text.to_string()));
    }
    command.get_subcommands().for_each(|sub| examples(sub, lines));
}

#[test]
fn every_command_line_that_is_written_down_can_be_run() {
    let mut all = Vec::new();
    let tracked = std::process::Command::new("git").arg("ls-files").current_dir(workspace()).output().unwrap();
    for file in String::from_utf8_lossy(&tracked.stdout).lines() {
        let Ok(text) = std::fs::read_to_string(workspace().join(file)) else { continue };
        let blocks =
            text.split("```").skip(1).step_by(2).filter(|block| file.ends_with(".md") && block.starts_with("sh"));
        all.extend(blocks.flat_map(standing_alone).map(|line| (file.to_owned(), line, true)));
        all.extend(within_sentences(&text).into_iter().map(|line| (file.to_owned(), line, false)));
    }
    for command in [worker::cli::Command::command(), ingress::cli::Cli::command()] {
        let mut lines = Vec::new();
        examples(&command, &mut lines);
        assert!(!lines.is_empty() || command.get_name() == "ingress", "no help has an example");
        all.extend(lines.into_iter().map(|line| ("--help".to_owned(), line, true)));
    }
    assert!(all.len() > 100, "only {} command lines were found", all.len());
    let found: Vec<_> = all
        .iter()
        .filter_map(|(file, line, whole)| Some(format!("{file}: {line}\n{}", wrong(line, *whole)?)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
