//! When teams are expected to send: between `from` and `to` of their course, local dates in the credentials file.

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};
use shared::credentials::{Course, Courses};
use shared::time::MADRID;

use super::activity::DAY;

/// How long teams of a course may take to send for the first time, in milliseconds.
const FIRST_WEEK: i64 = 7 * DAY;

#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// When the course begins, in milliseconds since 1970, if the file says so.
    pub from: Option<i64>,
    /// When it is over.
    to: Option<i64>,
}

impl Term {
    pub fn of(course: &Course) -> Self {
        let from = course.from.and_then(midnight);
        let to = course.to.and_then(|last| midnight(last.tomorrow().ok()?));
        Self { from, to }
    }

    pub fn runs(self, now: i64) -> bool {
        self.from.is_none_or(|from| from <= now) && self.to.is_none_or(|to| now < to)
    }

    /// Whether teams have had the time to connect.
    pub fn has_settled(self, now: i64) -> bool {
        self.runs(now) && self.from.is_none_or(|from| from + FIRST_WEEK <= now)
    }
}

/// `ldconnect_course_team`, by which alerts gather the teams of a course and ignore one that is over.
#[derive(Debug, Default)]
pub struct TeamGauges(BTreeSet<(String, String)>);

impl TeamGauges {
    /// How many there are at most.
    const MOST: usize = 2_000;

    /// 1 for each team whose course runs, else 0; also 0 for a team that the file no longer lists.
    pub fn set(&mut self, courses: &Courses, now: i64) {
        let set = |(course, prj): &(String, String), value: f64| {
            metrics::gauge!("ldconnect_course_team", "course" => course.clone(), "prj" => prj.clone()).set(value);
        };
        let mut listed = BTreeSet::new();
        for course in courses.iter() {
            let runs = f64::from(u8::from(Term::of(course).runs(now)));
            for team in course.teams.iter().take(Self::MOST - listed.len()) {
                let labels = (course.name.clone(), team.to_string());
                set(&labels, runs);
                listed.insert(labels);
            }
        }
        self.0.difference(&listed).for_each(|labels| set(labels, 0.0));
        self.0 = listed;
    }
}

fn midnight(date: Date) -> Option<i64> {
    let midnight = MADRID.to_timestamp(date.to_datetime(Time::midnight())).ok()?;
    Some(midnight.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_runs_from_the_midnight_of_its_first_day_to_that_after_its_last() {
        let day = |day: i8| Some(jiff::civil::date(2026, 9, day));
        let [from, to] = [day(14).and_then(midnight), day(16).and_then(midnight)].map(Option::unwrap);
        let term = Term { from: Some(from), to: Some(to) };
        assert_eq!([from - 1, from, to - 1, to].map(|now| term.runs(now)), [false, true, true, false]);
        assert_eq!(from, shared::time::parse_instant("2026-09-13T22:00:00Z").unwrap(), "in local time");
        assert!(!term.has_settled(from) && Term { to: None, ..term }.has_settled(from + FIRST_WEEK));
    }
}
