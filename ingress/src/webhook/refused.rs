//! Logs refused webhooks: what any client can cause is one line an interval.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use shared::facts::EarlierRefusal;
use shared::ids::Project;
use shared::source::Source;
use shared::throttle::Throttle;

use super::refusal::Refusal;
use super::tally;

/// How often a refusal is logged: of each known project and source, and of all others together.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How many refusals before the newest are remembered of a project and reason.
const REMEMBERED: usize = 19;

#[derive(Debug)]
pub struct RefusalLog {
    unknown: Throttle,
    bugs: Throttle,
    known: Mutex<HashMap<(Source, Project), Arc<Throttle>>>,
    recent: Mutex<HashMap<tally::Refused, VecDeque<EarlierRefusal>>>,
}

#[derive(Debug)]
pub struct Refused<'a> {
    pub source: Source,
    pub project: Option<&'a Project>,
    /// `X-GitHub-Delivery`, which the sender shows too.
    pub delivery: Option<&'a HeaderValue>,
    pub refusal: &'a Refusal,
}

impl<'a> Refused<'a> {
    /// The delivery's id, where it is one that a sender makes.
    #[must_use]
    pub fn delivery_id(&self) -> Option<&'a str> {
        let is_id = |id: &&str| id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic());
        self.delivery?.to_str().ok().filter(is_id)
    }
}

impl RefusalLog {
    #[must_use]
    pub fn new() -> Self {
        Self {
            unknown: Throttle::new(LOG_INTERVAL),
            bugs: Throttle::new(LOG_INTERVAL),
            known: Mutex::default(),
            recent: Mutex::default(),
        }
    }

    /// Logs one. `known` says whether its project is one of the bounded number that is known here.
    pub fn refused(&self, refused: &Refused<'_>, known: bool) {
        let Refused { source, project, refusal, .. } = *refused;
        let (source_name, reason) = (source.as_str(), refusal.reason());
        let prj = project.map_or("", Project::as_str);
        let delivery = refused.delivery_id().unwrap_or("");
        tracing::debug!(source = source_name, prj, reason, delivery.id = delivery, "refused a webhook");
        match project.filter(|_| known) {
            Some(project) => {
                if let Some(more) = self.of(source, project).open() {
                    tracing::info!(
                        source = source_name,
                        prj,
                        reason,
                        delivery.id = delivery,
                        more,
                        "refused a webhook of a known project: {refusal}"
                    );
                }
            }
            // An operator has to fix a wrong secret.
            None if matches!(refusal, Refusal::Signature | Refusal::NoSecret) => {
                if let Some(more) = self.unknown.open() {
                    tracing::warn!(
                        source = source_name,
                        reason,
                        more,
                        "refused a webhook of no known project: compare the sender's secret with ours"
                    );
                }
            }
            None => {}
        }
    }

    /// The refusals of the same project for the same reason before this one, which is remembered from now on.
    #[must_use]
    pub fn earlier(&self, refused: &Refused<'_>, at: i64, verified: bool) -> Vec<EarlierRefusal> {
        let Some(project) = refused.project else { return Vec::new() };
        let key = (refused.source, project.clone(), verified, refused.refusal.reason());
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = recent.entry(key).or_default();
        let earlier = recent.iter().cloned().collect();
        recent.push_back(EarlierRefusal { at, delivery: refused.delivery_id().map(str::to_owned) });
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
        earlier
    }

    /// A bug in our code failed a webhook. The panic hook has logged where; the payload could quote the body.
    pub fn bug(&self, source: Source) {
        if let Some(more) = self.bugs.open() {
            tracing::error!(
                source = source.as_str(),
                more,
                "a webhook could not be processed because of a bug; its sender got 503"
            );
        }
    }

    fn of(&self, source: Source, project: &Project) -> Arc<Throttle> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((source, project.clone())).or_insert_with(|| Arc::new(Throttle::new(LOG_INTERVAL))).clone()
    }
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self::new()
    }
}
