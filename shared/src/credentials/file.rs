//! Reads the credentials file strictly: an unknown field is refused, with its place.
//!
//! Every value is kept as raw JSON first, so that its line is known, and then read with its own type. serde's error
//! about a wrong type is never shown, because it quotes the value, and the value may be a secret.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use jiff::civil::Date;
use serde::de::{Deserialize, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::course::{Course, Courses};
use super::keys::SigningKeys;
use super::problem::{CredentialsError, Mistake};
use crate::config::TeamSecrets;
use crate::ids::{Project, QualityModel};
use crate::secret::Secret;
use crate::source::{PerSource, Source};

/// Reads the text of a credentials file; `file` is its name in errors.
///
/// # Errors
/// When anything in it is not understood.
pub fn parse(file: &Path, bytes: &[u8]) -> Result<Courses, CredentialsError> {
    // Windows editors write a byte-order mark; it means nothing.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialsError::of_file(file, Mistake::NotUtf8))?;
    let entries = entries(file, text)?;
    let mut courses = Courses::default();
    for (name, raw) in entries.0 {
        let at = Place { file, text, course: &name };
        if name.trim().is_empty() {
            return Err(at.problem(raw, None, Mistake::NoName));
        }
        if courses.iter().any(|course| course.name == name) {
            return Err(at.problem(raw, None, Mistake::CourseTwice));
        }
        let course = course(&at, raw, &courses)?;
        courses.push(course);
    }
    Ok(courses)
}

/// An object's fields in their order, repeated ones too: a map would keep the last of two equal names.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        json.deserialize_map(InOrder)
    }
}

/// The file's courses. Syntax errors anywhere in the file are found here.
fn entries<'a>(file: &Path, text: &'a str) -> Result<Entries<'a>, CredentialsError> {
    let problem = |error: serde_json::Error, course| {
        let mistake = if error.is_data() { Mistake::FileShape } else { Mistake::Syntax(without_position(&error)) };
        CredentialsError {
            file: file.to_owned(),
            line: Some(error.line()),
            course,
            field: None,
            mistake: Box::new(mistake),
        }
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let course = error.path().iter().next().and_then(|segment| match segment {
            serde_path_to_error::Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        problem(error.into_inner(), course)
    })?;
    json.end().map_err(|error| problem(error, None))?;
    Ok(entries)
}

/// serde_json appends the position to every message; ours is at the beginning.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// The reader's position in the file.
struct Place<'p> {
    file: &'p Path,
    text: &'p str,
    course: &'p str,
}

impl Place<'_> {
    fn problem(&self, raw: &RawValue, field: Option<&str>, mistake: Mistake) -> CredentialsError {
        let offset = (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().iter().take(offset);
        CredentialsError {
            file: self.file.to_owned(),
            line: Some(before.filter(|byte| **byte == b'\n').count() + 1),
            course: Some(self.course.to_owned()),
            field: field.map(str::to_owned),
            mistake: Box::new(mistake),
        }
    }
}

/// The fields of a course, as a message lists them.
fn fields() -> String {
    let fixed = ["teams", "github_token", "taiga_user", "taiga_password"].into_iter();
    let of = Source::ALL.into_iter().map(Source::description);
    let secrets = of.clone().flat_map(|of| [of.secret.field, of.secret.previous_field]);
    let places = of.filter(|of| of.has_places).map(|of| of.name);
    let last = ["team_secrets", "quality_model", "from", "to"];
    fixed.chain(secrets).chain(places).chain(last).collect::<Vec<_>>().join(", ")
}

/// `{"teams": […], …}`
fn course(at: &Place<'_>, raw: &RawValue, earlier: &Courses) -> Result<Course, CredentialsError> {
    let fields_of: Entries<'_> =
        serde_json::from_str(raw.get()).map_err(|_| at.problem(raw, None, Mistake::CourseShape))?;
    let mut course = Course {
        name: at.course.to_owned(),
        teams: Vec::new(),
        github_token: None,
        taiga_user: None,
        taiga_password: None,
        team_secrets: None,
        quality_model: None,
        from: None,
        to: None,
        places: PerSource::default(),
        keys: PerSource::default(),
    };
    let mut seen = HashMap::new();
    let mut previous = PerSource::<Option<Secret>>::default();
    let mut current = PerSource::<Option<Secret>>::default();
    for (name, value) in &fields_of.0 {
        let wrong = |raw: &RawValue, mistake| at.problem(raw, Some(name), mistake);
        let text = || optional_text(value).ok_or_else(|| wrong(value, Mistake::TextShape));
        let secret = || text().map(|text| text.and_then(|text| text.parse::<Secret>().ok()));
        if seen.insert(name.as_str(), *value).is_some() {
            return Err(wrong(value, Mistake::FieldTwice));
        }
        match name.as_str() {
            "teams" => course.teams = teams(at, value, earlier)?,
            "github_token" => course.github_token = secret()?,
            "taiga_user" => course.taiga_user = text()?,
            "taiga_password" => course.taiga_password = secret()?,
            "team_secrets" => {
                course.team_secrets = team_secrets(value).ok_or_else(|| wrong(value, Mistake::TeamSecretsShape))?;
            }
            "quality_model" => {
                let model = text()?.map(|text| QualityModel::new(&text)).transpose();
                course.quality_model = model.map_err(|_| wrong(value, Mistake::NameShape))?;
            }
            "from" => course.from = date(text()?).map_err(|mistake| wrong(value, mistake))?,
            "to" => course.to = date(text()?).map_err(|mistake| wrong(value, mistake))?,
            other => match source_field(other) {
                Some((source, SourceField::Secret)) => *current.of_mut(source) = secret()?,
                Some((source, SourceField::Previous)) => *previous.of_mut(source) = secret()?,
                // Read below, when the teams are known.
                Some((_, SourceField::Places)) => {}
                None => return Err(wrong(value, Mistake::NoSuchField(fields()))),
            },
        }
    }
    let missing =
        |field, there: &'static str| at.problem(seen.get(there).unwrap_or(&raw), Some(field), Mistake::Missing(there));
    match (&course.taiga_user, &course.taiga_password) {
        (Some(_), None) => return Err(missing("taiga_password", "taiga_user")),
        (None, Some(_)) => return Err(missing("taiga_user", "taiga_password")),
        _ => {}
    }
    for source in Source::ALL {
        let names = &source.description().secret;
        let (current, previous) = (current.of_mut(source).take(), previous.of_mut(source).take());
        *course.keys.of_mut(source) = match (current, previous) {
            (Some(current), previous) => Some(SigningKeys { current, previous }),
            (None, Some(_)) => return Err(missing(names.field, names.previous_field)),
            (None, None) => None,
        };
        if let Some(raw) = seen.get(source.as_str()) {
            *course.places.of_mut(source) = places(at, source, raw, &course.teams)?;
        }
    }
    if let (Some(from), Some(to), Some(raw)) = (course.from, course.to, seen.get("to"))
        && to < from
    {
        return Err(at.problem(raw, Some("to"), Mistake::EndsBeforeItBegins));
    }
    if seen.contains_key("teams") { Ok(course) } else { Err(at.problem(raw, None, Mistake::NoTeams)) }
}

