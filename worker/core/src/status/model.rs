//! What the status page says, without how: one state of everything, and what is wrong with it, worst first.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::credentials::Courses;
use shared::facts::{NotificationAccepted, NotificationFailed, TokenBudget, WebhookRefused};
use shared::ids::Project;
use shared::source::Source;

use super::activity::{HOURS, Heard};
use crate::problem::{Part, Problem};

/// How long events may wait before it counts as nobody working on them, in milliseconds.
const PATIENCE: i64 = 60_000;

/// From which share of its ceiling on is the event stream nearly full? Workers make room from nine tenths on.
const NEARLY_FULL: f64 = 0.95;

/// How long after it a refusal is worth a look, in milliseconds: a week of an absent teacher.
const REFUSAL_AGE: i64 = 7 * 24 * 3_600_000;

/// How long a token that is not used is shown, in milliseconds: it may be nobody's any more.
const TOKEN_AGE: i64 = 7 * 24 * 3_600_000;

/// How long LD Eval may fail before it counts: a restart is none of anybody's business.
const EVAL_PATIENCE: i64 = 30_000;

/// How well all is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Well,
    /// Somebody should look, events are safe.
    Look,
    /// Something does not work now.
    Broken,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Finding {
    /// NATS does not answer this worker.
    Nats {
        /// Its own words.
        error: String,
    },
    /// MongoDB does not take this worker's writes.
    Mongo {
        /// Its own words.
        error: String,
    },
    /// One collection cannot be written; only its events wait.
    Collection {
        /// Its name.
        name: String,
        /// Why.
        error: String,
        /// What to do.
        advice: String,
    },
    /// Events wait and are not worked off.
    NotWorkedOff {
        /// How many.
        events: u64,
        /// Since when, in milliseconds since 1970.
        since: i64,
    },
    /// The event stream is nearly full.
    NearlyFull {
        /// How full, in per cent.
        percent: u64,
    },
    /// LD Eval does not take notifications.
    EvalAway {
        /// How many wait.
        waiting: u64,
        /// The last failure.
        error: String,
    },
    /// There are dead letters.
    DeadLetters {
        /// How many.
        letters: u64,
    },
    /// The teachers' file is broken.
    TeachersFile {
        /// Where and why.
        error: String,
    },
    /// The last webhook of a team was refused because of its signature.
    Signature {
        /// Whose.
        prj: String,
        /// From where.
        source: Source,
        /// When, in milliseconds since 1970.
        at: i64,
    },
    /// The last webhook of a team was refused for another reason.
    Refused {
        /// Whose.
        prj: String,
        /// From where.
        source: Source,
        /// The word for it.
        reason: String,
        /// When, in milliseconds since 1970.
        at: i64,
    },
    /// Webhooks for a project that is nobody's are refused.
    Stranger {
        /// The project, if it said one.
        prj: Option<String>,
        /// From where.
        source: Source,
        /// The word for it.
        reason: String,
        /// When, in milliseconds since 1970.
        at: i64,
    },
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Nats { .. } | Self::Mongo { .. } | Self::NotWorkedOff { .. } => Level::Broken,
            // Strangers knock at every door of the internet: shown in the table, no reason to get up.
            Self::Stranger { .. } => Level::Well,
            _ => Level::Look,
        }
    }
}

/// One team and one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `prj`; none of refusals for projects that are nobody's.
    pub prj: Option<String>,
    /// Where from.
    pub source: Source,
    /// The course of the teachers' file that lists it.
    pub course: Option<String>,
    /// When the last event was accepted, in milliseconds since 1970, as far as the event stream goes back.
    pub last_accepted: Option<i64>,
    /// The last refusal.
    pub last_refused: Option<WebhookRefused>,
    /// Events in each of the last 24 hours, the present one last.
    pub hours: [u32; HOURS],
    /// Dead letters.
    pub dead: u64,
}

