use std::collections::BTreeSet;
use std::path::Path;

use shared::credentials;
use shared::ids::Project;

use super::super::activity::{DAY, Heard};
use super::super::observations::{DeadKey, Queues};
use super::super::reconciled::Reconciled;
use super::super::teams::Standing;
use super::*;
use crate::problem::{Part, Problem};

const NOW: i64 = 1_795_455_723_511;

fn team(name: &str) -> Project {
    Project::new(name).unwrap()
}

/// Of a course with the teams L2 and L10, of which GitHub was heard a minute ago.
fn status(mut observed: Observations) -> Status {
    for name in ["L2", "L10"] {
        observed.heard.entry((Source::Github, team(name))).or_insert_with(|| heard(NOW - 60_000));
    }
    Status::of(observed, &courses(), NOW)
}

fn courses() -> Courses {
    credentials::parse(Path::new("f.json"), br#"{"amep": {"teams": ["L10", "L2"]}}"#).unwrap()
}

fn heard(last: i64) -> Heard {
    Heard { last, signed: true, ..Heard::default() }
}

fn refused(at: i64, prj: &str, reason: &str) -> WebhookRefused {
    let (times, since, delivery, earlier) = (1, at, None, Vec::new());
    WebhookRefused { at, prj: Some(team(prj)), reason: reason.into(), times, since, delivery, earlier }
}

fn row<'s>(status: &'s Status, prj: &str, source: Source) -> &'s Row {
    status.rows.iter().find(|row| row.prj.as_str() == prj && row.source == source).unwrap()
}

fn dead(reason: &str, source: &str, prj: &str) -> DeadKey {
    DeadKey { reason: reason.into(), source: source.into(), prj: prj.into(), verified: true }
}

#[test]
fn every_listed_team_has_a_row_for_each_source_in_the_order_in_which_people_count() {
    let status = status(Observations::default());
    assert_eq!((status.level, status.findings.as_slice()), (Level::Well, [].as_slice()));
    let names: Vec<_> = status.rows.iter().map(|row| row.prj.as_str()).collect();
    assert_eq!(names, ["L2", "L2", "L2", "L10", "L10", "L10"]);
    assert!(status.rows.iter().all(|row| row.course.as_deref() == Some("amep")));
}

#[test]
fn each_trouble_is_found_and_the_worst_comes_first() {
    let observed = Observations {
        problems: vec![
            Problem::mongo("no answer within 4 s"),
            Problem::new(Part::Collection("L2_commits".into()), "it is a view", "Drop the view."),
        ],
        credentials_file: Some("line 3".into()),
        refused_by_eval: Some(NotificationFailed { at: NOW - 1, error: "503".into() }),
        queues: Queues {
            notifications: 4,
            events: 2,
            events_since: Some(NOW - 120_000),
            bytes: 96,
            max_bytes: 100,
            ..Queues::default()
        },
        dead: BTreeMap::from([(dead("panic", "github", "L10"), 3)]),
        refused: BTreeMap::from([((Source::Github, team("L10")), refused(NOW - 5, "L10", "json"))]),
        ..Observations::default()
    };
    let status = status(observed);
    assert_eq!(status.level, Level::Broken);
    let (name, error, advice) = ("L2_commits".into(), "it is a view".into(), "Drop the view.".into());
    let expected = [
        Finding::Mongo { error: "no answer within 4 s".into() },
        Finding::Collection { name, error, advice },
        Finding::NotProcessed { events: 2, since: NOW - 120_000 },
        Finding::NearlyFull { percent: 96 },
        Finding::EvalAway { waiting: 4, error: "503".into() },
        Finding::DeadLetters { letters: 3 },
        Finding::CredentialsFile { error: "line 3".into() },
        Finding::Refused { source: Source::Github, reason: "json".into(), teams: vec!["L10".into()], at: NOW - 5 },
    ];
    assert_eq!(status.findings, expected);
    assert_eq!(status.dead, BTreeMap::from([("panic".to_owned(), 3)]));
    let first = &status.rows[0];
    assert_eq!((first.prj.as_str(), first.level, first.dead), ("L10", Level::Look, 3), "trouble comes first");
}

#[test]
fn a_signed_request_that_was_refused_is_over_once_something_was_accepted_after_it() {
    let observed = |at| Observations {
        refused: BTreeMap::from([((Source::Github, team("L2")), refused(at, "L2", "json"))]),
        ..Observations::default()
    };
    assert_eq!(status(observed(NOW - 5)).level, Level::Look);
    let over = status(observed(NOW - 100_000));
    assert_eq!(over.level, Level::Well);
    assert_eq!(row(&over, "L2", Source::Github).last_refused, Some(refused(NOW - 100_000, "L2", "json")));
}

