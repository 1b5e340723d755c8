//! The default signing secrets, and which keys are in force for a project.

use super::course::{Course, Courses};
use super::keys::{Key, SigningKeys};
use crate::config::{SignatureArgs, TeamSecrets};
use crate::ids::Project;
use crate::source::{PerSource, Source};

/// A secret's predecessor is set, the secret is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{previous} is set but {current}, which replaced it, is missing: set {current}")]
pub struct MissingSecret {
    current: &'static str,
    previous: &'static str,
}

impl MissingSecret {
    pub(super) const fn new(current: &'static str, previous: &'static str) -> Self {
        Self { current, previous }
    }
}

/// Signing keys that apply where a course has none of its own.
#[derive(Debug, Clone, Default)]
pub struct DefaultKeys {
    keys: PerSource<Option<SigningKeys>>,
    team_secrets: TeamSecrets,
}

impl DefaultKeys {
    /// Takes them from the settings.
    ///
    /// # Errors
    /// When a predecessor is set without the secret that replaced it; the text names the missing variable.
    pub fn new(args: &SignatureArgs) -> Result<Self, MissingSecret> {
        let mut keys = PerSource::default();
        for (source, secrets) in args.secrets.iter() {
            let names = &source.description().secret;
            *keys.of_mut(source) = match (&secrets.current, &secrets.previous) {
                (Some(current), previous) => Some(SigningKeys { current: current.clone(), previous: previous.clone() }),
                (None, None) => None,
                (None, Some(_)) => {
                    return Err(MissingSecret::new(names.variable, names.previous_variable));
                }
            };
        }
        Ok(Self { keys, team_secrets: args.team_secrets })
    }

    /// The default keys of a source.
    #[must_use]
    pub const fn of(&self, source: Source) -> Option<&SigningKeys> {
        self.keys.of(source).as_ref()
    }

    /// Which keys sign for the teams of a course, or of none.
    #[must_use]
    pub fn team_secrets(&self, course: Option<&Course>) -> TeamSecrets {
        course.and_then(|course| course.team_secrets).unwrap_or(self.team_secrets)
    }

    /// The keys in force for a project at a source, the one that its sender should use first: of its course, else the
    /// default ones. None where no secret is set.
    ///
    /// Without a project the default secrets, as themselves.
    #[must_use]
    pub fn in_force(&self, courses: &Courses, source: Source, project: Option<&Project>) -> Vec<Key> {
        let course = project.and_then(|project| courses.course_of(project));
        let keys = course.and_then(|course| course.signing_keys(source)).or_else(|| self.of(source));
        match (keys, project) {
            (None, _) => Vec::new(),
            (Some(keys), Some(project)) => keys.of_project(self.team_secrets(course), source, project),
            (Some(keys), None) => keys.as_themselves().collect(),
        }
    }
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
