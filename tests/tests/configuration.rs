//! docs/configuration.md is written from the flags of both binaries, so that it cannot say anything else than they do.
//! After a change of a flag: `BLESS=1 cargo test -p tests --test configuration`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use tests::paths::workspace;

const HEAD: &str = "\
<!-- Written by `BLESS=1 cargo test -p tests --test configuration`. Do not edit. -->

# Configuration

Every setting is a flag and an environment variable. Of one setting, the first of these that is there counts: the flag
`--name`, the variable `NAME`, the file that `NAME_FILE` names, the same two in a file `.env` of the
working folder, the default. A variable that is set to nothing counts as absent. `ingress config check` and
`worker config check` print what is in effect, secrets as set or unset, and every problem; nothing needs to run for that.

[.env.example](../.env.example) holds the same settings to be copied; what a course has of its own stands in the
teachers' file, see [credentials.md](credentials.md).

`GITHUB_SIGNATURE_KEY` and `TAIGA_SIGNATURE_KEY`, the Python service's names, are read where `GITHUB_SECRET` and
`TAIGA_SECRET` are absent.
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
    let (ingress, worker) = (ingress::commands::Cli::command(), worker::commands::Command::command());
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
        "docs/configuration.md is not what the flags say; write it anew with \
         BLESS=1 cargo test -p tests --test configuration"
    );
}