#[test]
fn requests_of_unauthenticated_clients_never_raise_the_level() {
    let mut observed = Observations {
        unknown: Source::ALL.map(|source| (source, refused(NOW - 5, "Invented", "signature"))).into(),
        dead: (0..500)
            .map(|n| (DeadKey { verified: false, ..dead("no_identity", "excel", &format!("Invented{n}")) }, 1))
            .collect(),
        ..Observations::default()
    };
    for source in Source::ALL {
        for reason in ["signature", "too_large", "slow"] {
            observed.unverified.insert((source, team("L2")), refused(NOW - 5, "L2", reason));
        }
    }
    for n in 0..3_100 {
        let sheet = Heard { last: NOW - 5, ..Heard::default() };
        observed.heard.insert((Source::Excel, team(&format!("Invented{n}"))), sheet);
    }
    let status = status(observed);
    assert_eq!(status.level, Level::Well, "{:?}", status.findings);
    assert!(!status.findings.is_empty() && status.findings.len() < 10, "it is shown, and bounded");
    assert!(status.rows.iter().all(|row| row.level == Level::Well));
    let listed: Vec<_> = status.rows.iter().take(6).map(|row| row.standing).collect();
    assert_eq!(listed, [Standing::Listed; 6], "invented projects come after listed teams");
}

#[test]
fn a_dead_letter_of_a_sheet_is_a_listed_teams_trouble_only_where_the_sheet_was_signed() {
    let level = |verified: bool| {
        let letter = DeadKey { verified, ..dead("no_identity", "excel", "L2") };
        let mut observed = Observations { dead: BTreeMap::from([(letter, 1)]), ..Observations::default() };
        for (source, prj) in [(Source::Excel, "L2"), (Source::Github, "L10"), (Source::Github, "L2")] {
            observed.heard.insert((source, team(prj)), heard(NOW - 5));
        }
        let status = status(observed);
        (status.level, row(&status, "L2", Source::Excel).level)
    };
    assert_eq!(level(true), (Level::Look, Level::Look));
    assert_eq!(level(false), (Level::Well, Level::Well), "anybody can send it");
}

#[test]
fn what_reconciliation_leaves_to_a_person_is_a_finding_of_its_team() {
    let of = |unconfirmed: usize| {
        let findings = vec!["40 issues would go".to_owned()];
        let found = Reconciled { at: NOW - 5, checked: 60, unconfirmed, findings, ..Reconciled::default() };
        let reconciled = BTreeMap::from([((Source::Taiga, team("L2")), found)]);
        let heard = BTreeMap::from(["L2", "L10"].map(|prj| ((Source::Github, team(prj)), heard(NOW - 5))));
        let status = status(Observations { reconciled, heard, ..Observations::default() });
        let shown = row(&status, "L2", Source::Taiga);
        assert_eq!(shown.reconciled.as_ref().map(|found| found.checked), Some(60));
        assert!(matches!(&status.findings[..], [Finding::Reconciliation { .. }]), "{:?}", status.findings);
        (status.level, shown.level)
    };
    assert_eq!(of(40), (Level::Look, Level::Look));
    assert_eq!(of(0), (Level::Well, Level::Well));
}

#[test]
fn an_unknown_project_is_noted_and_has_no_row_unless_this_page_knows_it() {
    let observed = || Observations {
        unknown: BTreeMap::from([(Source::Github, refused(NOW - 5, "Who", "signature"))]),
        ..Observations::default()
    };
    let unknown = status(observed());
    let (source, reason) = (Source::Github, "signature".to_owned());
    let note = Finding::UnknownProject { source, reason: reason.clone(), prj: Some(team("Who")), at: NOW - 5 };
    assert_eq!((unknown.findings, unknown.rows.len()), (vec![note], 6));
    let heard = BTreeMap::from([((source, team("Who")), heard(NOW - 10))]);
    let known = status(Observations { heard, ..observed() });
    assert_eq!(known.findings, [Finding::Unverified { source, reason, teams: vec!["Who".into()], at: NOW - 5 }]);
    assert_eq!(row(&known, "Who", source).standing, Standing::Signed);
}

