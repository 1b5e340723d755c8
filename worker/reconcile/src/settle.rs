//! After the events: workers write them, then LD Eval is notified once of every type of the team.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::ids::Project;
use shared::topology::StreamName;
use tokio_util::sync::CancellationToken;
use worker_core::notify::queue::NotificationQueue;
use worker_core::origin::Origin;
use worker_event::effect::{Kind, Notification};
use worker_event::normalise::BACKFILL;

use crate::client::Halt;
use crate::parts::Parts;
use crate::stored;

/// How often it is checked whether workers are done.
const LOOK: Duration = Duration::from_millis(250);

/// After this long without progress, a notice is written.
const ANNOUNCE: Duration = Duration::from_secs(10);

/// The event types of which LD Eval is notified if a team has documents of a kind.
const EVENT_TYPES: [(Kind, &str); 8] = [
    (Kind::Commit, "push"),
    (Kind::GithubIssue, "issues"),
    (Kind::PullRequest, "pull_request"),
    (Kind::UserStory, "userstory"),
    (Kind::Task, "task"),
    (Kind::TaigaIssue, "issue"),
    (Kind::Epic, "epic"),
    (Kind::Row, "sheets_activity"),
];

/// Waits until workers have settled every event that is in the stream now.
///
/// # Errors
/// When NATS does not answer, or at a stop.
pub async fn until_processed(parts: &Parts, stop: &CancellationToken, notice: fn(&str)) -> Result<(), Halt> {
    let Parts { jetstream, topology, .. } = parts;
    let name = topology.stream(StreamName::Events);
    let stream = jetstream.get_stream(&name).await.map_err(Halt::nats)?;
    let last = stream.cached_info().state.last_sequence;
    let consumer = topology.consumer(jetstream, StreamName::Events).await.map_err(Halt::nats)?;
    let (mut left_before, mut since) = (u64::MAX, tokio::time::Instant::now());
    loop {
        let info = consumer.get_info().await.map_err(Halt::nats)?;
        let left = info.num_pending + info.num_ack_pending as u64;
        if left == 0 || info.ack_floor.stream_sequence >= last {
            return Ok(());
        }
        if left < left_before {
            (left_before, since) = (left, tokio::time::Instant::now());
        } else if since.elapsed() >= ANNOUNCE {
            since = tokio::time::Instant::now();
            notice(&format!("{left} events wait for a worker, then LD Eval is notified: is `worker run` up?"));
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.ok_or(Halt::Stopped)?;
    }
}

/// Notifies LD Eval of a project whose events were published: once they are processed, of every type.
///
/// # Errors
/// When NATS or MongoDB does not answer, or at a stop. Then it is still owed.
pub async fn notify(parts: &Parts, prj: &Project, stop: &CancellationToken, notice: fn(&str)) -> Result<(), Halt> {
    let Some(quality_model) = parts.owed(prj).await? else { return Ok(()) };
    // Types whose last document is removed still have documents here.
    let mut types = event_types(parts, prj).await?;
    until_processed(parts, stop, notice).await?;
    types.extend(event_types(parts, prj).await?);
    queue(parts, prj, types, quality_model).await?;
    parts.paid(prj).await
}

/// The same for documents that were written without events: at once.
///
/// # Errors
/// When NATS or MongoDB does not answer. Then it is still owed.
pub async fn notify_at_once(parts: &Parts, prj: &Project) -> Result<(), Halt> {
    let Some(quality_model) = parts.owed(prj).await? else { return Ok(()) };
    queue(parts, prj, event_types(parts, prj).await?, quality_model).await?;
    parts.paid(prj).await
}

async fn queue(
    parts: &Parts,
    prj: &Project,
    types: BTreeSet<&'static str>,
    quality_model: Option<String>,
) -> Result<(), Halt> {
    let notifications: Vec<_> = types
        .into_iter()
        .map(|event_type| Notification {
            event_type: event_type.to_owned(),
            prj: prj.to_string(),
            author_login: BACKFILL.to_owned(),
            quality_model: quality_model.clone(),
        })
        .collect();
    let origin = Origin::default();
    let queue = NotificationQueue::new(parts.others.clone(), parts.topology.clone(), parts.jetstream.clone());
    let due: Vec<_> = notifications.iter().map(|notification| (notification, &origin)).collect();
    queue.put(&due).await.map_err(|error| {
        let what = format_args!("The documents are written, but LD_NOTIFY does not take notifications: {error}");
        Halt::failed(what, "Run the same command again")
    })
}

async fn event_types(parts: &Parts, prj: &Project) -> Result<BTreeSet<&'static str>, Halt> {
    let mut types = BTreeSet::new();
    for (kind, event_type) in EVENT_TYPES {
        if stored::has_any(parts.store.database(), kind, prj.as_str()).await? {
            types.insert(event_type);
        }
    }
    Ok(types)
}
