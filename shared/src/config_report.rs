//! What `config check` prints: effective settings, notes, problems; of either binary.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{LogArgs, NatsArgs, ShutdownArgs, SignatureArgs, StreamArgs};
use crate::credentials::{self, Handle};
use crate::redact;

/// What `config check` prints.
#[derive(Debug, Default)]
pub struct Report {
    /// Name and value; secrets as set or unset.
    pub settings: Vec<(&'static str, String)>,
    /// What is as it should be, but worth knowing.
    pub notes: Vec<String>,
    /// What keeps the process from starting or working.
    pub problems: Vec<String>,
}

impl Report {
    /// Prints it; exit code 0 when there is no problem, else 1.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // A closed pipe is the reader's choice.
        drop(io::stdout().write_all(self.text().as_bytes()));
        if self.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// One line each.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let notes = self.notes.iter().map(|note| format!("note: {note}"));
        let problems = self.problems.iter().map(|problem| format!("problem: {problem}"));
        lines.chain(notes).chain(problems).map(|line| line + "\n").collect()
    }

    /// Checks the settings for NATS, without connecting.
    pub fn check_nats(&mut self, nats: &NatsArgs) {
        if let Err(error) = crate::nats::check_url(&nats.nats_url) {
            self.problems
                .push(format!("NATS_URL is not a list of nats:// or tls:// addresses, separated by commas: {error}"));
        }
        if nats.nats_cert.is_some() != nats.nats_key.is_some() {
            self.problems.push("NATS_CERT and NATS_KEY belong together: set both or neither".to_owned());
        }
        let files = [
            ("NATS_CREDS", &nats.nats_creds),
            ("NATS_CA", &nats.nats_ca),
            ("NATS_CERT", &nats.nats_cert),
            ("NATS_KEY", &nats.nats_key),
        ];
        for (name, path) in files {
            if let Some((path, error)) = path.as_ref().and_then(|path| Some((path, std::fs::File::open(path).err()?))) {
                self.problems.push(format!("{name}: cannot read {}: {error}", path.display()));
            }
        }
    }

    /// Reads the credentials file as the process would.
    pub fn check_file(&mut self, file: &Path) -> Option<Handle> {
        match credentials::open(file) {
            Ok((handle, _)) => {
                if !file.exists() {
                    self.notes.push(format!("{} is absent: no course has settings of its own", file.display()));
                }
                Some(handle)
            }
            Err(problem) => {
                self.problems.push(problem.to_string());
                None
            }
        }
    }
}

/// A secret's value in a report.
#[must_use]
pub fn secret<T>(secret: &Option<T>) -> String {
    if secret.is_some() { "set" } else { "unset" }.to_owned()
}

/// A file's path in a report.
#[must_use]
pub fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "unset".to_owned(), |path| path.display().to_string())
}

/// The settings of NATS and its streams, which both binaries have.
#[must_use]
pub fn nats(nats: &NatsArgs, streams: &StreamArgs) -> Vec<(&'static str, String)> {
    vec![
        ("NATS_URL", redact::without_passwords(&nats.nats_url)),
        ("NATS_CREDS", path(&nats.nats_creds)),
        ("NATS_CA", path(&nats.nats_ca)),
        ("NATS_CERT", path(&nats.nats_cert)),
        ("NATS_KEY", path(&nats.nats_key)),
        ("NATS_PREFIX", nats.nats_prefix.clone().unwrap_or_else(|| "unset".to_owned())),
        ("LD_EVENTS_MAX_AGE", format!("{}s", streams.ld_events_max_age.as_secs())),
        ("LD_EVENTS_MAX_BYTES", streams.events_max_bytes().to_string()),
        ("LD_REPLICAS", streams.ld_replicas.to_string()),
    ]
}

/// The settings of the process itself, which both binaries have.
#[must_use]
pub fn process(logs: &LogArgs, shutdown: &ShutdownArgs) -> Vec<(&'static str, String)> {
    vec![
        ("LOG_LEVEL", logs.log_level.as_str().to_uppercase()),
        ("LOG_FORMAT", format!("{:?}", logs.log_format).to_lowercase()),
        ("SHUTDOWN_GRACE", format!("{}s", shutdown.shutdown_grace.as_secs())),
    ]
}

/// The default signing secrets, as set or unset.
#[must_use]
pub fn signatures(signatures: &SignatureArgs) -> Vec<(&'static str, String)> {
    let of = signatures.0.iter().flat_map(|(source, secrets)| {
        let names = &source.description().secret;
        [(names.variable, secret(&secrets.current)), (names.previous_variable, secret(&secrets.previous))]
    });
    of.collect()
}
