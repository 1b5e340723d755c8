//! Reads the teachers' file strictly: what it does not understand it refuses, with the place.
//!
//! No message repeats a value of the file, because the value may be a secret in the wrong place.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Course, Courses, SigningKeys};
use crate::config::Secret;
use crate::ids::Project;

/// The fields of a course, as a message lists them.
const FIELDS: &str = "teams, github_token, taiga_user, taiga_password, github_secret, github_secret_previous, \
                      taiga_secret, taiga_secret_previous, excel_secret, excel_secret_previous";

/// What is wrong with the teachers' file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    line: Option<usize>,
    course: Option<String>,
    field: Option<String>,
    message: String,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, course: None, field: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
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
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Problem {}

/// Reads the file's text.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Courses, Problem> {
    // Windows editors write a byte-order mark; it means nothing.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text =
        std::str::from_utf8(bytes).map_err(|_| Problem::of_file(file, "the file is not UTF-8: save it as UTF-8"))?;
    let place = Place::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let courses = CoursesSeed(&place).deserialize(&mut json).and_then(|courses| json.end().map(|()| courses));
    courses.map_err(|error| Problem {
        file: file.to_owned(),
        line: Some(error.line()),
        course: place.course.take(),
        field: place.field.take(),
        message: without_position(&error),
    })
}

/// serde_json puts the position behind every message; ours comes first.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Where in the file the reader is.
#[derive(Default)]
struct Place {
    course: RefCell<Option<String>>,
    field: RefCell<Option<String>>,
}

/// Refuses every kind of value that the visitor does not take, without repeating it.
macro_rules! refuse {
    ($message:expr; $($kind:ident),*) => { $(refuse!(@$kind $message);)* };
    (@scalar $message:expr) => {
        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> { Err(E::custom($message)) }
        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> { Err(E::custom($message)) }
        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> { Err(E::custom($message)) }
        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> { Err(E::custom($message)) }
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Err(E::custom($message)) }
    };
    (@text $message:expr) => {
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> { Err(E::custom($message)) }
    };
    (@list $message:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> { Err(A::Error::custom($message)) }
    };
    (@object $message:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> { Err(A::Error::custom($message)) }
    };
}

/// `{course: {…}, …}`
struct CoursesSeed<'p>(&'p Place);

impl<'de> DeserializeSeed<'de> for CoursesSeed<'_> {
    type Value = Courses;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Courses, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CoursesSeed<'_> {
    type Value = Courses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object with a field for each course")
    }

    refuse!("the file must be one object with a field for each course"; scalar, text, list);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Courses, A::Error> {
        let mut all = Courses::default();
        let mut names = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let index = all.courses.len();
            self.0.course.replace(Some(name.clone()));
            if name.trim().is_empty() {
                return Err(A::Error::custom("a course needs a name"));
            }
            if names.insert(name.clone(), index).is_some() {
                return Err(A::Error::custom("this course is in the file twice: merge the two"));
            }
            let course = map.next_value_seed(CourseSeed { place: self.0, name: &name, earlier: &mut all })?;
            all.courses.push(course);
            self.0.course.replace(None);
        }
        Ok(all)
    }
}

/// `{"teams": […], …}`
struct CourseSeed<'p, 'c> {
    place: &'p Place,
    name: &'c str,
    earlier: &'c mut Courses,
}

impl<'de> DeserializeSeed<'de> for CourseSeed<'_, '_> {
    type Value = Course;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Course, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CourseSeed<'_, '_> {
    type Value = Course;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the course's settings")
    }

    refuse!("a course must be an object with at least \"teams\""; scalar, text, list);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Course, A::Error> {
        let mut teams = None;
        let mut texts = HashMap::<&'static str, Option<String>>::new();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.place.field.replace(Some(name.clone()));
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom("this field is in the course twice: keep one"));
            }
            match FIELDS.split(", ").find(|field| *field == name) {
                Some("teams") => {
                    teams = Some(map.next_value_seed(TeamsSeed { earlier: &mut *self.earlier, course: self.name })?)
                }
                Some(field) => drop(texts.insert(field, map.next_value_seed(SettingSeed)?)),
                None => return Err(A::Error::custom(format!("no such field; a course may have {FIELDS}"))),
            }
            self.place.field.replace(None);
        }
        let mut text = |field| texts.remove(field).flatten();
        let mut both = |first: &'static str, second: &'static str| match (text(first), text(second)) {
            (None, Some(_)) => {
                self.place.field.replace(Some(first.to_owned()));
                Err(A::Error::custom(format!("it is missing, but {second} is there, which is of no use without it")))
            }
            pair => Ok(pair),
        };
        let (taiga_password, taiga_user) = both("taiga_password", "taiga_user")?;
        if taiga_password.is_some() && taiga_user.is_none() {
            self.place.field.replace(Some("taiga_user".to_owned()));
            return Err(A::Error::custom("it is missing, but taiga_password is there, which is of no use without it"));
        }
        let github_keys = both("github_secret", "github_secret_previous")?;
        let taiga_keys = both("taiga_secret", "taiga_secret_previous")?;
        let excel_keys = both("excel_secret", "excel_secret_previous")?;
        Ok(Course {
            name: self.name.to_owned(),
            teams: teams.ok_or_else(|| A::Error::custom("\"teams\" is missing: list the course's teams"))?,
            github_token: secret(text("github_token")),
            taiga_user,
            taiga_password: secret(taiga_password),
            github_keys: keys(github_keys),
            taiga_keys: keys(taiga_keys),
            excel_keys: keys(excel_keys),
        })
    }
}

fn secret(text: Option<String>) -> Option<Secret> {
    text.and_then(|text| text.parse().ok())
}

fn keys((current, previous): (Option<String>, Option<String>)) -> Option<SigningKeys> {
    secret(current).map(|current| SigningKeys { current, previous: secret(previous) })
}

/// `["TeamA", …]`
struct TeamsSeed<'c> {
    earlier: &'c mut Courses,
    course: &'c str,
}

impl<'de> DeserializeSeed<'de> for TeamsSeed<'_> {
    type Value = Vec<Project>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Vec<Project>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TeamsSeed<'_> {
    type Value = Vec<Project>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of team names")
    }

    refuse!("it must be a list of team names: [\"TeamA\", \"TeamB\"]"; scalar, text, object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Project>, A::Error> {
        let mut teams = Vec::new();
        let index = self.earlier.courses.len();
        while let Some(name) = list.next_element_seed(TextSeed)? {
            let number = teams.len() + 1;
            let team = Project::new(&name).map_err(|_| {
                A::Error::custom(format!(
                    "team number {number} is not a name a webhook's URL can have: 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
                ))
            })?;
            if let Some(other) = self.earlier.by_team.insert(team.clone(), index) {
                let other = self.earlier.courses.get(other).map_or(self.course, |course| &course.name);
                return Err(A::Error::custom(if other == self.course {
                    format!("team {team:?} is listed twice: keep one", team = team.as_str())
                } else {
                    format!("team {team:?} is also in course {other:?}: a team has one course", team = team.as_str())
                }));
            }
            teams.push(team);
        }
        Ok(teams)
    }
}

/// A text, or nothing: an empty secret is no secret (CONTRACT §1), so `""` and `null` are a field left out.
struct SettingSeed;

impl<'de> DeserializeSeed<'de> for SettingSeed {
    type Value = Option<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for SettingSeed {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or null")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        TextSeed.deserialize(json).map(|text| Some(text).filter(|text| !text.trim().is_empty()))
    }
}

/// A text.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    refuse!("it must be a text in quotes"; scalar, list, object);

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
