//! The documents of a project, as they are stored now.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use shared::ids::Project;
use worker_event::effect::Kind;

use crate::client::Halt;
use crate::compare::integer;

/// Documents by their number.
pub type Stored = BTreeMap<i64, Document>;

/// The documents of one kind by number: for Taiga all, for GitHub those of a repository.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn by_number(db: &Database, kind: Kind, prj: &str, repository: Option<&str>) -> Result<Stored, Halt> {
    let filter = repository.map_or_else(Document::new, |name| doc! { "repo_name": name });
    let found = find(db, kind, prj, filter, Document::new()).await?;
    let name = kind.key_fields().last().copied().unwrap_or_default();
    Ok(found.into_iter().filter_map(|document| Some((integer(document.get(name)?)?, document))).collect())
}

/// Those of these commits that are stored.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn commits(db: &Database, prj: &str, shas: &[&str]) -> Result<HashMap<String, Document>, Halt> {
    let mut all = HashMap::new();
    for shas in shas.chunks(1_000) {
        let found = find(db, Kind::Commit, prj, doc! { "sha": { "$in": shas } }, doc! { "sha": 1 }).await?;
        all.extend(found.into_iter().filter_map(|document| Some((document.get_str("sha").ok()?.to_owned(), document))));
    }
    Ok(all)
}

/// The repositories of which a project has issues or pull requests.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn repositories(db: &Database, prj: &str) -> Result<Vec<String>, Halt> {
    let mut all = Vec::new();
    for kind in [Kind::GithubIssue, Kind::PullRequest] {
        let collection = db.collection::<Document>(&kind.collection(prj));
        let names = collection.distinct("repo_name", doc! {}).await.map_err(failed)?;
        all.extend(names.into_iter().filter_map(|name| name.as_str().map(str::to_owned)));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The projects that have documents of GitHub or Taiga.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn projects(db: &Database) -> Result<BTreeSet<Project>, Halt> {
    let names = db.list_collection_names().await.map_err(failed)?;
    let project = |name: &String| {
        let (prefix, _) = name.split_once('.')?;
        let (source, prj) = prefix.split_once('_')?;
        matches!(source, "github" | "taiga").then(|| Project::new(prj).ok())?
    };
    Ok(names.iter().filter_map(project).collect())
}

/// Whether a project has any document of this kind.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn has_any(db: &Database, kind: Kind, prj: &str) -> Result<bool, Halt> {
    let found = db.collection::<Document>(&kind.collection(prj)).find_one(doc! {}).projection(doc! { "_id": 1 }).await;
    found.map(|found| found.is_some()).map_err(failed)
}

async fn find(
    db: &Database,
    kind: Kind,
    prj: &str,
    filter: Document,
    projection: Document,
) -> Result<Vec<Document>, Halt> {
    let collection = db.collection::<Document>(&kind.collection(prj));
    let found = collection.find(filter).projection(projection).await.map_err(failed)?;
    found.try_collect().await.map_err(failed)
}

fn failed(error: mongodb::error::Error) -> Halt {
    // Without labels and source, which the driver prints as a dump.
    Halt::mongo(error.kind)
}

/// When a document's state became true, in milliseconds since 1970 of the provider's clock.
#[must_use]
pub fn as_of(document: &Document) -> Option<i64> {
    let order = document.get_document("_ld").ok()?.get_document("order").ok()?;
    order.get("t").and_then(|t: &Bson| integer(t))
}

/// The epics that a story is linked to, also those that its document does not show.
pub fn epics(document: &Document) -> impl Iterator<Item = i64> {
    let links = document.get_document("_ld").ok().and_then(|ld| ld.get_array("links").ok());
    links.into_iter().flatten().filter_map(|link| integer(link.as_document()?.get("epic")?))
}
