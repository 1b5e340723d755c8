//! Removes a project's documents, and removes people from documents.
//!
//! These are the only writes that are not an effect of an event. A document is changed only while it shows the state
//! that was read: a newer state passes [`forgotten`](worker_event::privacy) before it is written.

use std::collections::BTreeMap;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use shared::ids::Project;
use shared::source::Source;

use super::command::{self, majority, with_timeout};
use super::connection::Store;
use super::encode::{STATE, raw};
use super::error::StoreError;
use super::memory;
use worker_event::effect::Kind;
use worker_event::privacy::{ANONYMOUS, Rules, hash, people};

/// The collection of forgotten people.
const FORGOTTEN: &str = "ld_forgotten";

/// Documents of each collection.
pub type DocumentCounts = BTreeMap<String, u64>;

/// The `ld_…` collections with the project's id in `prj`.
const REMEMBERED: [&str; 4] = [memory::DELETIONS, memory::VIEWS, memory::RENAMES, FORGOTTEN];

impl Store {
    /// What is stored of a project: its collections, and its documents in `ld_…` collections.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn project(&self, prj: &Project) -> Result<DocumentCounts, StoreError> {
        let mut found = DocumentCounts::new();
        for name in self.collections(prj).await? {
            let all = self.db.collection::<Document>(&name);
            let documents = with_timeout(async { Ok(all.count_documents(doc! {}).await?) }).await?;
            found.insert(name, documents);
        }
        for name in REMEMBERED {
            let all = self.db.collection::<Document>(name);
            let documents =
                with_timeout(async { Ok(all.count_documents(doc! { "prj": prj.as_str() }).await?) }).await?;
            if documents > 0 {
                found.insert(name.to_owned(), documents);
            }
        }
        Ok(found)
    }

    /// The collections of one project. A project's id holds no dot, so `github_A.` is a prefix of no other project's.
    async fn collections(&self, prj: &Project) -> Result<Vec<String>, StoreError> {
        let starts = Source::ALL.map(|source| format!("{source}_{prj}."));
        let mut names = with_timeout(async { Ok(self.db.list_collection_names().await?) }).await?;
        names.retain(|name| starts.iter().any(|start| name.starts_with(start)));
        names.sort();
        Ok(names)
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// When MongoDB is away or refuses; what is left is removed by doing it again.
    pub async fn forget_project(&self, prj: &Project) -> Result<(), StoreError> {
        for name in self.collections(prj).await? {
            let all = self.db.collection::<Document>(&name);
            with_timeout(async { Ok(all.drop().write_concern(majority()).await?) }).await?;
        }
        for name in REMEMBERED {
            let all = self.db.collection::<Document>(name);
            let of_project = doc! { "prj": prj.as_str() };
            with_timeout(async { Ok(all.delete_many(of_project).write_concern(majority()).await?) }).await?;
        }
        Ok(())
    }

    /// The forgotten people of all projects.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn forgotten(&self) -> Result<Rules, StoreError> {
        let all = command::find_durable(&self.db, FORGOTTEN, doc! {}, doc! { "prj": 1 }).await?;
        let read = |rule: &Document| Some((rule.get_str("prj").ok()?.to_owned(), rule.get_str("_id").ok()?.to_owned()));
        Ok(Rules::new(all.iter().filter_map(read)))
    }

    /// Stores these names of a project as forgotten. Workers apply that within [`REFRESH`](super::forgotten::REFRESH).
    ///
    /// # Errors
    /// When MongoDB is away or refuses.
    pub async fn remember_to_forget(&self, prj: &Project, names: &[String]) -> Result<(), StoreError> {
        let at = shared::time::now_ms();
        let statements = names.iter().map(|name| {
            let id = hash(prj.as_str(), name);
            let set = doc! { "$setOnInsert": { "prj": prj.as_str(), "at": at } };
            raw(&doc! { "q": { "_id": id }, "u": set, "upsert": true })
        });
        let failures = command::update(&self.db, FORGOTTEN, &statements.collect::<Result<Vec<_>, _>>()?).await?;
        command::none_failed(failures.into_iter().filter(|failure| !failure.is_duplicate_id()).collect())
    }

    /// How many documents of each collection show these people.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn naming(&self, prj: &Project, rules: &Rules) -> Result<DocumentCounts, StoreError> {
        let mut found = DocumentCounts::new();
        for kind in Kind::ALL {
            let changes = self.changes(kind, prj, rules).await?;
            if !changes.is_empty() {
                found.insert(kind.collection(prj.as_str()), changes.len() as u64);
            }
        }
        Ok(found)
    }

    /// Removes these people from the project's documents.
    ///
    /// # Errors
    /// When MongoDB is away or refuses; what is left is changed by doing it again.
    pub async fn anonymise(&self, prj: &Project, rules: &Rules) -> Result<DocumentCounts, StoreError> {
        let mut found = DocumentCounts::new();
        for kind in Kind::ALL {
            let collection = kind.collection(prj.as_str());
            // A document that was written in between is read again. The rules in force keep names out of new ones.
            let mut left = 0;
            for _ in 0..super::command::RETRIES {
                let changes = self.changes(kind, prj, rules).await?;
                left = changes.len();
                if left == 0 {
                    break;
                }
                *found.entry(collection.clone()).or_default() += changes.len() as u64;
                command::none_failed(command::update(&self.db, &collection, &changes).await?)?;
            }
            if left > 0 && !self.changes(kind, prj, rules).await?.is_empty() {
                return Err(StoreError::Outage(format!("{collection} is still being written to, and names them")));
            }
        }
        self.anonymise_remembered(prj, rules).await?;
        Ok(found)
    }

    /// Removes these people from the actions of tasks that were deleted with their story.
    async fn anonymise_remembered(&self, prj: &Project, rules: &Rules) -> Result<(), StoreError> {
        /// Who did it.
        const BY: &str = "action.fields.assigned_by";
        let Some(forgotten) = rules.in_project(prj.as_str()) else { return Ok(()) };
        let filter = doc! { "prj": prj.as_str(), BY: { "$type": "string" } };
        let found = command::find(&self.db, memory::DELETIONS, filter, doc! { BY: 1 }).await?;
        let by = |document: &Document| {
            let fields = document.get_document("action").ok()?.get_document("fields").ok()?;
            fields.get_str("assigned_by").ok().map(str::to_owned)
        };
        let named = found.iter().filter_map(|document| Some((document.get("_id")?, by(document)?)));
        let statements = named
            .filter(|(_, by)| forgotten(by))
            .map(|(id, by)| raw(&doc! { "q": { "_id": id.clone(), BY: by }, "u": { "$set": { BY: ANONYMOUS } } }));
        let statements = statements.collect::<Result<Vec<_>, _>>()?;
        command::none_failed(command::update(&self.db, memory::DELETIONS, &statements).await?)
    }

    /// The statements that remove people from a collection.
    async fn changes(&self, kind: Kind, prj: &Project, rules: &Rules) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let Some(forgotten) = rules.in_project(prj.as_str()) else { return Ok(Vec::new()) };
        let all = self.db.collection::<Document>(&kind.collection(prj.as_str()));
        let mut cursor = with_timeout(async { Ok(all.find(doc! {}).await?) }).await?;
        let mut changes = Vec::new();
        while let Some(stored) = with_timeout(async { Ok(cursor.try_next().await?) }).await? {
            let mut document = stored.clone();
            if people::anonymise(kind, &mut document, &forgotten) {
                changes.push(change(kind, &stored, document)?);
            }
        }
        Ok(changes)
    }
}

/// Replaces the documents that differ, while they show the state that was read.
fn change(kind: Kind, stored: &Document, anonymous: Document) -> Result<RawDocumentBuf, StoreError> {
    let state = stored.get_document("_ld").ok().and_then(|ld| ld.get("order")).cloned();
    let state = state.unwrap_or_else(|| doc! { "$exists": false }.into());
    let filter = doc! { "_id": stored.get("_id").cloned().unwrap_or(Bson::Null), STATE: state };
    let update: Bson = match kind {
        // Users choose its field names, and `$set` would read dots in them as paths. Nothing else writes to it.
        Kind::Row => Bson::Array(vec![doc! { "$replaceWith": { "$literal": anonymous } }.into()]),
        _ => {
            let differs = anonymous.into_iter().filter(|(name, value)| stored.get(name) != Some(value));
            doc! { "$set": differs.collect::<Document>() }.into()
        }
    };
    raw(&doc! { "q": filter, "u": update })
}
