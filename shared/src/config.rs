//! Settings: flags, environment, files (CONTRACT §6). The only module that reads the environment.
//!
//! For each setting `NAME` the first of these that is there wins: the flag `--name`, the variable `NAME`,
//! the file that `NAME_FILE` names, the same two in `.env` of the working folder, the default. A variable
//! that is set to nothing counts as absent.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};

/// Older names of variables, still read (CONTRACT §6).
const OLDER_NAMES: [(&str, &str); 2] =
    [("GITHUB_SECRET", "GITHUB_SIGNATURE_KEY"), ("TAIGA_SECRET", "TAIGA_SIGNATURE_KEY")];

/// A secret: never printed, wiped when dropped, never empty.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself. Whoever calls this must not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(set)")
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.is_empty() { Err("an empty secret is no secret") } else { Ok(Self(s.into())) }
    }
}

/// How to reach NATS.
#[derive(Clone, Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// Addresses of the NATS server or cluster, separated by commas; tls:// for TLS, nats://user:password@host:4222 to
    /// log in.
    #[arg(long, env = "NATS_URL", default_value = "nats://localhost:4222", hide_env_values = true)]
    pub nats_url: String,
    /// Credentials file (JWT and nkey) for NATS.
    #[arg(long, env = "NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// PEM file of the certificate authority that signed the NATS server's certificate.
    #[arg(long, env = "NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// PEM file of the client certificate shown to NATS; needs NATS_KEY too.
    #[arg(long, env = "NATS_CERT", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    #[arg(long, env = "NATS_KEY", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// Prefix of all stream names and subjects, so that several installations share a server.
    #[arg(long, env = "NATS_PREFIX", value_parser = prefix)]
    pub nats_prefix: Option<String>,
}

/// Its address may hold a password, which is never shown.
impl fmt::Debug for NatsArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsArgs")
            .field("nats_url", &crate::report::without_passwords(&self.nats_url))
            .field("nats_creds", &self.nats_creds)
            .field("nats_ca", &self.nats_ca)
            .field("nats_cert", &self.nats_cert)
            .field("nats_key", &self.nats_key)
            .field("nats_prefix", &self.nats_prefix)
            .finish()
    }
}

fn prefix(s: &str) -> Result<String, crate::ids::InvalidName> {
    crate::ids::Project::new(s).map(|name| name.as_str().to_owned())
}

/// Limits of the streams. A running stream is only ever widened.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamArgs {
    /// How long events are kept for replay, such as 30d or 12h; 0s keeps them for ever.
    #[arg(long, env = "LD_EVENTS_MAX_AGE", default_value = "30d", value_parser = humantime::parse_duration)]
    pub ld_events_max_age: Duration,
    /// How many bytes of events are kept, such as 10GiB; 0 sets no limit.
    #[arg(long, env = "LD_EVENTS_MAX_BYTES", default_value = "10GiB")]
    pub ld_events_max_bytes: ByteSize,
    /// Copies of each message in a NATS cluster: 1, 3 or 5.
    #[arg(long, env = "LD_REPLICAS", default_value_t = 1)]
    pub ld_replicas: usize,
}

impl StreamArgs {
    /// The limit as JetStream writes it: -1 for none.
    #[must_use]
    pub fn events_max_bytes(&self) -> i64 {
        match i64::try_from(self.ld_events_max_bytes.as_u64()) {
            Ok(0) | Err(_) => -1,
            Ok(bytes) => bytes,
        }
    }
}

/// How a process speaks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// From which level on lines are written.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", ignore_case = true)]
    pub log_level: LogLevel,
    /// text for people, json for collectors.
    #[arg(long, env = "LOG_FORMAT", default_value = "text", ignore_case = true)]
    pub log_format: LogFormat,
}

/// Where traces go. What is not here (headers, sampling, batching) is read from the standard OTEL_ variables too.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as http://localhost:4318; none is told without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// The whole address for traces, where it is another than /v1/traces of that.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// What this process is called in traces; otherwise ld-connect-ingress or ld-connect-worker.
    #[arg(long, env = "OTEL_SERVICE_NAME")]
    pub otel_service_name: Option<String>,
    /// true tells no traces, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED", default_value = "false", ignore_case = true, action = clap::ArgAction::Set)]
    pub otel_sdk_disabled: bool,
}

