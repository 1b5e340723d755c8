//! Issues and pull requests of a repository that was renamed.

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use worker_event::effect::{Kind, Order};

use super::connection::Store;
use super::encode::{action_fields, entity_id, packed, read_order};
use super::error::StoreError;
use super::fold::{Batch, Rename, State};
use super::obstacles::Obstacles;
use super::{command, memory};

/// The kinds whose natural key holds the repository's name.
const KINDS: [Kind; 2] = [Kind::GithubIssue, Kind::PullRequest];

/// The state of a document of another program: older than every event.
const BEFORE_ALL: Order = Order { t: i64::MIN, s: i64::MIN, r: i64::MIN };

/// The repository name to which a state of order `at` belongs: its later renames are followed. `None` if the name is
/// unchanged; otherwise also the order of the last rename.
pub(super) fn newer_name(renames: &BTreeSet<Rename>, prj: &str, name: &str, at: Order) -> Option<(String, Order)> {
    let next = |name: &str, at: Order| {
        let later = renames.iter().filter(|rename| rename.prj == prj && rename.from == name && rename.order > at);
        later.min_by_key(|rename| rename.order)
    };
    // Each is later than the one before, so this ends.
    let mut newest = next(name, at)?;
    while let Some(rename) = next(&newest.to, newest.order) {
        newest = rename;
    }
    (newest.to != name).then(|| (newest.to.clone(), newest.order))
}

impl Store {
    /// Moves documents and deletions under older names to the newest name.
    pub(super) async fn move_renamed(
        &self,
        renames: &BTreeSet<Rename>,
        obstacles: &Obstacles,
    ) -> Result<(), StoreError> {
        let names: BTreeSet<(&str, &str)> =
            renames.iter().map(|rename| (rename.prj.as_str(), rename.from.as_str())).collect();
        for (prj, from) in names {
            let mut batch = Batch::default();
            let mut moved = Vec::new();
            for kind in KINDS {
                let collection = kind.collection(prj);
                let found = command::find(&self.db, &collection, doc! { "repo_name": from }, Document::new()).await?;
                for document in found {
                    if let Some((state, id, at)) = state_of(kind, prj, document)?
                        && let Some((to, named)) = newer_name(renames, prj, from, state.named())
                    {
                        let key = vec![to.into(), state.key.last().cloned().unwrap_or(Bson::Null)];
                        batch.add_moved(state.moved(key, named));
                        moved.push((kind, id, at));
                    }
                }
                let prefix = entity_id(kind, prj, &[from.into()]) + "/";
                for (number, gone) in memory::deletions_under(&self.db, &prefix).await? {
                    let Ok(number) = number.parse::<i64>() else { continue };
                    if let Some((to, _)) = gone.last().and_then(|at| newer_name(renames, prj, from, at)) {
                        batch.add_gone(prj, kind, vec![to.into(), number.into()], gone);
                    }
                }
            }
            if batch.is_empty() {
                continue;
            }
            self.write_and_settle(&batch, obstacles).await?;
            for (kind, id, at) in moved {
                // A newer state under the old name belongs to another repository: it stays.
                let filter = doc! { "_id": id, "_ld.order": at };
                let statement = super::encode::raw(&doc! { "q": filter, "limit": 1 })?;
                obstacles.note(command::delete(&self.db, &kind.collection(prj), &[statement]).await)?;
            }
        }
        Ok(())
    }
}

/// A stored document as the state that wrote it, its `_id`, and the filter of its order.
fn state_of(kind: Kind, prj: &str, mut document: Document) -> Result<Option<(State, Bson, Bson)>, StoreError> {
    let Some(id) = document.remove("_id") else { return Ok(None) };
    let ours = document.remove("_ld").and_then(|ours| ours.as_document().cloned()).unwrap_or_default();
    let key: Option<Vec<Bson>> = kind.key_fields().iter().map(|field| document.get(field).cloned()).collect();
    let Some(key) = key else { return Ok(None) };
    let at = |name| ours.get(name).and_then(read_order);
    let action: Document =
        action_fields(kind).iter().filter_map(|field| Some(((*field).to_owned(), document.remove(field)?))).collect();
    let state = State {
        prj: prj.to_owned(),
        kind,
        key,
        order: at("order").unwrap_or(BEFORE_ALL),
        read: at("read"),
        named: at("named"),
        fields: packed(&document)?,
        // Documents of another program, or of an earlier version, have no order of the action: it is that of the state.
        action: at("action").or_else(|| at("order").filter(|_| at("read").is_none())).map(|at| (at, action)),
        milestone: None,
        story: None,
        delivery: ours.get_str("delivery").unwrap_or_default().to_owned(),
        event: 0,
        insert_first: true,
    };
    let order = ours.get("order").cloned().unwrap_or_else(|| doc! { "$exists": false }.into());
    Ok(Some((state, id, order)))
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.states.is_empty() && self.deletions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_followed_through_later_renames_only() {
        let rename = |from: &str, to: &str, t| Rename {
            prj: "P".into(),
            from: from.into(),
            to: to.into(),
            order: Order::new(t, 1),
        };
        let renames = BTreeSet::from([rename("o/a", "o/b", 10), rename("o/b", "o/c", 20), rename("o/c", "o/a", 30)]);
        let name = |name: &str, t| newer_name(&renames, "P", name, Order::new(t, 1)).map(|(name, _)| name);
        assert_eq!(name("o/a", 40), None);
        assert_eq!(name("o/a", 15), None, "another repository that took the name");
        assert_eq!(name("o/b", 15).as_deref(), Some("o/a"));
        assert_eq!(name("o/b", 25), None);
        assert_eq!(name("o/a", 5), None, "it came back to its first name");
        assert_eq!(newer_name(&renames, "Q", "o/b", Order::new(15, 1)), None);
    }
}
