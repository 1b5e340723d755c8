//! Courses, their teams and the keys that sign for them.

use std::collections::HashMap;

use jiff::civil::Date;

use crate::config::SignatureArgs;
use crate::ids::{Project, QualityModel};
use crate::secret::Secret;
use crate::source::{PerSource, Source};

/// A signing secret and, while senders are being changed over, the one it replaces.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    /// The secret senders should use.
    pub current: Secret,
    /// The secret it replaced, still accepted.
    pub previous: Option<Secret>,
}

/// Which keys sign for the teams of a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamSecrets {
    /// `false`: the course's secret.
    Off,
    /// `"both"`: the course's secret, and a key derived from it for each team.
    Both,
    /// `true`: only the key derived for the team.
    On,
}

/// One course of the credentials file.
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
    /// Whether each team has a key of its own; `None` leaves it to the default.
    pub team_secrets: Option<TeamSecrets>,
    /// The quality model of its teams.
    pub quality_model: Option<QualityModel>,
    /// The local date on which the course begins.
    pub from: Option<Date>,
    /// The local date on which the course ends.
    pub to: Option<Date>,
    pub(super) places: PerSource<HashMap<Project, Vec<String>>>,
    pub(super) keys: PerSource<Option<SigningKeys>>,
}

impl Course {
    /// The course's own signing keys of a source, which replace the default ones for its teams.
    #[must_use]
    pub const fn signing_keys(&self, source: Source) -> Option<&SigningKeys> {
        self.keys.of(source).as_ref()
    }

    /// Where a team lives at a source, as the file says it: organisations or `owner/repo`, or slugs.
    #[must_use]
    pub fn places(&self, source: Source, team: &Project) -> &[String] {
        self.places.of(source).get(team).map_or(&[], Vec::as_slice)
    }
}

/// All courses, by team.
#[derive(Debug, Clone, Default)]
pub struct Courses {
    courses: Vec<Course>,
    by_team: HashMap<Project, usize>,
}

impl Courses {
    /// Adds a course whose teams are in no other; see [`Self::course_of`].
    pub(super) fn push(&mut self, course: Course) {
        self.by_team.extend(course.teams.iter().map(|team| (team.clone(), self.courses.len())));
        self.courses.push(course);
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

/// A secret's predecessor is set, the secret is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{previous} is set but {current}, which replaced it, is missing: set {current}")]
pub struct MissingSecret {
    current: &'static str,
    previous: &'static str,
}

/// Signing keys that apply where a course has none of its own.
#[derive(Debug, Clone, Default)]
pub struct DefaultKeys(PerSource<Option<SigningKeys>>);

impl DefaultKeys {
    /// Takes them from the settings.
    ///
    /// # Errors
    /// When a predecessor is set without the secret that replaced it; the text names the missing variable.
    pub fn new(args: &SignatureArgs) -> Result<Self, MissingSecret> {
        let mut keys = PerSource::default();
        for (source, secrets) in args.0.iter() {
            let names = &source.description().secret;
            *keys.of_mut(source) = match (&secrets.current, &secrets.previous) {
                (Some(current), previous) => Some(SigningKeys { current: current.clone(), previous: previous.clone() }),
                (None, None) => None,
                (None, Some(_)) => {
                    return Err(MissingSecret { current: names.variable, previous: names.previous_variable });
                }
            };
        }
        Ok(Self(keys))
    }

    /// The default keys of a source.
    #[must_use]
    pub const fn of(&self, source: Source) -> Option<&SigningKeys> {
        self.0.of(source).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_without_its_successor_names_the_missing_variable() {
        let mut args = SignatureArgs::default();
        args.0.of_mut(Source::Taiga).previous = "old".parse().ok();
        let error = DefaultKeys::new(&args).unwrap_err().to_string();
        assert_eq!(
            error,
            "TAIGA_SECRET_PREVIOUS is set but TAIGA_SECRET, which replaced it, is missing: set TAIGA_SECRET"
        );
    }
}