/// The fields of a course that each source has.
enum SourceField {
    Secret,
    Previous,
    Places,
}

fn source_field(name: &str) -> Option<(Source, SourceField)> {
    Source::ALL.into_iter().find_map(|source| {
        let of = source.description();
        let field = match name {
            name if name == of.secret.field => SourceField::Secret,
            name if name == of.secret.previous_field => SourceField::Previous,
            name if of.has_places && name == of.name => SourceField::Places,
            _ => return None,
        };
        Some((source, field))
    })
}

/// `["TeamA", …]`
fn teams(at: &Place<'_>, raw: &RawValue, earlier: &Courses) -> Result<Vec<Project>, CredentialsError> {
    let wrong = |raw: &RawValue, mistake| at.problem(raw, Some("teams"), mistake);
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong(raw, Mistake::TeamsShape))?;
    let mut teams: Vec<Project> = Vec::with_capacity(list.len());
    for raw in list {
        let name: String = serde_json::from_str(raw.get()).map_err(|_| wrong(raw, Mistake::TextShape))?;
        let team = Project::new(&name).map_err(|_| wrong(raw, Mistake::TeamName(teams.len() + 1)))?;
        if teams.contains(&team) {
            return Err(wrong(raw, Mistake::TeamTwice(name)));
        }
        if let Some(other) = earlier.course_of(&team) {
            return Err(wrong(raw, Mistake::TeamElsewhere { team: name, course: other.name.clone() }));
        }
        teams.push(team);
    }
    Ok(teams)
}

/// A text; `""` and `null` are a field left out, because an empty secret is no secret. `None` for anything else.
fn optional_text(raw: &RawValue) -> Option<Option<String>> {
    let text: Option<String> = serde_json::from_str(raw.get()).ok()?;
    Some(text.filter(|text| !text.trim().is_empty()))
}

/// `true`, `false`, `"both"`, or nothing. `None` for anything else.
fn team_secrets(raw: &RawValue) -> Option<Option<TeamSecrets>> {
    match raw.get() {
        "true" => Some(Some(TeamSecrets::On)),
        "false" => Some(Some(TeamSecrets::Off)),
        _ => match optional_text(raw)?.as_deref() {
            Some("both") => Some(Some(TeamSecrets::Both)),
            Some(_) => None,
            None => Some(None),
        },
    }
}

fn date(text: Option<String>) -> Result<Option<Date>, Mistake> {
    // jiff reads more: times, and dates without dashes.
    let read = |text: String| Date::strptime("%Y-%m-%d", text).map_err(|_| Mistake::DateShape);
    text.map(read).transpose()
}

/// `{"TeamA": "place", "TeamB": ["place", "place"]}`
fn places(
    at: &Place<'_>,
    source: Source,
    raw: &RawValue,
    teams: &[Project],
) -> Result<HashMap<Project, Vec<String>>, CredentialsError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    let wrong = |raw: &RawValue, mistake| at.problem(raw, Some(source.as_str()), mistake);
    if optional_text(raw) == Some(None) {
        return Ok(HashMap::new());
    }
    let entries: Entries<'_> = serde_json::from_str(raw.get()).map_err(|_| wrong(raw, Mistake::PlacesShape))?;
    let mut places = HashMap::new();
    for (name, raw) in entries.0 {
        let team = teams.iter().find(|team| team.as_str() == name);
        let team = team.ok_or_else(|| wrong(raw, Mistake::UnknownTeam(name.clone())))?;
        let of_team = match serde_json::from_str(raw.get()) {
            Ok(Some(OneOrMore::One(place))) => vec![place],
            Ok(Some(OneOrMore::More(places))) => places,
            Ok(None) => Vec::new(),
            Err(_) => return Err(wrong(raw, Mistake::PlacesShape)),
        };
        let of_team = of_team.into_iter().map(|place| place.trim().to_owned()).filter(|place| !place.is_empty());
        if places.insert(team.clone(), of_team.collect()).is_some() {
            return Err(wrong(raw, Mistake::TeamTwice(name)));
        }
    }
    Ok(places)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
