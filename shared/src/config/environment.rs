//! The value of a setting in the environment.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::dotenv::{self, DotenvError};
use super::origin::Origin;
use crate::source::Source;

/// Why the environment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// `.env` cannot be used.
    #[error(transparent)]
    Dotenv(#[from] DotenvError),
    /// One of our variables is not text.
    #[error("{0} is not UTF-8: set it again, as UTF-8 text")]
    NotUtf8(String),
    /// The file that `NAME_FILE` names cannot be read.
    #[error("{name}_FILE: cannot read {}: {error}; create the file or unset the variable", path.display())]
    File {
        /// `NAME`.
        name: String,
        /// What `NAME_FILE` says.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

/// The process's variables and those of `.env`.
#[derive(Default)]
pub(super) struct Environment {
    process: HashMap<String, OsString>,
    dotenv: HashMap<String, String>,
}

impl Environment {
    /// Reads both.
    pub(super) fn read() -> Result<Self, EnvironmentError> {
        // None of our variables has a name that is not UTF-8.
        let process = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Ok(Self { process: process.collect(), dotenv: dotenv::read()? })
    }

    #[cfg(test)]
    pub(super) fn of(process: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Self {
        Self {
            process: process.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            dotenv: dotenv.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    /// The value of a setting; an empty value is unset.
    pub(super) fn value(&self, name: &str) -> Result<Option<String>, EnvironmentError> {
        Ok(self.find(name)?.map(|(value, _)| value))
    }

    /// The same, with its origin.
    pub(super) fn find(&self, name: &str) -> Result<Option<(String, Origin)>, EnvironmentError> {
        for found in std::iter::once(name).chain(older_names(name).iter().copied()) {
            if let Some((value, origin)) = self.find_as(found)? {
                let is_older = found != name;
                return Ok(Some((
                    value,
                    if is_older { Origin::Older(found.to_owned(), origin.into()) } else { origin },
                )));
            }
        }
        Ok(None)
    }

    /// The value under this name alone.
    fn find_as(&self, name: &str) -> Result<Option<(String, Origin)>, EnvironmentError> {
        let file_name = format!("{name}_FILE");
        let dotenv = |name: &str| self.dotenv.get(name).map(String::as_str);
        for (value, file, origins) in [
            (
                self.of_process(name)?,
                self.of_process(&file_name)?,
                (Origin::Variable, Origin::File as fn(PathBuf) -> Origin),
            ),
            (dotenv(name), dotenv(&file_name), (Origin::Dotenv, Origin::DotenvFile as fn(PathBuf) -> Origin)),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                return Ok(Some((value.to_owned(), origins.0)));
            }
            if let Some(path) = file.filter(|path| !path.is_empty())
                && let Some(value) = content(name, path.into())?
            {
                return Ok(Some((value, origins.1(path.into()))));
            }
        }
        Ok(None)
    }

    fn of_process(&self, name: &str) -> Result<Option<&str>, EnvironmentError> {
        let value = self.process.get(name);
        value.map(|value| value.to_str().ok_or_else(|| EnvironmentError::NotUtf8(name.to_owned()))).transpose()
    }
}

/// Older names of variables that are no secrets of a source. The Learning Dashboard's `.env` sets them.
const OLDER_NAMES: [(&str, &[&str]); 2] =
    [("MONGO_PASSWORD", &["MONGO_PASS"]), ("PUBLIC_URL", &["WEBHOOK_URL_GITHUB", "WEBHOOK_URL_TAIGA"])];

/// Older names of a variable, still read.
fn older_names(name: &str) -> &'static [&'static str] {
    let mut secrets = Source::ALL.into_iter().map(|source| &source.description().secret);
    let mut others = OLDER_NAMES.into_iter();
    let secret = secrets.find(|secret| secret.variable == name).map(|secret| secret.older_variables);
    secret.or_else(|| others.find(|(newer, _)| *newer == name).map(|(_, older)| older)).unwrap_or(&[])
}

/// The text of the file that `NAME_FILE` names; an empty file is unset.
fn content(name: &str, path: PathBuf) -> Result<Option<String>, EnvironmentError> {
    match std::fs::read_to_string(&path) {
        // Editors and `echo` end a file with a newline that is not part of a secret.
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty())),
        Err(error) => Err(EnvironmentError::File { name: name.to_owned(), path, error }),
    }
}

/// The notification socket and the watchdog interval of the service manager. These are not our settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceManager {
    /// `NOTIFY_SOCKET`.
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`, if it is meant for this process: how often it must notify.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads the process's variables.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var_os(name)?.into_string().ok();
        let meant = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC").filter(|_| meant).and_then(|micros| micros.parse().ok());
        let watchdog = watchdog.filter(|micros| *micros > 0).map(Duration::from_micros);
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()), watchdog }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn an_older_name_is_read_where_the_newer_one_is_unset_or_empty_and_is_named() {
        let older = ("WEBHOOK_URL_TAIGA", "https://b.example/webhook/taiga");
        for (process, value, origin) in [
            (vec![older, ("PUBLIC_URL", ""), ("WEBHOOK_URL_GITHUB", "")], older.1, "environment, as WEBHOOK_URL_TAIGA"),
            (vec![older, ("PUBLIC_URL", "https://a.example")], "https://a.example", "environment"),
        ] {
            let found = Environment::of(&process, &[]).find("PUBLIC_URL").unwrap().unwrap();
            assert_eq!((found.0.as_str(), found.1.to_string().as_str()), (value, origin));
        }
        let dotenv = Environment::of(&[], &[("MONGO_PASS", "p$w")]).find("MONGO_PASSWORD").unwrap().unwrap();
        assert_eq!((dotenv.0.as_str(), dotenv.1.to_string().as_str()), ("p$w", ".env, as MONGO_PASS"));
    }

    #[test]
    fn a_variable_of_ours_that_is_not_utf_8_is_named_and_another_is_of_no_interest() {
        let mut environment = Environment::of(&[], &[]);
        let broken = OsString::from_vec(b"s3cret\xff".to_vec());
        environment.process.insert("GITHUB_SECRET".to_owned(), broken.clone());
        environment.process.insert("TAIGA_SECRET_FILE".to_owned(), broken.clone());
        environment.process.insert("OTHER".to_owned(), broken);
        for name in ["GITHUB_SECRET", "TAIGA_SECRET"] {
            let error = environment.value(name).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains("is not UTF-8") && !error.contains("s3cret"), "{error}");
        }
        assert_eq!(environment.value("EXCEL_SECRET").unwrap(), None);
    }
}
