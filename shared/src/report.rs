//! What `config check` prints: effective settings, notes, problems; of either binary.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{LogArgs, NatsArgs, Secret, ShutdownArgs, StreamArgs};
use crate::credentials::{self, Handle};

/// What there is to say about the settings.
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

    /// Looks whether the settings for NATS can work, without asking NATS.
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

    /// Reads the teachers' file as the process would.
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

/// The settings that both binaries have of NATS and its streams.
#[must_use]
pub fn nats(nats: &NatsArgs, streams: &StreamArgs) -> Vec<(&'static str, String)> {
    vec![
        ("NATS_URL", without_passwords(&nats.nats_url)),
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

/// The settings that both binaries have of their life.
#[must_use]
pub fn process(logs: &LogArgs, shutdown: &ShutdownArgs) -> Vec<(&'static str, String)> {
    vec![
        ("LOG_LEVEL", logs.log_level.as_str().to_uppercase()),
        ("LOG_FORMAT", format!("{:?}", logs.log_format).to_lowercase()),
        ("SHUTDOWN_GRACE", format!("{}s", shutdown.shutdown_grace.as_secs())),
    ]
}

/// `nats://user:password@host` as `nats://…@host`; several, separated by commas, too.
#[must_use]
pub fn without_passwords(urls: &str) -> String {
    urls.split(',').map(|url| without_login(url.trim())).collect::<Vec<_>>().join(",")
}

/// The address of a database, which may have a password with a comma in it.
#[must_use]
pub fn without_password(uri: &Secret) -> String {
    without_login(uri.expose())
}

/// An address without user and password. One that is not even an address, because its host was forgotten, may be
/// nothing but these.
fn without_login(url: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").map_or((String::new(), url), |(name, rest)| (format!("{name}://"), rest));
    if let Some((_, host)) = rest.rsplit_once('@') {
        return format!("{scheme}…@{host}");
    }
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    let is_plain = |host: &str| {
        // An IPv6 address has colons of its own.
        let port = host.rsplit_once(']').map_or(host, |(_, port)| port).split_once(':').map(|(_, port)| port);
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if hosts.split(',').all(is_plain) { url.to_owned() } else { format!("{scheme}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_of_addresses() {
        assert_eq!(without_passwords("nats://u:hush@a:1, b:2,tls://c"), "nats://…@a:1,b:2,tls://c");
        let uri = |text: &str| without_password(&text.parse().unwrap());
        assert_eq!(uri("mongodb://u:h,u@a:1,b:2/x?y=z"), "mongodb://…@a:1,b:2/x?y=z");
        assert_eq!(uri("mongodb://localhost:27017"), "mongodb://localhost:27017");
        assert_eq!(uri("mongodb://[::1]:27017,b:1/x?y=a:b"), "mongodb://[::1]:27017,b:1/x?y=a:b");
        assert_eq!(uri("mongodb://u:hush"), "mongodb://…");
        assert_eq!(uri("mongodb://u:hush/1@h"), "mongodb://…@h");
        assert_eq!(without_passwords("u:hush,nats://[::1]:4222,nats://a:x"), "…,nats://[::1]:4222,nats://…");
    }
}
