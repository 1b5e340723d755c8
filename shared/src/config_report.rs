//! What `config check` prints: effective settings, notes, problems; of either binary.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Checked, EnvironmentError, NatsArgs, Origin, Setting, Unchecked};
use crate::credentials::{self, Handle};

/// What `config check` prints.
#[derive(Debug, Default)]
pub struct Report {
    /// All settings, with where each value comes from.
    pub settings: Vec<Setting>,
    /// What is right, but worth knowing.
    pub notes: Vec<String>,
    /// What keeps the process from starting or working.
    pub problems: Vec<String>,
}

impl Report {
    /// Prints it; exit code 0 when there is no problem, else 1.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // The reader closed the pipe: nothing to report.
        drop(io::stdout().write_all(self.text().as_bytes()));
        if self.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// One line each. The quoted text may come from anywhere, so control characters are escaped.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.settings.iter().map(|Setting { name, value, origin }| match origin {
            Origin::Unset => format!("{name}=unset"),
            origin => format!("{name}={value}  # {origin}"),
        });
        let notes = self.notes.iter().map(|note| format!("note: {note}"));
        let problems = self.problems.iter().map(|problem| format!("problem: {problem}"));
        let escaped = |line: String| line.chars().flat_map(escape).collect::<String>() + "\n";
        lines.chain(notes).chain(problems).map(escaped).collect()
    }

    /// Begins a report with every setting and every value that cannot be read; with the settings that are usable.
    ///
    /// # Errors
    /// When `.env` cannot be read.
    pub fn of<A: clap::Args>(settings: Unchecked<A>) -> Result<(Self, Option<A>), EnvironmentError> {
        let Checked { settings, problems, usable } = settings.check()?;
        Ok((Self { settings, notes: Vec::new(), problems }, usable))
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

    /// Reads the credentials file as the process would. One that is named on purpose must be there.
    pub fn check_file(&mut self, file: &Path, must_exist: bool) -> Option<Handle> {
        if must_exist && !file.exists() {
            self.problems.push(format!("--file: {} does not exist: check the path", file.display()));
            return None;
        }
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

/// A character, or how a control is shown.
fn escape(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
