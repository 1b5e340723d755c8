//! Bounds how many projects that nobody has listed may appear: each makes collections, and each collection costs MongoDB
//! three file descriptors. What is beyond the bound is a dead letter, and is redriven once its project is in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use shared::credentials::Handle;
use shared::envelope::header;
use shared::ids::Project;
use shared::throttle::Throttle;
use shared::topology::StreamName;
use tokio_util::sync::CancellationToken;
use worker_event::reason::Reason;

use super::{InFlight, Pipeline, dead_letter};
use crate::store::StoreError;

/// How often it is checked whether a project with dead letters is in.
const REDRIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Anyone may cause refusals where unsigned sheets are accepted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The bound, and the projects that are known to be in.
#[derive(Debug)]
pub struct NewProjects {
    per_hour: u32,
    courses: Handle,
    known: Mutex<HashSet<String>>,
    log: Throttle,
}

impl NewProjects {
    #[must_use]
    pub fn new(per_hour: u32, courses: Handle) -> Self {
        Self { per_hour, courses, known: Mutex::default(), log: Throttle::new(LOG_INTERVAL) }
    }

    /// The text for each message of this part whose project may not appear now.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn refused(
        &self,
        pipeline: &Pipeline,
        messages: &InFlight,
        part: &[usize],
    ) -> Result<BTreeMap<usize, String>, StoreError> {
        let named = part.iter().filter_map(|index| {
            let prj = bounded_project(messages.messages().get(*index)?.headers.as_ref()?)?;
            Some((*index, prj))
        });
        let named: Vec<(usize, String)> = named.collect();
        let unknown = self.unknown(named.iter().map(|(_, prj)| prj.clone()).collect());
        let new = self.new_ones(pipeline, unknown).await?;
        if new.is_empty() {
            return Ok(BTreeMap::new());
        }
        let admitted = pipeline.store.admit(&new, self.per_hour).await?;
        self.remember(&admitted);
        let refused: BTreeSet<&String> = new.difference(&admitted).collect();
        if let Some(prj) = refused.first()
            && let Some(held_back) = self.log.open()
        {
            tracing::warn!(
                prj = prj.as_str(),
                held_back,
                per_hour = self.per_hour,
                "more new projects than NEW_PROJECTS_PER_HOUR; their events are dead letters until the project is listed in \
                 the credentials file"
            );
        }
        let text = |prj: &String| {
            format!(
                "{prj} is in neither the credentials file nor MongoDB, and {} new projects appeared within the hour; list \
                 it, or raise NEW_PROJECTS_PER_HOUR",
                self.per_hour
            )
        };
        Ok(named.iter().filter(|(_, prj)| refused.contains(prj)).map(|(index, prj)| (*index, text(prj))).collect())
    }

    /// Without those that are in the credentials file or were seen before.
    fn unknown(&self, mut prjs: BTreeSet<String>) -> BTreeSet<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        prjs.retain(|prj| !known.contains(prj));
        drop(known);
        let courses = self.courses.courses();
        prjs.retain(|prj| Project::new(prj).is_ok_and(|prj| courses.course_of(&prj).is_none()));
        prjs
    }

    /// Those without documents.
    async fn new_ones(&self, pipeline: &Pipeline, unknown: BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let existing = pipeline.store.existing(&unknown).await?;
        self.remember(&existing);
        Ok(unknown.difference(&existing).cloned().collect())
    }

    fn remember(&self, prjs: &BTreeSet<String>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(prjs.iter().cloned());
    }
}

/// The project of an event to which the bound applies: not of one that is sent again or read from a provider.
fn bounded_project(headers: &HeaderMap) -> Option<String> {
    let is_exempt = headers.get(header::BACKFILL).or_else(|| headers.get(header::ORIGIN_SEQUENCE)).is_some();
    headers.get(header::PROJECT).filter(|_| !is_exempt).map(|prj| prj.as_str().to_owned())
}

/// Redrives the dead letters of projects that are in by now, until the soft stop.
///
/// # Errors
/// Never; what fails is tried again.
pub async fn redrive(pipeline: Arc<Pipeline>, soft: CancellationToken) -> Result<(), Infallible> {
    let redriven = async {
        loop {
            if let Err(error) = redrive_once(&pipeline).await {
                tracing::debug!(%error, "dead letters of new projects cannot be redriven now");
            }
            tokio::time::sleep(REDRIVE_INTERVAL).await;
        }
    };
    soft.run_until_cancelled(redriven).await.unwrap_or(Ok(()))
}

async fn redrive_once(pipeline: &Pipeline) -> Result<(), async_nats::Error> {
    use futures::TryStreamExt as _;
    let Some(bound) = &pipeline.new_projects else { return Ok(()) };
    let Pipeline { topology, jetstream, .. } = pipeline;
    let stream = jetstream.get_stream(topology.stream(StreamName::Dead)).await?;
    let filter = topology.dead_filter(Some(Reason::TooManyProjects.as_str()), None);
    let subjects: Vec<(String, usize)> = stream.info_with_subjects(filter).await?.try_collect().await?;
    let project = |subject: &str| topology.words(StreamName::Dead, subject).get(2).map(|prj| (*prj).to_owned());
    let waiting: BTreeSet<String> = subjects.iter().filter_map(|(subject, _)| project(subject)).collect();
    let unknown = bound.unknown(waiting);
    let outside = bound.new_ones(pipeline, unknown).await?;
    for (subject, _) in subjects {
        if project(&subject).is_none_or(|prj| outside.contains(&prj)) {
            continue;
        }
        let mut next = 0;
        while let Ok(letter) = stream.get_first_raw_message_by_subject(&subject, next).await {
            next = letter.sequence + 1;
            let Some(message) = dead_letter::revive(jetstream, topology, &letter).await else { continue };
            pipeline.publisher.publish(message).await?;
            stream.delete_message(letter.sequence).await?;
            tracing::info!(subject, dead_letter = letter.sequence, "redrove a dead letter: its project is in now");
        }
    }
    Ok(())
}
