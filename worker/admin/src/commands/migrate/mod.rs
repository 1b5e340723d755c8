//! `worker migrate`: copies what the Python service stored into our collections.
//!
//! The Python service stored GitHub issues in `<prj>_issues` (one document an event), rows in `<prj>_sheets`, its
//! backfill of Taiga in `taiga_<prj>.userstory`, `.task`, `.issue` and `.epic`, and every commit and pull request once
//! for each delivery. All of it is older than anything this worker writes. So it is written with an order in the far
//! past, where each of our documents wins, and of copies those with `_ld` stay. Every step may be repeated.

mod convert;
mod notices;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitCode;

use bson::{Bson, Document, doc};
use clap::Args;
use futures::TryStreamExt as _;
use mongodb::Database;
use serde_json::json;
use shared::config::CredentialsArgs;
use shared::ids::Project;

use self::notices::Notices;
use crate::streams::ConnectArgs;
use crate::terminal::{
    Column, CommandError, Exit, Output, Progress, Table, Tally, counted, finish, notice, print_json,
};
use worker_core::config::MongoArgs;
use worker_core::store::{self, Applied, Batch, Event, Store, StoreError, sentence};
use worker_event::effect::{Effect, Kind, Order, State, StoryOf};

/// Milliseconds before 1970 to which all times are moved: before every time that a provider can send.
const FAR_PAST: i64 = 1 << 60;

/// What only webhooks contain.
const ACTION_FIELDS: [&str; 4] = ["action", "sender_info", "action_type", "assigned_by"];

/// What the Python service wrote about itself.
const OWN_RECORDS: [&str; 2] = ["inactivity_intervals", "system_heartbeats"];

/// How many documents are written at once.
const BATCH: usize = 500;

/// What to move, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this project.
    #[arg(long)]
    prj: Option<Project>,
    /// Say what would be done and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Drop each old collection once all that is in it has a document of the contract. Make a backup first.
    #[arg(long, conflicts_with = "dry_run")]
    drop_old: bool,
    /// table for people, json for scripts (one object a collection).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

pub async fn run(options: Options) -> ExitCode {
    finish(migrate(options)).await
}

async fn migrate(options: Options) -> Result<Exit, CommandError> {
    let store = options.mongo.open().await.map_err(CommandError::usage)?;
    let names = store.database().list_collection_names().await.map_err(|error| failed("The collections", &error))?;
    let sources = sources(&names, options.prj.as_ref());
    leave_alone(&names, options.output);
    if sources.is_empty() {
        notice("there is nothing of the Python service in this database; check MONGO_URI and MONGO_DB");
        return Ok(Exit::Done);
    }
    let numbers = ["read", "copies", "written", "newer", "unusable"].map(Column::Right);
    let columns: Vec<_> = std::iter::once(Column::Left("from")).chain(numbers).chain([Column::Left("to")]).collect();
    let (mut table, mut tally) = (Table::new(&columns), Tally::of("document", "documents"));
    // A dry run notifies nobody, so it needs no NATS.
    let notices = match options.dry_run {
        true => None,
        false => Some(Notices::open(&options.credentials, &options.connect, &store).await?),
    };
    let migration = Migration { store: &store, notices: notices.as_ref() };
    let (mut ended, mut shown) = (Ok(()), 0);
    for source in &sources {
        match migration.collection(source).await {
            Ok(count) => {
                if !options.dry_run || count.changes(source) {
                    count.print(source, options.output, options.dry_run, &mut table);
                    shown += 1;
                }
                tally.count_failed(count.unusable as u64);
                tally.count_done((count.read - count.unusable) as u64);
                if options.drop_old && count.unusable == 0 && source.name != source.target() {
                    let old = store.database().collection::<Document>(&source.name);
                    ended = old.drop().await.map_err(|error| failed(&source.name, &error));
                }
            }
            Err(error) => ended = Err(error),
        }
        if ended.is_err() {
            break;
        }
    }
    if options.output == Output::Table && shown > 0 {
        table.print();
    }
    if let Some(notices) = &notices {
        // Also of the projects that are done when another one fails.
        notices.send().await?;
    }
    ended?;
    if options.dry_run {
        notice(if shown > 0 { "dry run: nothing was changed" } else { "there is nothing to change" });
    }
    if options.dry_run && tally.failed() > 0 {
        notice(format_args!("{} without a natural key would stay", counted(tally.failed(), "document", "documents")));
        return Ok(Exit::Done);
    }
    tally.end("They have no natural key, or MongoDB refuses them, and stay where they are")?;
    Ok(Exit::Done)
}

/// A failure of MongoDB in a collection.
fn failed(collection: &str, error: &mongodb::error::Error) -> CommandError {
    CommandError::mongo(format_args!("{collection} cannot be migrated"), sentence(error))
}

