//! Reads the command line, with the environment's values as defaults.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::environment::Environment;

/// Reads the settings of this process. After `--help` or an error it prints the text and exits.
#[must_use]
pub fn parse<T: Parser>() -> T {
    parse_args(std::env::args_os())
}

/// The same, for a binary that runs `command` when no command is given. An optional subcommand would make clap check
/// the variables of `command` for every other command too.
#[must_use]
pub fn parse_or<T: Parser>(command: &str) -> T {
    parse_args(with_command(std::env::args_os().collect(), command))
}

/// The arguments, with `command` inserted if they name none.
fn with_command(mut args: Vec<OsString>, command: &str) -> Vec<OsString> {
    let first = args.get(1).map(|first| first.to_string_lossy());
    let is_help = |first: &str| ["-h", "--help", "-V", "--version"].contains(&first);
    if first.is_none_or(|first| first.starts_with('-') && !is_help(&first)) {
        args.insert(args.len().min(1), command.into());
    }
    args
}

fn parse_args<T: Parser>(args: impl IntoIterator<Item = OsString>) -> T {
    let checks = std::env::args().skip(1).take(2).eq(["config", "check"]);
    let environment =
        Environment::read().unwrap_or_else(|error| clap::Error::raw(ErrorKind::Io, format!("{error}\n")).exit());
    // `config check` reads the environment itself, setting by setting.
    let environment = if checks { Environment::default() } else { environment };
    try_parse(args, &environment).unwrap_or_else(|error| {
        drop(error.print());
        std::process::exit(exit_code(&error, checks))
    })
}

/// 0 after `--help`, 2 for a command line with an error. For `config check`, a setting that cannot be read is a problem
/// like the others: 1.
fn exit_code(error: &clap::Error, checks: bool) -> i32 {
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::Io if checks => 1,
        _ => error.exit_code(),
    }
}

