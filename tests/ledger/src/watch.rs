//! Watches MongoDB through a change stream: when was which claim visible?
//!
//! A change stream shows a change once the majority has it, and carries the wall-clock time at which the
//! primary made it; so it may lag behind as it likes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bson::{Document, doc};
use futures::StreamExt as _;
use mongodb::Database;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken};

use super::book::lock;
use super::claims::{Claims, name_of, shown};
use super::plan::Plan;
use harness::eventually::{Alive, eventually};

/// Where our own mark goes, by which we know that we have seen everything before it.
pub const MARKS: &str = "ledger_marks";

/// A value of a part of a document, in the order of its making.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Index of the register in its subject.
    pub register: usize,
    /// The rank of the claim that became visible.
    pub rank: u32,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// What was seen.
#[derive(Debug, Default)]
struct Notes {
    /// By subject.
    seen: HashMap<usize, Vec<Seen>>,
    /// Which subject a document is: a deletion has only `_id`.
    ids: HashMap<String, usize>,
    marks: u64,
    changes: u64,
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    db: Database,
    notes: Arc<Mutex<Notes>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Begins to watch; from now on nothing is missed.
    ///
    /// # Errors
    /// When MongoDB does not offer a change stream.
    pub async fn start(db: Database, plan: Arc<Plan>) -> anyhow::Result<Self> {
        let stream = db.watch().await.context("cannot watch MongoDB")?;
        let token = stream.resume_token();
        drop(stream);
        let notes = Arc::<Mutex<Notes>>::default();
        let task = tokio::spawn(follow(db.clone(), plan, Arc::clone(&notes), token));
        Ok(Self { db, notes, task })
    }

    /// Waits until everything that is in MongoDB now was seen.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn catch_up(&self, within: Duration, alive: &impl Alive) -> anyhow::Result<()> {
        self.db.collection::<Document>(MARKS).insert_one(doc! {}).await?;
        eventually("the change stream was read to its end", within, alive, async || {
            let notes = lock(&self.notes);
            ensure!(notes.marks > 0, "{} changes were read", notes.changes);
            Ok(())
        })
        .await
    }

    /// What was seen of each subject.
    #[must_use]
    pub fn seen(&self) -> HashMap<usize, Vec<Seen>> {
        lock(&self.notes).seen.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads on for ever, and from the same place after every failure.
async fn follow(db: Database, plan: Arc<Plan>, notes: Arc<Mutex<Notes>>, mut token: Option<ResumeToken>) {
    loop {
        if let Ok(mut stream) = db.watch().resume_after(token.clone()).await {
            while let Some(Ok(change)) = stream.next().await {
                note(&plan.claims, &mut lock(&notes), &change);
                token = Some(change.id);
            }
        }
        // Servers are down every now and then here: that is the point.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn note(claims: &Claims, notes: &mut Notes, change: &ChangeStreamEvent<Document>) {
    let collection = change.ns.as_ref().and_then(|ns| ns.coll.as_deref()).unwrap_or_default();
    notes.changes += 1;
    notes.marks += u64::from(collection == MARKS);
    let Some(id) = change.document_key.as_ref().and_then(|key| key.get("_id")) else { return };
    let id = format!("{collection}/{id}");
    let named = change.full_document.as_ref().and_then(|document| name_of(collection, document));
    let subject = match named {
        Some(name) => claims.find(&name),
        None => notes.ids.get(&id).copied(),
    };
    let Some(subject) = subject else { return };
    notes.ids.insert(id, subject);
    let at = change.wall_time.map_or_else(super::book::now, bson::DateTime::timestamp_millis);
    let deleted = change.operation_type == OperationType::Delete;
    let updated = change.update_description.as_ref().map(|update| &update.updated_fields);
    let fields = change.full_document.as_ref().or(updated);
    for (register, claimed) in claims.subjects[subject].registers.iter().enumerate() {
        let value = fields.and_then(|fields| shown(claimed.part, collection, fields));
        // An update that does not touch the part says nothing of it.
        let rank = if deleted && register == 0 {
            claimed.rank_of(None)
        } else {
            value.and_then(|value| claimed.rank_of(Some(value)))
        };
        if let Some(rank) = rank {
            notes.seen.entry(subject).or_default().push(Seen { register, rank, at });
        }
    }
}
