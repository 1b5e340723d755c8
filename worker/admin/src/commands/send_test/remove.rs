//! Takes the test away: its object by a webhook (a row of a sheet directly), then its events and what is remembered.

use std::time::{Duration, Instant};

use shared::ids::Project;
use shared::source::Source;
use shared::time::now_ms;
use shared::topology::StreamName;
use worker_core::deliveries::Reader;
use worker_core::deliveries::story::{Story, Touched};
use worker_core::notify::queue::NotificationQueue;
use worker_core::store::Store;
use worker_event::effect::Notification;

use super::follow::story;
use super::options::Options;
use super::samples;
use super::send::Sender;
use crate::streams::{Connection, delete};
use crate::terminal::CommandError;

/// How long its events may take until they are settled.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn all(
    connection: &Connection,
    reader: &Reader,
    store: &Store,
    sender: &Sender,
    options: &Options,
    made: &str,
    number: u32,
) -> Result<(), CommandError> {
    let mut deliveries = vec![made.to_owned()];
    if let Some(gone) = samples::gone(options.source, number, now_ms() + 1) {
        deliveries.push(sender.send(&gone, number).await?);
    }
    let stories = settled(reader, options, &deliveries).await?;
    let touched: Vec<Touched> = stories.iter().flat_map(|story| story.documents.clone()).collect();
    // First the events: a replay must not bring it back.
    let stream = connection.stream(StreamName::Events).await?;
    for story in &stories {
        delete(&stream, story.delivery.sequence).await?;
    }
    for document in touched {
        store.remove_test(&options.prj, document.kind, &document.id).await.map_err(|error| {
            CommandError::mongo(format_args!("The test's document in {} cannot be removed", document.collection), error)
        })?;
    }
    if options.source == Source::Excel {
        notify_again(connection, &options.prj, &stories).await?;
    }
    Ok(())
}

/// Waits until workers have settled them.
async fn settled(reader: &Reader, options: &Options, deliveries: &[String]) -> Result<Vec<Story>, CommandError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut stories = Vec::new();
        for delivery in deliveries {
            stories.extend(story(reader, options, delivery).await?.filter(|story| story.is_settled()));
        }
        if stories.len() == deliveries.len() {
            return Ok(stories);
        }
        if Instant::now() > deadline {
            return Err(CommandError::failed(
                "the test's events are not processed, so they stay in the stream",
                match options.source {
                    Source::Excel => {
                        "Its row is stored once a worker runs: remove it with `worker events remove` and its delivery's id"
                    }
                    _ => "The second of them removes its document once a worker runs",
                },
            ));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// LD Eval computes without the row.
async fn notify_again(connection: &Connection, prj: &Project, stories: &[Story]) -> Result<(), CommandError> {
    let queue = NotificationQueue::new(
        shared::publish::Publisher::new(connection.client.clone()),
        connection.topology.clone(),
        connection.jetstream.clone(),
    );
    let origin = worker_core::origin::Origin::default();
    let notifications: Vec<Notification> = stories
        .iter()
        .flat_map(|story| &story.notifications)
        .map(|notified| Notification {
            event_type: notified.event_type.clone(),
            prj: prj.to_string(),
            author_login: notified.author_login.clone(),
            quality_model: notified.quality_model.clone(),
        })
        .collect();
    let due: Vec<_> = notifications.iter().map(|notification| (notification, &origin)).collect();
    queue.put(&due).await.map_err(|error| CommandError::nats("LD Eval cannot be notified of the removal", error))
}