#[test]
fn teams_that_were_never_heard_are_one_finding_a_course() {
    let status = Status::of(Observations::default(), &courses(), NOW);
    let (course, teams) = ("amep".to_owned(), vec!["L2".to_owned(), "L10".to_owned()]);
    assert_eq!(status.findings, [Finding::NeverHeard { course, teams, of: 2 }]);
    assert!(status.rows.iter().all(|row| row.level == Level::Look));
    let unread = Observations { nats: Some("no answer".into()), ..Observations::default() };
    let status = Status::of(unread, &courses(), NOW);
    assert_eq!(status.findings, [Finding::Nats { error: "no answer".into() }], "what was not read is not silent");
}

#[test]
fn no_team_is_silent_outside_the_course_nor_in_its_first_week() {
    let level = |dates: &str| {
        let file = format!(r#"{{"amep": {{"teams": ["L2"], {dates}}}}}"#);
        Status::of(Observations::default(), &credentials::parse(Path::new("f.json"), file.as_bytes()).unwrap(), NOW)
            .level
    };
    // NOW is 2026-11-23.
    assert_eq!(level(r#""from": "2026-11-24""#), Level::Well, "before it");
    assert_eq!(level(r#""from": "2026-11-20""#), Level::Well, "in its first week");
    assert_eq!(level(r#""from": "2026-09-14", "to": "2026-11-22""#), Level::Well, "after it");
    assert_eq!(level(r#""from": "2026-09-14", "to": "2026-11-23""#), Level::Look, "on its last day");
}

#[test]
fn a_source_that_the_credentials_file_names_and_that_never_sent_is_a_finding() {
    let file = br#"{"amep": {"teams": ["L2"], "taiga": {"L2": "l2-board"}}}"#;
    let observed = Observations {
        heard: BTreeMap::from([((Source::Github, team("L2")), heard(NOW - 60_000))]),
        ..Observations::default()
    };
    let status = Status::of(observed, &credentials::parse(Path::new("f.json"), file).unwrap(), NOW);
    let (course, teams) = ("amep".to_owned(), vec!["L2".to_owned()]);
    assert_eq!(status.findings, [Finding::SourceNeverHeard { course, source: Source::Taiga, teams }]);
}

#[test]
fn a_source_that_stopped_is_a_finding_measured_against_its_own_rhythm() {
    let today = NOW / DAY;
    let daily = |silent: i64| Heard {
        last: NOW - silent * DAY,
        days: (silent..silent + 8).map(|ago| today - ago).collect::<BTreeSet<_>>(),
        signed: true,
        ..Heard::default()
    };
    let observed = |silent, has_rhythms| Observations {
        heard: BTreeMap::from([((Source::Taiga, team("L2")), daily(silent))]),
        has_rhythms,
        ..Observations::default()
    };
    assert_eq!(status(observed(3, true)).level, Level::Well);
    assert_eq!(status(observed(9, false)).level, Level::Well, "not before its rhythm was read");
    let stopped = status(observed(9, true));
    let (course, teams, last) = ("amep".to_owned(), vec!["L2".to_owned()], NOW - 9 * DAY);
    assert_eq!(stopped.findings, [Finding::Stopped { course, source: Source::Taiga, teams, last }]);
    assert_eq!(row(&stopped, "L2", Source::Taiga).level, Level::Look);
    assert_eq!(row(&stopped, "L2", Source::Github).level, Level::Well);
}

#[test]
fn of_a_courses_tokens_the_one_used_last_is_shown_and_none_that_is_unused() {
    let token = |label: &str, at, left| TokenBudget {
        at,
        provider: "github".into(),
        label: label.into(),
        remaining: Some(left),
        stopped_until: None,
    };
    let tokens = vec![token("amep", NOW - 9, 1), token("amep", NOW - 5, 2), token("gone", NOW - TOKEN_AGE, 3)];
    let shown = status(Observations { tokens, ..Observations::default() }).tokens;
    assert_eq!(shown, [token("amep", NOW - 5, 2)]);
}

#[test]
fn ld_eval_is_away_only_while_a_notification_waits_for_it() {
    let observed = |accepted, failed, notifications| Observations {
        accepted_by_eval: Some(NotificationAccepted { at: accepted, prj: "L2".into(), event_type: "push".into() }),
        refused_by_eval: Some(NotificationFailed { at: failed, error: "503".into() }),
        queues: Queues { notifications, ..Queues::default() },
        ..Observations::default()
    };
    assert_eq!(status(observed(NOW - 60_000, NOW - 1_000, 1)).level, Level::Look);
    assert_eq!(status(observed(NOW - 60_000, NOW - 1_000, 0)).level, Level::Well);
    assert_eq!(status(observed(NOW - 1_000, NOW - 2_000, 1)).level, Level::Well);
    assert_eq!(status(observed(NOW - 2_000, NOW - 1_000, 1)).level, Level::Well, "a moment is no outage");
}