/// What was read of everything; what could not be read is as if there were none.
#[derive(Debug, Default)]
pub struct Seen {
    /// Why NATS could not be read.
    pub nats: Option<String>,
    /// What `/readyz` complains of.
    pub problems: Vec<Problem>,
    /// What is wrong with the teachers' file.
    pub teachers_file: Option<String>,
    /// Who spoke when.
    pub heard: BTreeMap<(Source, Project), Heard>,
    /// Events not counted yet.
    pub behind: u64,
    /// Refusals of teams.
    pub refused: BTreeMap<(Source, Project), WebhookRefused>,
    /// Refusals of projects that the ingress did not know.
    pub strangers: BTreeMap<Source, WebhookRefused>,
    /// LD Eval's last yes.
    pub told: Option<NotificationAccepted>,
    /// LD Eval's last no.
    pub untold: Option<NotificationFailed>,
    /// What is left of which token.
    pub tokens: Vec<TokenBudget>,
    /// Events not settled.
    pub events: u64,
    /// When the oldest of them came.
    pub events_since: Option<i64>,
    /// Notifications not sent.
    pub notifications: u64,
    /// Look-ups not made.
    pub lookups: u64,
    /// Dead letters by reason, source and project.
    pub dead: BTreeMap<(String, String, String), u64>,
    /// Bytes of the event stream.
    pub bytes: u64,
    /// Its ceiling; zero or less is none.
    pub max_bytes: i64,
}

/// The state of everything.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// As of when, in milliseconds since 1970.
    pub at: i64,
    /// How well all is.
    pub level: Level,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
    /// Who spoke when, those of the teachers' file first.
    pub rows: Vec<Row>,
    /// Events not settled yet.
    pub events_waiting: u64,
    /// When the oldest of them came, in milliseconds since 1970.
    pub events_waiting_since: Option<i64>,
    /// Notifications for LD Eval not sent yet.
    pub notifications_waiting: u64,
    /// Look-ups at GitHub and Taiga not made yet.
    pub lookups_waiting: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<String, u64>,
    /// When LD Eval was last told.
    pub last_told: Option<NotificationAccepted>,
    /// When it last did not take a notification.
    pub last_untold: Option<NotificationFailed>,
    /// What is left of which token.
    pub tokens: Vec<TokenBudget>,
    /// Bytes of the event stream.
    pub stream_bytes: u64,
    /// Its ceiling, if it has one.
    pub stream_max_bytes: Option<u64>,
    /// Events of the last day that the pictures do not show yet.
    pub events_not_counted: u64,
}

impl Status {
    /// Makes sense of what was seen.
    #[must_use]
    pub fn of(seen: Seen, courses: &Courses, now: i64) -> Self {
        let rows = rows(&seen, courses, now);
        let mut findings = findings(&seen, &rows, now);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level()));
        let mut dead = BTreeMap::new();
        for ((reason, ..), letters) in &seen.dead {
            *dead.entry(reason.clone()).or_default() += letters;
        }
        Self {
            at: now,
            level: findings.iter().map(Finding::level).max().unwrap_or(Level::Well),
            findings,
            rows,
            events_waiting: seen.events,
            events_waiting_since: seen.events_since,
            notifications_waiting: seen.notifications,
            lookups_waiting: seen.lookups,
            dead,
            last_told: seen.told,
            last_untold: seen.untold,
            tokens: newest(seen.tokens, now),
            stream_bytes: seen.bytes,
            stream_max_bytes: u64::try_from(seen.max_bytes).ok().filter(|max| *max > 0),
            events_not_counted: seen.behind,
        }
    }
}

/// Teams of the teachers' file come with every source they could have used, so that silence shows; others with
/// those they did use.
fn rows(seen: &Seen, courses: &Courses, now: i64) -> Vec<Row> {
    let mut keys: Vec<(Source, Project)> = Vec::new();
    for course in courses.iter() {
        keys.extend(course.teams.iter().flat_map(|team| Source::ALL.map(|source| (source, team.clone()))));
    }
    let listed: BTreeSet<_> = keys.iter().cloned().collect();
    let mut others: Vec<_> = seen.heard.keys().chain(seen.refused.keys()).cloned().collect();
    others.retain(|key| !listed.contains(key));
    others.sort_by(|(a, x), (b, y)| (x, a).cmp(&(y, b)));
    others.dedup();
    keys.extend(others);
    // An ingress that was just started does not know who spoke before; this page does.
    let own = |key: &(Source, Project)| {
        let stranger = seen.strangers.get(&key.0).filter(|refused| refused.prj.as_ref() == Some(&key.1));
        [seen.refused.get(key), stranger].into_iter().flatten().max_by_key(|refused| refused.at).cloned()
    };
    let known: BTreeSet<_> = keys.iter().cloned().collect();
    let mut dead: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for ((_, source, prj), letters) in &seen.dead {
        *dead.entry((source, prj)).or_default() += letters;
    }
    let mut rows: Vec<Row> = keys
        .into_iter()
        .map(|key| {
            let heard = seen.heard.get(&key);
            Row {
                course: courses.course_of(&key.1).map(|course| course.name.clone()),
                last_accepted: heard.map(|heard| heard.last),
                last_refused: own(&key),
                hours: heard.map_or([0; HOURS], |heard| heard.by_hour(now)),
                dead: dead.get(&(key.0.as_str(), key.1.as_str())).copied().unwrap_or(0),
                prj: Some(key.1.to_string()),
                source: key.0,
            }
        })
        .collect();
    let strangers = seen
        .strangers
        .iter()
        .filter(|(source, refused)| refused.prj.as_ref().is_none_or(|prj| !known.contains(&(**source, prj.clone()))));
    rows.extend(strangers.map(|(source, refused)| Row {
        prj: None,
        source: *source,
        course: None,
        last_accepted: None,
        last_refused: Some(refused.clone()),
        hours: [0; HOURS],
        dead: 0,
    }));
    rows
}

