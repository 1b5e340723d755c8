//! What is wrong with the credentials file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with the credentials file, and where. Never repeats a value of the file: it may be a secret in the
/// wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError {
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    pub(super) course: Option<String>,
    pub(super) field: Option<String>,
    /// Boxed, because an error should be small.
    pub(super) mistake: Box<Mistake>,
}

impl CredentialsError {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, mistake: Mistake) -> Self {
        Self { file: file.to_owned(), line: None, course: None, field: None, mistake: Box::new(mistake) }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(course) = &self.course {
            write!(f, ", course {course:?}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field {field:?}")?;
        }
        write!(f, ": {}", self.mistake)
    }
}

impl std::error::Error for CredentialsError {}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error("it is larger than 4 MiB")]
    TooLarge,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("the file is not UTF-8: save it as UTF-8")]
    NotUtf8,
    /// What serde_json says about syntax; it quotes nothing.
    #[error("{0}")]
    Syntax(String),
    #[error("the file must be one object with a field for each course")]
    FileShape,
    #[error("a course must be an object with at least \"teams\"")]
    CourseShape,
    #[error("a course needs a name")]
    NoName,
    #[error("this course is in the file twice: merge the two")]
    CourseTwice,
    #[error("this field is in the course twice: keep one")]
    FieldTwice,
    #[error("no such field; a course may have {0}")]
    NoSuchField(String),
    #[error("\"teams\" is missing: list the course's teams")]
    NoTeams,
    #[error("it is missing, but {0} is there, which is of no use without it")]
    Missing(&'static str),
    #[error("it must be a list of team names: [\"TeamA\", \"TeamB\"]")]
    TeamsShape,
    #[error("it must be a text in quotes")]
    TextShape,
    #[error("it must be true, false or \"both\"")]
    TeamSecretsShape,
    #[error(
        "it must be an object that says where each team lives: {{\"TeamA\": \"name\", \"TeamB\": [\"one\", \"two\"]}}"
    )]
    PlacesShape,
    #[error("it must be a date such as \"2026-09-14\"")]
    DateShape,
    #[error("it must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
    NameShape,
    #[error("it is a day before \"from\": exchange the two")]
    EndsBeforeItBegins,
    #[error("team number {0} is not a name a webhook's URL can have: 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
    TeamName(usize),
    #[error("team {0:?} is listed twice: keep one")]
    TeamTwice(String),
    #[error("team {team:?} is also in course {course:?}: a team has one course")]
    TeamElsewhere { team: String, course: String },
    #[error("team {0:?} is not in the course's \"teams\": add it there or correct the name")]
    UnknownTeam(String),
}
