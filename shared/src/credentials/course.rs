//! Courses, their teams and the keys that sign for them.

use std::collections::HashMap;

use jiff::civil::Date;

use super::keys::SigningKeys;
use crate::config::TeamSecrets;
use crate::ids::{Project, QualityModel};
use crate::secret::Secret;
use crate::source::{PerSource, Source};

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