fn findings(seen: &Seen, rows: &[Row], now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &seen.nats {
        findings.push(Finding::Nats { error: error.clone() });
    }
    for Problem { part, what, advice } in &seen.problems {
        match part {
            Part::Nats if seen.nats.is_some() => {}
            Part::Nats => findings.push(Finding::Nats { error: what.clone() }),
            Part::Collection(name) => {
                let (name, error, advice) = (name.clone(), what.clone(), advice.clone());
                findings.push(Finding::Collection { name, error, advice });
            }
            Part::Mongo => findings.push(Finding::Mongo { error: what.clone() }),
            // What LD Eval answers is told by all workers, see `last_untold`.
            Part::Eval => {}
        }
    }
    if let Some(since) = seen.events_since.filter(|since| now - since > PATIENCE) {
        findings.push(Finding::NotWorkedOff { events: seen.events, since });
    }
    let full = seen.bytes as f64 / seen.max_bytes as f64;
    if seen.max_bytes > 0 && full > NEARLY_FULL {
        findings.push(Finding::NearlyFull { percent: (full * 100.0) as u64 });
    }
    if let Some(untold) = &seen.untold
        && seen.notifications > 0
        && seen.told.as_ref().is_none_or(|told| told.at < untold.at && now - told.at > EVAL_PATIENCE)
    {
        findings.push(Finding::EvalAway { waiting: seen.notifications, error: untold.why().to_owned() });
    }
    let letters = seen.dead.values().sum();
    if letters > 0 {
        findings.push(Finding::DeadLetters { letters });
    }
    if let Some(error) = &seen.teachers_file {
        findings.push(Finding::TeachersFile { error: error.clone() });
    }
    for row in rows {
        let Some(WebhookRefused { at, prj: said, reason }) = row.last_refused.clone() else { continue };
        let source = row.source;
        match &row.prj {
            _ if now - at > REFUSAL_AGE => {}
            None => findings.push(Finding::Stranger { prj: said.map(String::from), source, reason, at }),
            // One that came after says that it is mended.
            Some(_) if row.last_accepted.is_some_and(|accepted| accepted >= at) => {}
            Some(prj) if matches!(reason.as_str(), "signature" | "no_secret") => {
                findings.push(Finding::Signature { prj: prj.clone(), source, at });
            }
            Some(prj) => findings.push(Finding::Refused { prj: prj.clone(), source, reason, at }),
        }
    }
    findings
}

