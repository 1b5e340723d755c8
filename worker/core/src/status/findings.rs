//! What is wrong.
//!
//! No unauthenticated client can raise the level. A request whose sender is not verified leaves a note only. Silence,
//! which cannot be forged, makes a finding about a team.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::credentials::Courses;
use shared::facts::WebhookRefused;
use shared::ids::Project;
use shared::source::Source;

use super::level::Level;
use super::observations::Observations;
use super::rhythm::has_stopped;
use super::teams::{Row, natural};
use super::term::Term;
use crate::problem::{Part, Problem};

/// How long events may wait before it is a finding, in milliseconds.
const WAITING_LIMIT: i64 = 60_000;

/// From which share of its limit on is the event stream nearly full? Workers remove events from nine tenths on.
const NEARLY_FULL: f64 = 0.95;

/// How long a refusal or a reconciliation is a finding, in milliseconds.
const REFUSAL_AGE: i64 = 7 * 24 * 3_600_000;

/// How long LD Eval may fail before it is a finding, in milliseconds: longer than a restart takes.
const EVAL_GRACE: i64 = 30_000;

/// Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Finding {
    Nats { error: String },
    Mongo { error: String },
    Collection { name: String, error: String, advice: String },
    NotProcessed { events: u64, since: i64 },
    NearlyFull { percent: u64 },
    EvalAway { waiting: u64, error: String },
    DeadLetters { letters: u64 },
    UnsignedDeadLetters { letters: u64 },
    CredentialsFile { error: String },
    NeverHeard { course: String, teams: Vec<String>, of: usize },
    SourceNeverHeard { course: String, source: Source, teams: Vec<String> },
    Stopped { course: String, source: Source, teams: Vec<String>, last: i64 },
    Refused { source: Source, reason: String, teams: Vec<String>, at: i64 },
    Unverified { source: Source, reason: String, teams: Vec<String>, at: i64 },
    UnknownProject { source: Source, reason: String, prj: Option<Project>, at: i64 },
    Reconciliation { source: Source, prj: Project, unconfirmed: usize, findings: Vec<String>, at: i64 },
}

impl Finding {
    pub const fn level(&self) -> Level {
        match self {
            Self::Nats { .. } | Self::Mongo { .. } | Self::Collection { .. } | Self::NotProcessed { .. } => {
                Level::Broken
            }
            Self::Unverified { .. } | Self::UnknownProject { .. } | Self::UnsignedDeadLetters { .. } => Level::Well,
            // What only could not be compared is as true as its webhooks.
            Self::Reconciliation { unconfirmed: 0, .. } => Level::Well,
            _ => Level::Look,
        }
    }
}

/// The findings, worst first. Rows that one of them is about get its level.
pub fn find(observed: &Observations, courses: &Courses, rows: &mut [Row], now: i64) -> Vec<Finding> {
    let mut findings = parts(observed, now);
    findings.extend(dead_letters(observed, rows));
    if let Some(error) = &observed.credentials_file {
        findings.push(Finding::CredentialsFile { error: error.clone() });
    }
    // Without the event stream, a silent team looks the same as one that was not read.
    if observed.nats.is_none() {
        findings.extend(never_heard(courses, rows, now));
        findings.extend(stopped(observed, courses, rows, now));
    }
    findings.extend(refused(rows, now));
    findings.extend(unknown(observed, rows, now));
    findings.extend(reconciliation(rows, now));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level()));
    findings
}

fn parts(observed: &Observations, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &observed.nats {
        findings.push(Finding::Nats { error: error.clone() });
    }
    for Problem { part, what, advice } in &observed.problems {
        let error = what.clone();
        match part {
            Part::Nats if observed.nats.is_some() => {}
            Part::Nats => findings.push(Finding::Nats { error }),
            Part::Mongo => findings.push(Finding::Mongo { error }),
            Part::Collection(name) => {
                findings.push(Finding::Collection { name: name.clone(), error, advice: advice.clone() });
            }
            // All workers say what LD Eval answered; see below.
            Part::Eval => {}
        }
    }
    let queues = &observed.queues;
    if let Some(since) = queues.events_since.filter(|since| now - since > WAITING_LIMIT) {
        findings.push(Finding::NotProcessed { events: queues.events, since });
    }
    let full = queues.bytes as f64 / queues.max_bytes as f64;
    if queues.max_bytes > 0 && full > NEARLY_FULL {
        findings.push(Finding::NearlyFull { percent: (full * 100.0) as u64 });
    }
    if let Some(failed) = &observed.refused_by_eval
        && queues.notifications > 0
        && observed.accepted_by_eval.as_ref().is_none_or(|ok| ok.at < failed.at && now - ok.at > EVAL_GRACE)
    {
        findings.push(Finding::EvalAway { waiting: queues.notifications, error: failed.why().to_owned() });
    }
    findings
}

fn dead_letters(observed: &Observations, rows: &mut [Row]) -> Vec<Finding> {
    // Also of a listed team: who does not sign may be anybody.
    let verified = || observed.dead.iter().filter(|(key, _)| key.verified);
    let all = observed.dead.values().sum::<u64>().max(observed.queues.dead);
    let ours: u64 = verified().map(|(_, count)| count).sum();
    let theirs: BTreeSet<(&str, &str)> = verified().map(|(key, _)| (key.source.as_str(), key.prj.as_str())).collect();
    for row in rows.iter_mut().filter(|row| theirs.contains(&(row.source.as_str(), row.prj.as_str()))) {
        row.level = row.level.max(Level::Look);
    }
    let found = [
        (ours, Finding::DeadLetters { letters: ours }),
        (all - ours, Finding::UnsignedDeadLetters { letters: all - ours }),
    ];
    found.into_iter().filter(|(count, _)| *count > 0).map(|(_, finding)| finding).collect()
}