impl TraceArgs {
    /// Where traces are sent, if anywhere.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        if self.otel_sdk_disabled {
            return None;
        }
        let under = |base: &String| format!("{}/v1/traces", base.trim_end_matches('/'));
        let own = self.otel_exporter_otlp_traces_endpoint.clone();
        own.or_else(|| self.otel_exporter_otlp_endpoint.as_ref().map(under))
    }
}

/// Levels of log lines; WARNING and CRITICAL are the names the Python service used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// What a person should look at soon.
    #[value(alias = "WARNING")]
    Warn,
    /// What needs a person now.
    #[value(alias = "CRITICAL")]
    Error,
}

impl LogLevel {
    /// The name a log filter knows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Shapes of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// The secrets senders sign with. A course of the teachers' file may have its own.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signatures")]
pub struct SignatureArgs {
    /// Secret of GitHub hooks.
    #[arg(long, env = "GITHUB_SECRET", hide_env_values = true)]
    pub github_secret: Option<Secret>,
    /// The secret that GITHUB_SECRET replaced, accepted while hooks are being changed.
    #[arg(long, env = "GITHUB_SECRET_PREVIOUS", hide_env_values = true)]
    pub github_secret_previous: Option<Secret>,
    /// Secret of Taiga webhooks.
    #[arg(long, env = "TAIGA_SECRET", hide_env_values = true)]
    pub taiga_secret: Option<Secret>,
    /// The secret that TAIGA_SECRET replaced.
    #[arg(long, env = "TAIGA_SECRET_PREVIOUS", hide_env_values = true)]
    pub taiga_secret_previous: Option<Secret>,
    /// Secret of the Google Sheets add-on; without it sheets are accepted unsigned.
    #[arg(long, env = "EXCEL_SECRET", hide_env_values = true)]
    pub excel_secret: Option<Secret>,
    /// The secret that EXCEL_SECRET replaced.
    #[arg(long, env = "EXCEL_SECRET_PREVIOUS", hide_env_values = true)]
    pub excel_secret_previous: Option<Secret>,
}

/// Where the teachers' file is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Teachers' file")]
pub struct CredentialsArgs {
    /// The teachers' file; when it is absent no course has settings of its own.
    #[arg(long, env = "CREDENTIALS_FILE", default_value = "config_files/credentials_config.json")]
    pub credentials_file: PathBuf,
}

/// How long a process may take to stop.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Stopping")]
pub struct ShutdownArgs {
    /// How long what is in flight may take after SIGTERM, such as 20s.
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "20s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,
}

/// Reads the settings of this process, or prints help or what is wrong and exits.
#[must_use]
pub fn parse<T: Parser>() -> T {
    parse_args(std::env::args_os())
}

/// The same, for a binary that has only commands and does `command` when none is given. As an optional command
/// beside flags of its own, clap would check the flags' variables for every other command too.
#[must_use]
pub fn parse_or<T: Parser>(command: &str) -> T {
    parse_args(with_command(std::env::args_os().collect(), command))
}

/// The arguments, with the command that they leave out.
fn with_command(mut args: Vec<OsString>, command: &str) -> Vec<OsString> {
    let first = args.get(1).map(|first| first.to_string_lossy());
    let about_itself = |first: &str| ["-h", "--help", "-V", "--version"].contains(&first);
    if first.is_none_or(|first| first.starts_with('-') && !about_itself(&first)) {
        args.insert(args.len().min(1), command.into());
    }
    args
}

fn parse_args<T: Parser>(args: impl IntoIterator<Item = OsString>) -> T {
    let environment =
        Environment::read().unwrap_or_else(|error| clap::Error::raw(clap::error::ErrorKind::Io, error).exit());
    match try_parse(args, &environment) {
        Ok(settings) => settings,
        // A setting that cannot be read is what a check is for: a problem like the others, with their exit code.
        Err(error) if error.use_stderr() && std::env::args().skip(1).take(2).eq(["config", "check"]) => {
            drop(error.print());
            std::process::exit(1);
        }
        Err(error) => error.exit(),
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
            // clap would take the variable itself, an empty one too; here it is only shown in the help.
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
        return Err(clap::Error::raw(clap::error::ErrorKind::Io, format!("{error}\n")));
    }
    let mut command = command;
    // What the whole command line ends its help with (exit codes) belongs to each of its commands.
    let last_words = command.get_after_help().cloned();
    for name in command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect::<Vec<_>>() {
        let mut failure = None;
        command = command.mut_subcommand(&name, |sub| {
            let sub = match &last_words {
                Some(words) if sub.get_after_help().is_none() => sub.after_help(words.clone()),
                _ => sub,
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

/// What is wrong with the setting of `.env` that comes after so many good ones. The library would quote it, and it
/// may be a secret.
fn dotenv_problem(after: usize, error: dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(..) => format!(
            ".env: setting {} cannot be read; write NAME=value, and a value with spaces between single quotes\n",
            after + 1
        ),
        error => format!(".env: {error}\n"),
    }
}

/// An address with a password in it is not repeated by the message that it is wrong.
fn without_address(mut error: clap::Error) -> clap::Error {
    let told = error.get(ContextKind::InvalidValue);
    if matches!(told, Some(ContextValue::String(value)) if value.contains('@')) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    error
}

/// The process's variables and those of `.env`.
struct Environment {
    process: HashMap<String, String>,
    dotenv: HashMap<String, String>,
}

impl Environment {
    fn read() -> Result<Self, String> {
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let dotenv = match dotenvy::from_filename_iter(".env") {
            Ok(pairs) => pairs
                .enumerate()
                .map(|(after, pair)| pair.map_err(|error| dotenv_problem(after, error)))
                .collect::<Result<_, _>>()?,
            Err(error) if error.not_found() => HashMap::new(),
            Err(error) => return Err(dotenv_problem(0, error)),
        };
        Ok(Self { process, dotenv })
    }

    /// What the environment says of a setting; an empty value says nothing.
    fn value(&self, name: &str) -> Result<Option<String>, String> {
        let older = OLDER_NAMES.iter().filter(|(new, _)| *new == name).map(|(_, old)| *old);
        for name in std::iter::once(name).chain(older) {
            for variables in [&self.process, &self.dotenv] {
                let get = |name: &str| variables.get(name).filter(|value| !value.is_empty());
                if let Some(value) = get(name) {
                    return Ok(Some(value.clone()));
                }
                let Some(path) = get(&format!("{name}_FILE")) else {
                    continue;
                };
                let text = std::fs::read_to_string(path).map_err(|error| {
                    format!("{name}_FILE: cannot read {path}: {error}; create the file or unset the variable")
                })?;
                // Editors and `echo` end a file with a newline that is not part of a secret.
                let text = text.trim_end_matches(['\r', '\n']);
                if !text.is_empty() {
                    return Ok(Some(text.to_owned()));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let environment = Environment { process: map(process), dotenv: map(dotenv) };
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
        assert_eq!(settings.signatures.github_secret.unwrap().expose(), "old");
        assert!(settings.signatures.taiga_secret.is_none());
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_newline_and_is_never_shown() {
        let path = std::env::temp_dir().join(format!("ld-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\n").unwrap();
        let settings = read(&[], &[("GITHUB_SECRET_FILE", path.to_str().unwrap())], &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(settings.signatures.github_secret.as_ref().unwrap().expose(), "s3cret");
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
        let environment = Environment { process: HashMap::new(), dotenv: HashMap::new() };
        let help = |name: &str| {
            try_parse::<Cli>(["x", "sub", name, "--help"].map(OsString::from), &environment).unwrap_err().to_string()
        };
        assert!(help("leaf").contains("Exit codes: 0"), "{}", help("leaf"));
        assert!(help("other").contains("its own") && !help("other").contains("Exit codes"), "{}", help("other"));
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
    fn a_line_of_dotenv_that_cannot_be_read_is_counted_and_not_quoted() {
        for line in ["GITHUB_SECRET=s3cret and more", "GITHUB_SECRET='s3cret", "s3cret", "X=s3cret=s3cret s3cret"] {
            let parsed: Result<Vec<_>, _> = dotenvy::Iter::new(line.as_bytes()).collect();
            let told = dotenv_problem(2, parsed.expect_err(line));
            assert!(told.starts_with(".env: setting 3 cannot be read") && !told.contains("s3cret"), "{line}: {told}");
        }
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