/// An edited token is another; of each course's the one used last.
fn newest(mut tokens: Vec<TokenBudget>, now: i64) -> Vec<TokenBudget> {
    tokens.retain(|token| now - token.at < TOKEN_AGE);
    tokens.sort_by(|a, b| (&a.provider, &a.label, b.at).cmp(&(&b.provider, &b.label, a.at)));
    tokens.dedup_by(|a, b| (&a.provider, &a.label) == (&b.provider, &b.label));
    tokens
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NOW: i64 = 1_795_455_723_511;

    fn team(name: &str) -> Project {
        Project::new(name).unwrap()
    }

    fn status(seen: Seen) -> Status {
        let file = br#"{"amep": {"teams": ["A", "B"]}}"#;
        Status::of(seen, &shared::credentials::parse(Path::new("f.json"), file).unwrap(), NOW)
    }

    fn refused(at: i64, prj: &str, reason: &str) -> WebhookRefused {
        WebhookRefused { at, prj: Some(team(prj)), reason: reason.into() }
    }

    #[test]
    fn nothing_seen_is_all_well_and_every_listed_team_has_its_three_rows() {
        let status = status(Seen::default());
        assert_eq!((status.level, status.findings.len(), status.rows.len()), (Level::Well, 0, 6));
        assert!(status.rows.iter().all(|row| row.course.as_deref() == Some("amep") && row.last_accepted.is_none()));
    }

    #[test]
    fn each_trouble_is_found_and_the_worst_comes_first() {
        let seen = Seen {
            problems: vec![Problem::mongo("no answer within 4 s")],
            teachers_file: Some("line 3".into()),
            untold: Some(NotificationFailed { at: NOW - 1, error: "503".into() }),
            notifications: 4,
            events: 2,
            events_since: Some(NOW - 2 * PATIENCE),
            dead: BTreeMap::from([(("panic".into(), "github".into(), "A".into()), 3)]),
            bytes: 96,
            max_bytes: 100,
            refused: BTreeMap::from([((Source::Taiga, team("B")), refused(NOW - 5, "B", "signature"))]),
            ..Seen::default()
        };
        let status = status(seen);
        assert_eq!(status.level, Level::Broken);
        let levels: Vec<_> = status.findings.iter().map(Finding::level).collect();
        assert!(levels.is_sorted_by(|a, b| a >= b), "{levels:?}");
        let expected = [
            Finding::Mongo { error: "no answer within 4 s".into() },
            Finding::NotWorkedOff { events: 2, since: NOW - 2 * PATIENCE },
            Finding::NearlyFull { percent: 96 },
            Finding::EvalAway { waiting: 4, error: "503".into() },
            Finding::DeadLetters { letters: 3 },
            Finding::TeachersFile { error: "line 3".into() },
            Finding::Signature { prj: "B".into(), source: Source::Taiga, at: NOW - 5 },
        ];
        assert_eq!(status.findings, expected);
        assert_eq!(status.dead, BTreeMap::from([("panic".to_owned(), 3)]));
        assert_eq!(status.rows[0].dead, 3);
    }

    #[test]
    fn a_refusal_is_over_once_something_was_accepted_after_it() {
        let heard = Heard { last: NOW - 10, ..Heard::default() };
        let seen = |at| Seen {
            heard: BTreeMap::from([((Source::Github, team("A")), heard.clone())]),
            refused: BTreeMap::from([((Source::Github, team("A")), refused(at, "A", "signature"))]),
            ..Seen::default()
        };
        assert_eq!(status(seen(NOW - 20)).level, Level::Well);
        assert_eq!(status(seen(NOW - 5)).level, Level::Look);
        assert_eq!(status(seen(NOW - 20)).rows[0].last_refused, Some(refused(NOW - 20, "A", "signature")));
    }

    #[test]
    fn a_stranger_is_shown_and_is_no_trouble_and_is_none_when_this_page_knows_the_project() {
        let seen = || Seen {
            strangers: BTreeMap::from([(Source::Github, refused(NOW - 5, "Who", "signature"))]),
            ..Seen::default()
        };
        let stranger = status(seen());
        assert_eq!((stranger.level, stranger.rows.len()), (Level::Well, 7));
        assert_eq!(stranger.rows[6].prj, None);
        let heard = BTreeMap::from([((Source::Github, team("Who")), Heard { last: NOW - 10, ..Heard::default() })]);
        let known = status(Seen { heard, ..seen() });
        assert_eq!((known.level, known.rows.len()), (Level::Look, 7));
        assert_eq!(known.rows[6].prj.as_deref(), Some("Who"));
    }

    #[test]
    fn of_a_courses_tokens_the_one_used_last_is_shown_and_none_that_nobody_uses() {
        let token = |label: &str, at, left| TokenBudget {
            at,
            provider: "github".into(),
            label: label.into(),
            remaining: Some(left),
            stopped_until: None,
        };
        let tokens = vec![token("amep", NOW - 9, 1), token("amep", NOW - 5, 2), token("gone", NOW - TOKEN_AGE, 3)];
        let shown = status(Seen { tokens, ..Seen::default() }).tokens;
        assert_eq!(shown, [token("amep", NOW - 5, 2)]);
    }

    #[test]
    fn ld_eval_is_away_only_while_something_waits_for_it() {
        let seen = |told, untold, notifications| Seen {
            told: Some(NotificationAccepted { at: told, prj: "A".into(), event_type: "push".into() }),
            untold: Some(NotificationFailed { at: untold, error: "503".into() }),
            notifications,
            ..Seen::default()
        };
        assert_eq!(status(seen(NOW - 60_000, NOW - 1_000, 1)).level, Level::Look);
        assert_eq!(status(seen(NOW - 60_000, NOW - 1_000, 0)).level, Level::Well);
        assert_eq!(status(seen(NOW - 1_000, NOW - 2_000, 1)).level, Level::Well);
        assert_eq!(status(seen(NOW - 2_000, NOW - 1_000, 1)).level, Level::Well, "a moment is no outage");
    }
}
