//! Settings as they were given, good or bad, each with where it comes from: for `config check`, which shows all of them
//! and every problem. The other commands stop at the first value that cannot be read.

use std::ffi::OsString;
use std::marker::PhantomData;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::environment::{Environment, EnvironmentError};
use super::origin::Origin;
use crate::redact;

/// One setting, as a report shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name.
    pub name: String,
    /// Its value; a secret as `set` or `unset`, an address without its login.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// The settings of `A`, and their problems.
#[derive(Debug)]
pub struct Checked<A> {
    /// All of them.
    pub settings: Vec<Setting>,
    /// One for each value that cannot be read. A secret is not repeated.
    pub problems: Vec<String>,
    /// The settings, with the default where a value cannot be read. `None` if that does not help.
    pub usable: Option<A>,
}

/// The settings `A` in a command line, none of which is refused.
#[derive(Debug)]
pub struct Unchecked<A> {
    given: Vec<(String, OsString, bool)>,
    settings: PhantomData<fn() -> A>,
}

/// The settings among the arguments of `A`.
fn arguments<A: Args>() -> Vec<Arg> {
    let command = A::augment_args(Command::new("settings"));
    command.get_arguments().filter(|arg| arg.get_env().is_some()).cloned().collect()
}

impl<A: Args> Args for Unchecked<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command).mut_args(|arg| match arg.get_env() {
            Some(_) => arg.value_parser(ValueParser::os_string()),
            None => arg,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<A: Args> FromArgMatches for Unchecked<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let value = matches.try_get_one::<OsString>(id).ok()??.clone();
            let is_flag = matches.value_source(id) == Some(ValueSource::CommandLine);
            Some((id.to_owned(), value, is_flag))
        };
        Ok(Self { given: arguments::<A>().iter().filter_map(value).collect(), settings: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Args> Unchecked<A> {
    /// Reads each setting by itself, so that one that is wrong hides no other.
    ///
    /// # Errors
    /// When `.env` cannot be read.
    pub fn check(self) -> Result<Checked<A>, EnvironmentError> {
        let environment = Environment::read()?;
        let (mut settings, mut problems, mut good) = (Vec::new(), Vec::new(), vec![OsString::from("settings")]);
        for arg in arguments::<A>() {
            let (Some(variable), Some(long)) = (arg.get_env().and_then(|name| name.to_str()), arg.get_long()) else {
                continue;
            };
            let given = self.given.iter().find(|(id, ..)| id == arg.get_id().as_str());
            let (value, origin) = match (given, environment.find(variable)) {
                (Some((_, value, true)), _) => (Some(value.clone()), Origin::Flag),
                (_, Ok(Some((value, origin)))) => (Some(value.into()), origin),
                (_, Err(error)) => {
                    problems.push(error.to_string());
                    (None, Origin::Unset)
                }
                (Some((_, value, _)), Ok(None)) => (Some(value.clone()), Origin::Default),
                (None, Ok(None)) => (None, Origin::Unset),
            };
            if let Some(value) = &value {
                let flag = OsString::from_iter([format!("--{long}=").into(), value.clone()]);
                match readable::<A>(&flag) {
                    Ok(()) => good.push(flag),
                    Err(problem) => problems.push(format!("{variable}: {problem}")),
                }
            }
            let value = shown(&arg, variable, value.as_deref().map(std::ffi::OsStr::to_string_lossy).as_deref());
            settings.push(Setting { name: variable.to_owned(), value, origin });
        }
        let command = || A::augment_args(without_environment(Command::new("settings")));
        let usable = without_environment(command()).try_get_matches_from(good);
        let usable = usable.and_then(|matches| A::from_arg_matches(&matches));
        if let Err(error) = &usable
            && problems.is_empty()
        {
            problems.push(first_line(error));
        }
        Ok(Checked { settings, problems, usable: usable.ok() })
    }
}

/// Whether one value can be read. A missing setting beside it is not its problem.
fn readable<A: Args>(flag: &OsString) -> Result<(), String> {
    let command = without_environment(A::augment_args(Command::new("settings")));
    match command.try_get_matches_from([&OsString::from("settings"), flag]) {
        Err(error) if error.kind() != clap::error::ErrorKind::MissingRequiredArgument => {
            Err(first_line(&super::command_line::without_address(error)))
        }
        _ => Ok(()),
    }
}

/// clap would read the variables itself.
fn without_environment(command: Command) -> Command {
    command.mut_args(|arg| arg.env(clap::builder::Resettable::Reset))
}

/// clap's text without usage and hints.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\n").next().unwrap_or(text).replace("\n  ", " ").trim().to_owned()
}

fn shown(arg: &Arg, variable: &str, value: Option<&str>) -> String {
    let is_address = variable.ends_with("_URL") || variable.ends_with("_URI") || variable.ends_with("_ENDPOINT");
    match value {
        None => "unset".to_owned(),
        Some(value) if variable == "NATS_URL" => redact::without_passwords(value),
        Some(value) if is_address => redact::without_login(value),
        Some(_) if arg.is_hide_env_values_set() => "set".to_owned(),
        Some(value) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{LogArgs, LogLevel, NatsArgs, SignatureArgs, StreamArgs};

    #[derive(Debug, Args)]
    struct Settings {
        #[command(flatten)]
        nats: NatsArgs,
        #[command(flatten)]
        streams: StreamArgs,
        #[command(flatten)]
        signatures: SignatureArgs,
        #[command(flatten)]
        logs: LogArgs,
    }

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Unchecked<Settings>,
    }

    fn check(args: &[&str]) -> Checked<Settings> {
        let cli = Cli::try_parse_from(std::iter::once("x").chain(args.iter().copied())).unwrap();
        cli.settings.check().unwrap()
    }

    #[test]
    fn every_value_that_cannot_be_read_is_a_problem_and_the_others_are_in_effect() {
        let checked = check(&["--ld-replicas", "2", "--ld-events-max-age=soon", "--log-level", "debug"]);
        assert_eq!(checked.problems.len(), 2, "{:?}", checked.problems);
        assert!(checked.problems[0].starts_with("LD_EVENTS_MAX_AGE: ") && checked.problems[1].contains("1, 3 or 5"));
        let usable = checked.usable.unwrap();
        assert_eq!((usable.streams.ld_replicas, usable.logs.log_level), (1, LogLevel::Debug));
        let of = |name: &str| checked.settings.iter().find(|setting| setting.name == name).unwrap().clone();
        assert_eq!((of("LD_REPLICAS").value.as_str(), of("LD_REPLICAS").origin), ("2", Origin::Flag));
        assert_eq!((of("LOG_FORMAT").value.as_str(), of("LOG_FORMAT").origin), ("text", Origin::Default));
        assert_eq!((of("NATS_CA").value.as_str(), of("NATS_CA").origin), ("unset", Origin::Unset));
    }

    #[test]
    fn no_secret_is_shown() {
        let checked = check(&["--github-secret", "hush", "--nats-url", "nats://u:hush@a:1, http://u:hush@b"]);
        assert!(!format!("{:?}{:?}", checked.settings, checked.problems).contains("hush"), "{checked:?}");
    }

    #[test]
    fn a_flag_that_is_none_is_refused() {
        let error = Cli::try_parse_from(["x", "--log-levle", "debug"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (clap::error::ErrorKind::UnknownArgument, 2));
    }
}
