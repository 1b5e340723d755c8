//! The rows of the page: a team and a source each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::credentials::Courses;
use shared::facts::WebhookRefused;
use shared::ids::Project;
use shared::source::Source;

use super::activity::{HOURS, Heard, signed_projects};
use super::level::Level;
use super::observations::Observations;
use super::reconciled::Reconciled;

/// Why a project has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The credentials file lists it.
    Listed,
    /// It signed an event.
    Signed,
    /// It sent unsigned sheets only: anyone can.
    Unsigned,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub prj: Project,
    pub source: Source,
    pub standing: Standing,
    /// The worst finding that concerns this row.
    pub level: Level,
    /// The course that lists the team.
    pub course: Option<String>,
    /// When the last event was accepted, in milliseconds since 1970, as far as the event stream goes back.
    pub last_accepted: Option<i64>,
    /// The last refusal of a request whose signature was right.
    pub last_refused: Option<WebhookRefused>,
    /// The last refusal of a request whose sender is not known.
    pub last_unverified: Option<WebhookRefused>,
    /// Events in each of the last 24 hours, the present one last.
    pub hours: [u32; HOURS],
    pub dead: u64,
    /// The last comparison with the provider.
    pub reconciled: Option<Reconciled>,
}

impl Row {
    /// A refusal after which nothing was accepted.
    pub fn open<'r>(&self, refused: &'r Option<WebhookRefused>) -> Option<&'r WebhookRefused> {
        refused.as_ref().filter(|refused| self.last_accepted.is_none_or(|accepted| accepted < refused.at))
    }
}

/// Listed teams have a row for each source, so that missing data is visible; others for the sources that sent something.
pub fn rows(observed: &Observations, courses: &Courses, now: i64) -> Vec<Row> {
    let signed = signed_projects(&observed.heard);
    let listed = courses.iter().flat_map(|course| course.teams.iter());
    let mut keys: BTreeSet<(Source, Project)> =
        listed.flat_map(|team| Source::ALL.map(|source| (source, team.clone()))).collect();
    keys.extend(observed.heard.keys().chain(observed.refused.keys()).chain(observed.unverified.keys()).cloned());
    keys.extend(observed.reconciled.iter().filter(|(_, found)| found.checked > 0).map(|(key, _)| key.clone()));
    let mut dead: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (key, letters) in &observed.dead {
        *dead.entry((&key.source, &key.prj)).or_default() += letters;
    }
    let row = |(source, prj): (Source, Project)| {
        let course = courses.course_of(&prj).map(|course| course.name.clone());
        let standing = match (&course, signed.contains(&prj) || observed.refused.contains_key(&(source, prj.clone()))) {
            (Some(_), _) => Standing::Listed,
            (None, true) => Standing::Signed,
            (None, false) => Standing::Unsigned,
        };
        let key = (source, prj);
        let heard = observed.heard.get(&key);
        Row {
            standing,
            level: Level::Well,
            course,
            last_accepted: heard.map(|heard| heard.last),
            last_refused: observed.refused.get(&key).cloned(),
            last_unverified: unverified(observed, &key),
            hours: heard.map_or([0; HOURS], |heard: &Heard| heard.by_hour(now)),
            reconciled: observed.reconciled.get(&key).cloned(),
            dead: dead.get(&(key.0.as_str(), key.1.as_str())).copied().unwrap_or(0),
            source: key.0,
            prj: key.1,
        }
    };
    keys.into_iter().map(row).collect()
}

/// An ingress that was just started may take a project for unknown that this page knows.
fn unverified(observed: &Observations, key: &(Source, Project)) -> Option<WebhookRefused> {
    let unknown = observed.unknown.get(&key.0).filter(|refused| refused.prj.as_ref() == Some(&key.1));
    [observed.unverified.get(key), unknown].into_iter().flatten().max_by_key(|refused| refused.at).cloned()
}

/// Trouble first, then listed teams, each in the order in which people count: L2 before L10.
pub fn sort(rows: &mut [Row]) {
    rows.sort_by(|a, b| {
        (Reverse(a.level), a.standing)
            .cmp(&(Reverse(b.level), b.standing))
            .then_with(|| natural(a.course.as_deref().unwrap_or_default(), b.course.as_deref().unwrap_or_default()))
            .then_with(|| natural(a.prj.as_str(), b.prj.as_str()))
            .then_with(|| a.source.cmp(&b.source))
    });
}

/// Compares numbers within names by value.
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    alphanumeric_sort::compare_str(a, b)
}
