//! The last event of each team and source.

use std::collections::BTreeSet;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures::TryStreamExt as _;
use shared::credentials::Courses;
use shared::envelope::header;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::StreamName;

use super::checks::{Checks, ago};
use crate::streams::{Connection, Scan};
use crate::terminal::CommandError;

/// The last accepted event of each source, team by team.
pub async fn check(checks: &mut Checks, streams: &Connection, courses: &Courses, prj: Option<&Project>) {
    let teams = match prj {
        Some(prj) => BTreeSet::from([prj.clone()]),
        None => all_teams(streams, courses).await,
    };
    if teams.is_empty() {
        checks.note("team", "there is none: the credentials file names none and no event has come");
    }
    for team in &teams {
        let mut newest = Vec::new();
        for source in Source::ALL {
            match last_accepted(streams, team, source).await {
                Ok(accepted) => newest.extend(accepted.map(|(_, event)| format!("{source} {event}"))),
                Err(error) => checks.bad("team", format_args!("{team}, {source}: {error}"), "look at NATS"),
            }
        }
        if newest.is_empty() && prj.is_none() && courses.course_of(team).is_some() {
            // Whether it is late with that is a finding of the status page, which knows when its course runs.
            checks.note("team", format_args!("{team}: no event is in the stream"));
        } else if newest.is_empty() {
            checks.bad(
                "team",
                format_args!("{team}: no event of a webhook is in the stream"),
                "look at the hooks' deliveries at GitHub and Taiga: address, secret, events, and what we answered",
            );
        } else {
            checks.ok("team", format_args!("{team}: {}", newest.join(", ")));
        }
    }
}

/// Teams of the credentials file, and those whose events are in the stream.
async fn all_teams(streams: &Connection, courses: &Courses) -> BTreeSet<Project> {
    let mut teams: BTreeSet<Project> = courses.iter().flat_map(|course| course.teams.iter().cloned()).collect();
    let Ok(events) = streams.stream(StreamName::Events).await else { return teams };
    let filter = streams.topology.event_filter(None, None, None);
    if let Ok(subjects) = events.info_with_subjects(filter).await {
        let names: Result<Vec<(String, usize)>, _> = subjects.try_collect().await;
        // `….<prj>.<event>`
        let project = |subject: &str| subject.rsplit('.').nth(1).and_then(|name| Project::new(name).ok());
        teams.extend(names.unwrap_or_default().iter().filter_map(|(subject, _)| project(subject)));
    }
    teams
}

/// The newest event of a team and source that a sender sent and the stream still holds. What was read through an API
/// says nothing of hooks.
///
/// Its time, in milliseconds since 1970, and a description.
async fn last_accepted(
    streams: &Connection,
    team: &Project,
    source: Source,
) -> Result<Option<(i64, String)>, CommandError> {
    let events = streams.stream(StreamName::Events).await?;
    let subject = streams.topology.event_filter(Some(source), Some(team), None);
    let describe = |headers: &HeaderMap, published: i128| {
        let event = headers.get(header::EVENT).map_or("", |event| event.as_str());
        let at = i64::try_from(published / 1_000_000).unwrap_or(i64::MAX);
        (at, format!("{event} {} ago", humantime::format_duration(ago(published))))
    };
    match events.get_last_raw_message_by_subject(&subject).await {
        Ok(last) if is_sent(&last.headers) => {
            return Ok(Some(describe(&last.headers, last.time.unix_timestamp_nanos())));
        }
        Ok(_) => {}
        Err(error) => match error.kind() {
            async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            _ => return Err(CommandError::nats(format_args!("The last event of {source} cannot be read"), error)),
        },
    }
    // The last of all is none: the last that is, is somewhere before it.
    let mut scan = Scan::open(&events, &subject, DeliverPolicy::All, true).await?;
    let mut newest = None;
    loop {
        let batch = scan.next().await?;
        if batch.is_empty() {
            return Ok(newest);
        }
        let sent = batch.iter().rev().find(|stored| is_sent(&stored.headers));
        newest = sent.map(|stored| describe(&stored.headers, stored.stored_at)).or(newest);
    }
}

fn is_sent(headers: &HeaderMap) -> bool {
    headers.get(header::BACKFILL).is_none()
}