/// Teams of which no event came, and sources that the credentials file names and that never sent: one finding for each
/// course, and one for each course and source.
fn never_heard(courses: &Courses, rows: &mut [Row], now: i64) -> Vec<Finding> {
    let heard: BTreeSet<(Source, Project)> =
        rows.iter().filter(|row| row.last_accepted.is_some()).map(|row| (row.source, row.prj.clone())).collect();
    let mut findings = Vec::new();
    let mut look = |source: Option<Source>, teams: &BTreeSet<&Project>| {
        let theirs = |row: &&mut Row| teams.contains(&row.prj) && source.is_none_or(|source| source == row.source);
        rows.iter_mut().filter(theirs).for_each(|row| row.level = row.level.max(Level::Look));
    };
    for course in courses.iter().filter(|course| Term::of(course).has_settled(now)) {
        let name = || course.name.clone();
        let sent = |source: Source, team: &Project| heard.contains(&(source, team.clone()));
        let (some, none): (BTreeSet<&Project>, BTreeSet<&Project>) =
            course.teams.iter().partition(|team| Source::ALL.iter().any(|source| sent(*source, team)));
        if !none.is_empty() {
            look(None, &none);
            findings.push(Finding::NeverHeard { course: name(), teams: names(none), of: course.teams.len() });
        }
        for source in Source::ALL {
            let named = |team: &&&Project| !course.places(source, team).is_empty() && !sent(source, team);
            let teams: BTreeSet<&Project> = some.iter().filter(named).copied().collect();
            if !teams.is_empty() {
                look(Some(source), &teams);
                findings.push(Finding::SourceNeverHeard { course: name(), source, teams: names(teams) });
            }
        }
    }
    findings
}

/// Sources of listed teams that stopped sending: one finding for each course and source.
fn stopped(observed: &Observations, courses: &Courses, rows: &mut [Row], now: i64) -> Vec<Finding> {
    let mut groups: BTreeMap<(String, Source), (BTreeSet<Project>, i64)> = BTreeMap::new();
    if !observed.has_rhythms {
        return Vec::new();
    }
    for row in rows.iter_mut() {
        let heard = observed.heard.get(&(row.source, row.prj.clone()));
        let (Some(course), Some(heard)) = (courses.course_of(&row.prj), heard) else { continue };
        let term = Term::of(course);
        if term.runs(now) && has_stopped(&heard.days, heard.last, term.from, now) {
            let (teams, last) = groups.entry((course.name.clone(), row.source)).or_default();
            teams.insert(row.prj.clone());
            *last = (*last).max(heard.last);
            row.level = row.level.max(Level::Look);
        }
    }
    let finding = |((course, source), (teams, last))| Finding::Stopped { course, source, teams: names(&teams), last };
    groups.into_iter().map(finding).collect()
}

/// Refusals after which no event was accepted: one finding for each source and reason.
fn refused(rows: &mut [Row], now: i64) -> Vec<Finding> {
    let mut groups: BTreeMap<(bool, Source, String), (BTreeSet<Project>, i64)> = BTreeMap::new();
    for row in rows.iter_mut() {
        for (verified, refused) in [(true, row.last_refused.clone()), (false, row.last_unverified.clone())] {
            let Some(refused) = row.open(&refused).filter(|refused| now - refused.at < REFUSAL_AGE) else { continue };
            let (teams, at) = groups.entry((verified, row.source, refused.reason.clone())).or_default();
            teams.insert(row.prj.clone());
            *at = (*at).max(refused.at);
            if verified {
                row.level = row.level.max(Level::Look);
            }
        }
    }
    let finding = |((verified, source, reason), (teams, at))| {
        let teams = names(&teams);
        match verified {
            true => Finding::Refused { source, reason, teams, at },
            false => Finding::Unverified { source, reason, teams, at },
        }
    };
    groups.into_iter().map(finding).collect()
}

fn unknown(observed: &Observations, rows: &[Row], now: i64) -> Vec<Finding> {
    let shown: BTreeSet<(Source, &Project)> = rows.iter().map(|row| (row.source, &row.prj)).collect();
    let unknown = observed.unknown.iter().filter(|(source, refused)| {
        now - refused.at < REFUSAL_AGE && refused.prj.as_ref().is_none_or(|prj| !shown.contains(&(**source, prj)))
    });
    let finding = |(source, refused): (&Source, &WebhookRefused)| {
        let (source, reason, prj) = (*source, refused.reason.clone(), refused.prj.clone());
        Finding::UnknownProject { source, reason, prj, at: refused.at }
    };
    unknown.map(finding).collect()
}

/// What reconciliation left to a person: one finding a team and source.
fn reconciliation(rows: &mut [Row], now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in rows {
        let Some(found) = row.reconciled.as_ref().filter(|found| now - found.at < REFUSAL_AGE) else { continue };
        if !found.findings.is_empty() {
            let (source, prj, unconfirmed) = (row.source, row.prj.clone(), found.unconfirmed);
            let finding =
                Finding::Reconciliation { source, prj, unconfirmed, findings: found.findings.clone(), at: found.at };
            row.level = row.level.max(finding.level());
            findings.push(finding);
        }
    }
    findings
}

fn names<'p>(teams: impl IntoIterator<Item = &'p Project>) -> Vec<String> {
    let mut names: Vec<String> = teams.into_iter().map(ToString::to_string).collect();
    names.sort_by(|a, b| natural(a, b));
    names
}