fn try_parse<T: Parser>(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<T, clap::Error> {
    let mut command = with_defaults(T::command(), environment)?;
    let matches = command.try_get_matches_from_mut(args).map_err(without_address)?;
    T::from_arg_matches(&matches).map_err(|error| without_address(error.format(&mut command)))
}

/// Gives every setting of a command and its subcommands the environment's value as its default.
fn with_defaults(command: clap::Command, environment: &Environment) -> Result<clap::Command, clap::Error> {
    let mut failure = None;
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().and_then(|name| name.to_str()).map(str::to_owned) else {
            return arg;
        };
        match environment.value(&name) {
            // clap would read the variable itself, also an empty one; here it is only shown in the help.
            Ok(value) => {
                let help = arg.get_help().map(|help| format!("{help} [env: {name}]")).unwrap_or_default();
                let arg = arg.env(clap::builder::Resettable::Reset).help(help);
                match value {
                    Some(value) => arg.default_value(value).hide_default_value(true),
                    None => arg,
                }
            }
            Err(error) => {
                failure.get_or_insert(error);
                arg
            }
        }
    });
    if let Some(error) = failure {
        return Err(clap::Error::raw(ErrorKind::Io, format!("{error}\n")));
    }
    let mut command = command;
    // The exit codes at the end of the main help are also shown at the end of each command's help.
    let after_help = command.get_after_help().cloned();
    for name in command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect::<Vec<_>>() {
        let mut failure = None;
        command = command.mut_subcommand(&name, |sub| {
            let sub = match (&after_help, sub.get_after_help().cloned()) {
                (Some(text), None) => sub.after_help(text.clone()),
                (Some(text), Some(own)) => sub.after_help(format!("{own}\n\n{text}")),
                (None, _) => sub,
            };
            with_defaults(sub.clone(), environment).unwrap_or_else(|error| {
                failure = Some(error);
                sub
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Ok(command)
}

/// An invalid address may hold a password, so the error does not repeat it.
pub(super) fn without_address(mut error: clap::Error) -> clap::Error {
    let value = error.get(ContextKind::InvalidValue);
    if matches!(value, Some(ContextValue::String(value)) if value.contains('@')) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{LogArgs, LogLevel, NatsArgs, SignatureArgs, StreamArgs};
    use crate::source::Source;

    #[test]
    fn a_command_that_is_left_out_is_put_in() {
        for (given, whole) in [
            ("worker", "worker run"),
            ("worker --eval-port 1", "worker run --eval-port 1"),
            ("worker run --eval-port 1", "worker run --eval-port 1"),
            ("worker config check", "worker config check"),
            ("worker rnu", "worker rnu"),
            ("worker --help", "worker --help"),
            ("worker -V", "worker -V"),
        ] {
            let args = with_command(given.split(' ').map(OsString::from).collect(), "run");
            assert_eq!(args, whole.split(' ').map(OsString::from).collect::<Vec<_>>());
        }
    }

    #[derive(Debug, Parser)]
    struct Settings {
        #[command(flatten)]
        nats: NatsArgs,
        #[command(flatten)]
        signatures: SignatureArgs,
        #[command(flatten)]
        streams: StreamArgs,
        #[command(flatten)]
        logs: LogArgs,
    }

    fn read(args: &[&str], process: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Result<Settings, String> {
        let environment = Environment::of(process, dotenv);
        try_parse(std::iter::once("x").chain(args.iter().copied()).map(OsString::from), &environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_beats_the_environment_beats_dotenv_beats_the_default() {
        let url = |args: &[&str], process: &[(&str, &str)], dotenv: &[(&str, &str)]| {
            read(args, process, dotenv).unwrap().nats.nats_url
        };
        let (flag, process, dotenv) =
            (["--nats-url", "nats://a"], [("NATS_URL", "nats://b")], [("NATS_URL", "nats://c")]);
        assert_eq!(url(&flag, &process, &dotenv), "nats://a");
        assert_eq!(url(&[], &process, &dotenv), "nats://b");
        assert_eq!(url(&[], &[("NATS_URL", "")], &dotenv), "nats://c");
        assert_eq!(url(&[], &[], &[]), "nats://localhost:4222");
    }

    #[test]
    fn an_older_name_is_read_and_an_empty_secret_is_none() {
        let settings = read(&[], &[("GITHUB_SIGNATURE_KEY", "old"), ("TAIGA_SECRET", "")], &[]).unwrap();
        assert_eq!(settings.signatures.of(Source::Github).current.as_ref().unwrap().expose(), "old");
        assert!(settings.signatures.of(Source::Taiga).current.is_none());
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_newline_and_is_never_shown() {
        let path = std::env::temp_dir().join(format!("ld-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\n").unwrap();
        let settings = read(&[], &[("GITHUB_SECRET_FILE", path.to_str().unwrap())], &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(settings.signatures.of(Source::Github).current.as_ref().unwrap().expose(), "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"));
        let help = read(&["--help"], &[("GITHUB_SECRET", "s3cret")], &[]).unwrap_err();
        assert!(help.contains("GITHUB_SECRET") && !help.contains("s3cret"), "{help}");
        let gone = read(&[], &[("GITHUB_SECRET_FILE", "/nowhere/x")], &[]).unwrap_err();
        assert!(gone.contains("GITHUB_SECRET_FILE") && gone.contains("/nowhere/x"), "{gone}");
    }

    #[test]
    fn what_a_command_line_ends_its_help_with_ends_the_help_of_its_commands() {
        #[derive(Debug, Parser)]
        #[command(after_help = "Exit codes: 0")]
        enum Cli {
            #[command(subcommand)]
            Sub(Sub),
        }
        #[derive(Debug, clap::Subcommand)]
        enum Sub {
            Leaf,
            #[command(after_help = "its own")]
            Other,
        }
        let environment = Environment::of(&[], &[]);
        let help = |name: &str| {
            try_parse::<Cli>(["x", "sub", name, "--help"].map(OsString::from), &environment).unwrap_err().to_string()
        };
        assert!(help("leaf").contains("Exit codes: 0"), "{}", help("leaf"));
        assert!(help("other").contains("its own\n\nExit codes"), "{}", help("other"));
    }

    #[test]
    fn a_password_in_an_address_is_never_shown() {
        let url = "nats://worker:s3cret@a:4222,nats://worker:s3cret@b";
        let settings = read(&[], &[("NATS_URL", url)], &[]).unwrap();
        assert_eq!(settings.nats.nats_url, url);
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
        let help = read(&["--help"], &[("NATS_URL", url)], &[]).unwrap_err();
        assert!(!help.contains("s3cret"), "{help}");
    }

    #[test]
    fn an_unknown_flag_exits_2_and_a_wrong_setting_is_a_problem_of_config_check() {
        let error = |args: &[&str]| {
            let args = std::iter::once(&"x").chain(args).map(OsString::from);
            try_parse::<Settings>(args, &Environment::of(&[], &[])).unwrap_err()
        };
        for checks in [false, true] {
            assert_eq!(exit_code(&error(&["--no-such-flag"]), checks), 2);
            assert_eq!(exit_code(&error(&["--help"]), checks), 0);
        }
        assert_eq!(exit_code(&error(&["--ld-replicas", "x"]), false), 2);
        assert_eq!(exit_code(&error(&["--ld-replicas", "x"]), true), 1);
    }

    #[test]
    fn units_are_read_and_a_wrong_one_names_the_setting() {
        let settings =
            read(&["--ld-events-max-bytes", "5MiB"], &[("LD_EVENTS_MAX_AGE", "12h"), ("LOG_LEVEL", "warning")], &[])
                .unwrap();
        assert_eq!(settings.streams.events_max_bytes(), 5 << 20);
        assert_eq!(settings.streams.ld_events_max_age, Duration::from_secs(12 * 3600));
        assert_eq!(settings.logs.log_level, LogLevel::Warn);
        let error = read(&[], &[("LD_EVENTS_MAX_AGE", "soon")], &[]).unwrap_err();
        assert!(error.contains("--ld-events-max-age"), "{error}");
    }
}
