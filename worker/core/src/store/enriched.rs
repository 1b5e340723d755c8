//! What look-ups add to stored documents.
//!
//! A look-up never creates a document: a deleted one stays deleted. A commit's facts never change, so they are written
//! once, and `_ld.enriched` records it. A milestone's figures change. They belong to the stories and tasks that are in
//! the milestone *when the figures arrive*: the filter requires that, `_ld.figures` records the milestone, and a state
//! that takes a story out of its milestone removes them (`statement`).

use std::collections::BTreeSet;

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::command;
use super::connection::Store;
use super::encode::raw;
use super::error::StoreError;
use super::statement::{figures_update, no_figures_update};
use worker_event::effect::Kind;
use worker_providers::github::CommitFacts;

/// Records that a commit was looked up at GitHub.
const ENRICHED: &str = "_ld.enriched";

impl Store {
    /// Which of these commits are stored and not looked up yet.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn commits_to_look_up(&self, prj: &str, shas: &[String]) -> Result<Vec<String>, StoreError> {
        let filter = doc! { "sha": { "$in": shas }, ENRICHED: { "$exists": false } };
        let found = command::find(&self.db, &Kind::Commit.collection(prj), filter, doc! { "_id": 0, "sha": 1 }).await?;
        Ok(found.iter().filter_map(|commit| Some(commit.get_str("sha").ok()?.to_owned())).collect())
    }

    /// The milestones in which these stories or tasks are stored.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn milestones_of(&self, prj: &str, kind: Kind, ids: &BTreeSet<i64>) -> Result<BTreeSet<i64>, StoreError> {
        let Some(key) = kind.key_fields().first() else { return Ok(BTreeSet::new()) };
        let ids: Vec<i64> = ids.iter().copied().collect();
        let filter = doc! { *key: { "$in": ids }, "milestone_id": { "$ne": Bson::Null } };
        let fields = doc! { "_id": 0, "milestone_id": 1 };
        let found = command::find(&self.db, &kind.collection(prj), filter, fields).await?;
        let milestone = |document: &Document| match document.get("milestone_id") {
            Some(Bson::Int32(id)) => Some(i64::from(*id)),
            Some(Bson::Int64(id)) => Some(*id),
            _ => None,
        };
        Ok(found.iter().filter_map(milestone).collect())
    }

    /// Writes GitHub's facts on those of the commits that were not looked up yet.
    ///
    /// # Errors
    /// When MongoDB is away or refuses.
    pub async fn enrich_commits(&self, prj: &str, facts: &[(String, CommitFacts)]) -> Result<(), StoreError> {
        let at = shared::time::now_ms();
        let statements = facts.iter().map(|(sha, known)| {
            let set = doc! {
                "stats": {
                    "total": integer(known.total),
                    "additions": integer(known.additions),
                    "deletions": integer(known.deletions),
                },
                "is_merge": known.is_merge,
                "verified": known.verified,
                "verified_reason": known.verified_reason.as_str(),
                ENRICHED: at,
            };
            raw(&doc! { "q": { "sha": sha, ENRICHED: { "$exists": false } }, "u": { "$set": set } })
        });
        self.add(Kind::Commit, prj, statements.collect::<Result<_, _>>()?).await
    }

    /// Writes a milestone's figures on the stories and tasks that are in it. If the provider does not know the
    /// milestone (`None`), removes another milestone's figures that a story still shows.
    ///
    /// # Errors
    /// When MongoDB is away or refuses.
    pub async fn enrich_milestone(
        &self,
        prj: &str,
        milestone: i64,
        figures: Option<&Document>,
    ) -> Result<(), StoreError> {
        for kind in [Kind::UserStory, Kind::Task] {
            let statement = match figures {
                Some(figures) => figures_update(milestone, figures)?,
                None => no_figures_update(milestone)?,
            };
            self.add(kind, prj, vec![statement]).await?;
        }
        Ok(())
    }

    async fn add(&self, kind: Kind, prj: &str, statements: Vec<RawDocumentBuf>) -> Result<(), StoreError> {
        let failures = command::update(&self.db, &kind.collection(prj), &statements).await?;
        command::none_failed(failures)
    }
}

fn integer(value: i64) -> Bson {
    i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32)
}