/// A collection of the Python service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    name: String,
    prj: String,
    kind: Kind,
}

impl Source {
    fn target(&self) -> String {
        self.kind.collection(&self.prj)
    }

    /// Progress over its documents; the line of the report replaces it at the end.
    fn progress(&self, verb: &str, documents: usize) -> Progress {
        Progress::new(format!("{}: {verb}", self.name), "documents", documents as u64)
    }
}

/// Names the collections that the Python service kept about itself. Nothing here replaces them.
fn leave_alone(names: &[String], output: Output) {
    for name in OWN_RECORDS.into_iter().filter(|own| names.iter().any(|name| name == own)) {
        match output {
            Output::Table => {
                notice(format_args!("{name}: left as it is; the Python service's record of its own downtimes"))
            }
            Output::Json => print_json(&json!({ "from": name, "left_alone": true })),
        }
    }
}

/// Which of a database's collections are the Python service's.
fn sources(names: &[String], only: Option<&Project>) -> Vec<Source> {
    let of = |name: &String| {
        let github = name.strip_prefix("github_").and_then(|rest| rest.rsplit_once('.'));
        let taiga = name.strip_prefix("taiga_").and_then(|rest| rest.rsplit_once('.'));
        let (prj, kind) = match (github, taiga) {
            (Some((prj, "commits")), _) => (prj, Kind::Commit),
            (Some((prj, "pull_requests")), _) => (prj, Kind::PullRequest),
            (_, Some((prj, "userstory"))) => (prj, Kind::UserStory),
            (_, Some((prj, "task"))) => (prj, Kind::Task),
            (_, Some((prj, "issue"))) => (prj, Kind::TaigaIssue),
            (_, Some((prj, "epic"))) => (prj, Kind::Epic),
            _ => match (name.strip_suffix("_issues"), name.strip_suffix("_sheets")) {
                (Some(prj), _) => (prj, Kind::GithubIssue),
                (_, Some(prj)) => (prj, Kind::Row),
                _ => return None,
            },
        };
        // Names with other characters are foreign collections.
        let prj = Project::new(prj).ok()?;
        let wanted = only.is_none_or(|only| *only == prj);
        wanted.then(|| Source { name: name.clone(), prj: prj.as_str().to_owned(), kind })
    };
    names.iter().filter_map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What became of a collection's documents.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// Documents of the Python service.
    read: usize,
    /// Older or equal copies of the same thing.
    copies: usize,
    /// Documents written, or changed.
    written: usize,
    /// A stored document is at least as new.
    newer: usize,
    /// Without a natural key, or refused by MongoDB.
    unusable: usize,
}

impl Count {
    /// Whether anything is written or removed. Copies are removed only where the documents stay in their collection.
    fn changes(self, source: &Source) -> bool {
        self.written > 0 || (source.name == source.target() && self.copies > 0)
    }

    fn print(self, source: &Source, output: Output, dry_run: bool, table: &mut Table) {
        let Self { read, copies, written, newer, unusable } = self;
        let (from, to) = (&source.name, source.target());
        match output {
            Output::Table => table.row(&[from, &read, &copies, &written, &newer, &unusable, &to]),
            Output::Json => print_json(&json!({
                "from": from, "to": to, "read": read, "copies": copies, "written": written, "newer": newer,
                "unusable": unusable, "dry_run": dry_run,
            })),
        }
    }
}

/// One entity, ready to be written.
struct Moved {
    key: Vec<Bson>,
    effects: Vec<Effect>,
}

struct Migration<'a> {
    store: &'a Store,
    /// None in a dry run.
    notices: Option<&'a Notices>,
}

