//! The teachers' file (CONTRACT §5): which teams a course has, and the course's own secrets.
//!
//! ```json
//! { "amep": { "teams": ["AMEP11Beats"], "github_token": "ghp_…", "taiga_user": "…", "taiga_password": "…",
//!             "github_secret": "…", "github_secret_previous": "…", "taiga_secret": "…", "excel_secret": "…" } }
//! ```
//!
//! [`open`] reads it once, strictly; the [`Watcher`] it returns takes over later edits as a whole or not at
//! all, and the [`Handle`] gives whoever asks the settings in force and what is wrong with the file now.

mod parse;
mod watch;

use std::collections::HashMap;
use std::path::Path;

pub use parse::Problem;
pub use watch::{Handle, Watcher, open};

use crate::config::{Secret, SignatureArgs};
use crate::ids::{Project, Source};

/// A signing secret and, while senders are being changed over, the one it replaces.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    /// The secret senders should use.
    pub current: Secret,
    /// The secret it replaced, still accepted.
    pub previous: Option<Secret>,
}

/// One course of the teachers' file.
#[derive(Debug, Clone)]
pub struct Course {
    /// Its name, the key in the file.
    pub name: String,
    /// Its teams, which are the `prj` of their webhooks.
    pub teams: Vec<Project>,
    /// Token for look-ups at GitHub.
    pub github_token: Option<Secret>,
    /// Account for look-ups at Taiga; there is one exactly when there is a password.
    pub taiga_user: Option<String>,
    /// Password of that account.
    pub taiga_password: Option<Secret>,
    github_keys: Option<SigningKeys>,
    taiga_keys: Option<SigningKeys>,
    excel_keys: Option<SigningKeys>,
}

impl Course {
    /// The course's own signing keys of a source, which replace the default ones for its teams.
    #[must_use]
    pub fn signing_keys(&self, source: Source) -> Option<&SigningKeys> {
        match source {
            Source::Github => self.github_keys.as_ref(),
            Source::Taiga => self.taiga_keys.as_ref(),
            Source::Excel => self.excel_keys.as_ref(),
        }
    }
}

/// All courses, by team.
#[derive(Debug, Clone, Default)]
pub struct Courses {
    courses: Vec<Course>,
    by_team: HashMap<Project, usize>,
}

impl Courses {
    /// Reads the text of a teachers' file; `file` is only named in what is wrong with it.
    ///
    /// # Errors
    /// When anything in it is not understood.
    pub fn parse(file: &Path, text: &[u8]) -> Result<Self, Problem> {
        parse::parse(file, text)
    }

    /// The course that lists a team; a team is in one course at most.
    #[must_use]
    pub fn course_of(&self, team: &Project) -> Option<&Course> {
        self.by_team.get(team).and_then(|index| self.courses.get(*index))
    }

    /// Every course, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Course> {
        self.courses.iter()
    }
}

/// Signing keys that apply where a course has none of its own.
#[derive(Debug, Clone, Default)]
pub struct DefaultKeys {
    github: Option<SigningKeys>,
    taiga: Option<SigningKeys>,
    excel: Option<SigningKeys>,
}

impl DefaultKeys {
    /// Takes them from the settings.
    ///
    /// # Errors
    /// When a predecessor is set without the secret that replaced it; the text names the missing variable.
    pub fn new(args: &SignatureArgs) -> Result<Self, String> {
        let keys = |name: &str, current: &Option<Secret>, previous: &Option<Secret>| match (current, previous) {
            (Some(current), previous) => Ok(Some(SigningKeys { current: current.clone(), previous: previous.clone() })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(format!("{name}_PREVIOUS is set but {name}, which replaced it, is missing: set {name}"))
            }
        };
        Ok(Self {
            github: keys("GITHUB_SECRET", &args.github_secret, &args.github_secret_previous)?,
            taiga: keys("TAIGA_SECRET", &args.taiga_secret, &args.taiga_secret_previous)?,
            excel: keys("EXCEL_SECRET", &args.excel_secret, &args.excel_secret_previous)?,
        })
    }

    /// The default keys of a source.
    #[must_use]
    pub fn of(&self, source: Source) -> Option<&SigningKeys> {
        match source {
            Source::Github => self.github.as_ref(),
            Source::Taiga => self.taiga.as_ref(),
            Source::Excel => self.excel.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_without_its_successor_names_the_missing_variable() {
        let args = SignatureArgs { taiga_secret_previous: "old".parse().ok(), ..SignatureArgs::default() };
        let error = DefaultKeys::new(&args).unwrap_err();
        assert_eq!(
            error,
            "TAIGA_SECRET_PREVIOUS is set but TAIGA_SECRET, which replaced it, is missing: set TAIGA_SECRET"
        );
    }
}