impl Migration<'_> {
    /// Whether to change documents of a collection. Then LD Eval is to be notified of its project, come what may.
    async fn changes(&self, source: &Source) -> Result<bool, CommandError> {
        match self.notices {
            Some(notices) => notices.owe(&source.prj).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn collection(&self, source: &Source) -> Result<Count, CommandError> {
        match source.kind {
            Kind::Commit | Kind::PullRequest => self.in_place(source).await,
            _ => self.move_over(source).await,
        }
    }

    /// Commits and pull requests stay in their collections, but there are copies: our document stays, else the first
    /// one. A worker may write meanwhile; nothing that it has written is changed here.
    async fn in_place(&self, source: &Source) -> Result<Count, CommandError> {
        let collection = self.majority(&source.name);
        let mut groups: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        let mut count = Count::default();
        for document in all(self.store.database(), &source.name).await? {
            let ours = document.contains_key("_ld");
            count.read += usize::from(!ours);
            match key_of(source.kind, &document) {
                Some(key) => groups.entry(text_of(&key)).or_default().push(document),
                None => count.unusable += usize::from(!ours),
            }
        }
        let mut progress = source.progress("settled", groups.len());
        for documents in groups.into_values() {
            progress.add(1);
            // Of a pull request that was closed twice the last copy counts; of a commit the first.
            let untouched = |document: &&Document| !document.contains_key("_ld");
            let ours = documents.iter().find(|document| !untouched(document));
            let kept = ours.or(if source.kind == Kind::Commit { documents.first() } else { documents.last() });
            let Some(kept) = kept else { continue };
            let others: Vec<&Document> = documents.iter().filter(|other| !std::ptr::eq(*other, kept)).collect();
            let set = match source.kind {
                Kind::Commit => convert::commit(kept, &others),
                _ => convert::pull_request(kept),
            };
            if untouched(&kept) && !set.is_empty() {
                count.written += 1;
                if self.changes(source).await? {
                    let filter = doc! { "_id": kept.get("_id"), "_ld": { "$exists": false } };
                    collection
                        .update_one(filter, doc! { "$set": set })
                        .await
                        .map_err(|error| failed(&source.name, &error))?;
                }
            } else {
                count.newer += usize::from(!others.is_empty() || !untouched(&kept));
            }
            for copy in others.into_iter().filter(untouched) {
                count.copies += 1;
                if self.changes(source).await? {
                    let filter = doc! { "_id": copy.get("_id"), "_ld": { "$exists": false } };
                    collection.delete_one(filter).await.map_err(|error| failed(&source.name, &error))?;
                }
            }
        }
        if self.notices.is_some() {
            let index = self.store.index(source.kind, &source.prj).await;
            index
                .map_err(|error| CommandError::mongo(format_args!("{} has no unique index", source.target()), error))?;
        }
        Ok(count)
    }

    /// All others move to another collection, through the store.
    async fn move_over(&self, source: &Source) -> Result<Count, CommandError> {
        let there = self.there(source).await?;
        let mut count = Count::default();
        // The documents are read in the order in which they were stored, so a later one is newer.
        let mut newest: BTreeMap<String, (String, Option<Moved>)> = BTreeMap::new();
        for document in all(self.store.database(), &source.name).await? {
            count.read += 1;
            let at = convert::modified(&document);
            let Some((key, moved)) = moved(source, document, &there) else {
                count.unusable += 1;
                continue;
            };
            match newest.get(&text_of(&key)) {
                Some((held, _)) if *held > at => count.copies += 1,
                held => {
                    count.copies += usize::from(held.is_some());
                    newest.insert(text_of(&key), (at, moved));
                }
            }
        }
        let mut wanted = Vec::new();
        for (key, (at, moved)) in newest {
            match (there.get(&key), moved) {
                // The deletion of an issue has no document.
                (_, None) => count.newer += 1,
                (Some(held), Some(_)) if held.is_as_new_as(&at) => count.newer += 1,
                (_, Some(moved)) => wanted.push(moved),
            }
        }
        count.written = wanted.len();
        if !wanted.is_empty() && self.changes(source).await? {
            let refused = self.apply(source, wanted).await?;
            count.written -= refused;
            count.unusable += refused;
        }
        Ok(count)
    }

    /// Writes, and returns how many documents MongoDB refused.
    async fn apply(&self, source: &Source, mut wanted: Vec<Moved>) -> Result<usize, CommandError> {
        let mut refused = 0;
        let mut progress = source.progress("moved", wanted.len());
        while !wanted.is_empty() {
            progress.add(wanted.len().min(BATCH) as u64);
            let rest = wanted.split_off(wanted.len().min(BATCH));
            loop {
                let event = |one: &Moved| Event {
                    prj: source.prj.clone(),
                    delivery: format!("migrated:{}", source.name),
                    effects: one.effects.clone(),
                };
                let again = |error| CommandError::mongo(format_args!("{} cannot be migrated", source.name), error);
                let batch = Batch::of(wanted.iter().map(event)).map_err(again)?;
                let refusals = match self.store.apply(batch).await.map_err(again)? {
                    Applied::Stored { waiting } => match waiting.into_iter().next() {
                        Some(one) => return Err(again(StoreError::Blocked((*one.blocked).clone()))),
                        None => break,
                    },
                    Applied::Refused(refusals) => refusals,
                };
                for refusal in &refusals {
                    let key = wanted.get(refusal.event).map(|one| text_of(&one.key)).unwrap_or_default();
                    notice(format_args!("{}: MongoDB refuses {key}: {}", source.name, refusal.error));
                }
                let bad: BTreeSet<usize> = refusals.iter().map(|refusal| refusal.event).collect();
                refused += bad.len();
                let mut index = 0;
                wanted.retain(|_| {
                    index += 1;
                    !bad.contains(&(index - 1))
                });
            }
            wanted = rest;
        }
        Ok(refused)
    }

    /// The documents of the target, by natural key.
    async fn there(&self, source: &Source) -> Result<HashMap<String, There>, CommandError> {
        let documents = all(self.store.database(), &source.target()).await?;
        let known = documents.into_iter().filter_map(|document| {
            let key = key_of(source.kind, &document)?;
            Some((text_of(&key), There { ours: document.contains_key("_ld"), modified: convert::modified(&document) }))
        });
        Ok(known.collect())
    }

    fn majority(&self, name: &str) -> mongodb::Collection<Document> {
        let options = mongodb::options::CollectionOptions::builder().write_concern(store::majority()).build();
        self.store.database().collection_with_options(name, options)
    }
}

/// A document of the target.
struct There {
    /// Written by this worker, or moved before.
    ours: bool,
    modified: String,
}

impl There {
    fn is_as_new_as(&self, at: &str) -> bool {
        self.ours || self.modified.as_str() >= at
    }
}

/// Natural key and what to write; `None` without a key, `Some((_, None))` when there is nothing to write.
fn moved(source: &Source, document: Document, there: &HashMap<String, There>) -> Option<(Vec<Bson>, Option<Moved>)> {
    let kind = source.kind;
    // All migrated documents share this order. It only has to be older than any real event; duplicates among them were
    // resolved above.
    let order = Order::new(-FAR_PAST, 0);
    let state = |key: Vec<Bson>, mut fields: Document, milestone: Option<Document>, story: Option<StoryOf>| {
        // A commit and a row have an order of their own.
        let known: &[&str] = if matches!(kind, Kind::Commit | Kind::Row) { &[] } else { &ACTION_FIELDS };
        let action = fields.keys().filter(|name| known.contains(&name.as_str())).cloned().collect::<Vec<_>>();
        let action: Document =
            action.into_iter().filter_map(|name| Some((name.clone(), fields.remove(name)?))).collect();
        let action = (!action.is_empty()).then_some(action);
        let mut effects = convert::links(kind, &mut fields, order);
        let id = milestone.as_ref().map(|fields| fields.get("milestone_id").cloned().unwrap_or(Bson::Null));
        if let (Some(id), Some(fields)) = (id.clone().filter(|id| *id != Bson::Null), milestone) {
            effects.push(Effect::Milestone { id, order, fields });
        }
        let state = State { kind, key: key.clone(), order, read: None, fields, action, milestone: id, story };
        effects.push(Effect::State(state));
        Moved { key, effects }
    };
    match kind {
        Kind::GithubIssue => {
            let (key, fields) = convert::github_issue(&source.prj, document)?;
            let moved = fields.map(|fields| state(key.clone(), fields, None, None));
            Some((key, moved))
        }
        Kind::Row => {
            let (id, fields) = convert::row(&source.prj, document).ok()?;
            Some((vec![id.clone()], Some(state(vec![id], fields, None, None))))
        }
        _ => {
            let key = key_of(kind, &document)?;
            let whole = !there.contains_key(&text_of(&key));
            let (fields, milestone, story) = convert::taiga(kind, &source.prj, document, whole);
            Some((key.clone(), Some(state(key, fields, milestone, story))))
        }
    }
}

/// All documents of a collection, in the order in which they were stored.
async fn all(db: &Database, name: &str) -> Result<Vec<Document>, CommandError> {
    let found = async {
        let cursor = db.collection::<Document>(name).find(doc! {}).sort(doc! { "_id": 1 }).await?;
        cursor.try_collect().await
    };
    found.await.map_err(|error| failed(name, &error))
}

fn key_of(kind: Kind, document: &Document) -> Option<Vec<Bson>> {
    let value = |name: &&str| document.get(name).filter(|value| **value != Bson::Null).cloned();
    kind.key_fields().iter().map(value).collect()
}

/// 17 and 17.0 are one key to MongoDB; 17 and "17" are two.
fn text_of(key: &[Bson]) -> String {
    let part = |part: &Bson| match part {
        Bson::Double(number) if number.fract() == 0.0 => format!("{number:.0}"),
        other => other.to_string(),
    };
    key.iter().map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_python_services_collections_are_sources() {
        let names = [
            "github_A.commits",
            "github_A.issues",
            "taiga_A.userstory",
            "taiga_A.userstories",
            "A_issues",
            "B-2_sheets",
            "system.views",
            "ld_deletions",
            "not a team_issues",
        ]
        .map(str::to_owned);
        let found: Vec<_> = sources(&names, None).into_iter().map(|one| (one.name.clone(), one.target())).collect();
        let pairs = [
            ("A_issues", "github_A.issues"),
            ("B-2_sheets", "excel_B-2.sheets"),
            ("github_A.commits", "github_A.commits"),
            ("taiga_A.userstory", "taiga_A.userstories"),
        ];
        assert_eq!(found, pairs.map(|(from, to)| (from.to_owned(), to.to_owned())));
        assert_eq!(sources(&names, Some(&Project::new("B-2").unwrap())).len(), 1);
    }
}
