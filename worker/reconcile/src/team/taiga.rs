//! Compares the lists of one Taiga project with the documents of one `prj`.

use std::collections::{BTreeMap, BTreeSet};

use bson::Bson;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::source::Source;
use worker_core::store::MILESTONE_FIELDS;

use crate::client::{Halt, TaigaApi};
use crate::compare::removal::needs_a_person;
use crate::compare::shown::{self, Shown};
use crate::compare::{differences, integer, same};
use crate::feed::Feed;
use crate::parts::Parts;
use crate::reading::taiga::{Item, Project};
use crate::report::{Finding, Report};
use crate::scope::Scope;
use crate::stored::{self, Stored};

/// Reconciles a project's documents with a Taiga project.
///
/// # Errors
/// When a server does not answer, or at a stop.
pub async fn reconcile(parts: &Parts, api: &TaigaApi, scope: &Scope, slug: &str) -> Result<Report, Halt> {
    let before = api.asking.calls();
    let Some(project) = Project::read(api, slug, &scope.taiga).await? else {
        let finding = format!(
            "Taiga shows no project {slug} to the account of {}; check the slug, and that the account is a member",
            api.account.credential.label
        );
        let finding = Finding { prj: scope.prj.clone(), source: Source::Taiga, finding };
        return Ok(Report { findings: vec![finding], calls: api.asking.calls() - before, ..Report::default() });
    };
    let mut feed = Feed::open(parts, scope, Source::Taiga, slug).await?;
    project.findings.iter().for_each(|finding| feed.finding(finding.clone()));
    let mut documents = BTreeMap::new();
    for item in project.lists.keys() {
        documents
            .insert(*item, stored::by_number(parts.store.database(), item.kind(), scope.prj.as_str(), None).await?);
    }
    let mut pass = Pass { parts, api, scope, project: &project, feed, documents, gone_milestones: BTreeSet::new() };
    pass.milestones().await?;
    for item in project.lists.keys() {
        pass.items(*item).await?;
        if *item == Item::Story {
            pass.links().await?;
        }
    }
    pass.removals().await?;
    let mut report = pass.feed.finish().await?;
    report.calls = api.asking.calls() - before;
    Ok(report)
}

struct Pass<'a> {
    parts: &'a Parts,
    api: &'a TaigaApi,
    scope: &'a Scope,
    project: &'a Project,
    feed: Feed<'a>,
    documents: BTreeMap<Item, Stored>,
    gone_milestones: BTreeSet<i64>,
}

impl Pass<'_> {
    /// Milestones have no documents: what stories and tasks show of them is compared, and published once for all.
    async fn milestones(&mut self) -> Result<(), Halt> {
        let mut shown_of: BTreeMap<i64, Vec<bson::Document>> = BTreeMap::new();
        for item in [Item::Story, Item::Task] {
            for document in self.documents.get(&item).into_iter().flat_map(Stored::values) {
                if let Some(id) = document.get("milestone_id").and_then(integer)
                    && self.is_here(document)
                {
                    let fields = MILESTONE_FIELDS
                        .iter()
                        .filter_map(|name| Some(((*name).to_owned(), document.get(*name)?.clone())));
                    shown_of.entry(id).or_default().push(fields.collect());
                }
            }
        }
        for (id, documents) in shown_of {
            let Some(milestone) = self.project.milestones.get(&id) else {
                self.milestone_gone(id).await?;
                continue;
            };
            let webhook = self.project.milestone_webhook(milestone);
            let event = self.feed.event("milestone", self.project.as_of, &webhook);
            let Some(fields) = shown::milestone(&event, &self.parts.settings).map_err(super::refused)? else {
                continue;
            };
            let differs = documents.iter().any(|document| !differences(document, &fields, &[]).is_empty());
            let counts = self.feed.counts("milestones");
            counts.checked += 1;
            if differs {
                counts.repaired += 1;
                self.feed.publish(&event).await?;
            } else {
                counts.same += 1;
            }
        }
        Ok(())
    }

    async fn milestone_gone(&mut self, id: i64) -> Result<(), Halt> {
        if !self.scope.is_whole() || !self.project.whole.contains(&None) {
            return Ok(());
        }
        self.feed.counts("milestones").checked += 1;
        if self.is_gone(&format!("/milestones/{id}")).await? {
            self.gone_milestones.insert(id);
            self.feed.counts("milestones").removed += 1;
            let webhook = self.project.gone_webhook("milestone", id);
            let event = self.feed.event("milestone", self.project.as_of, &webhook);
            self.feed.publish(&event).await?;
        } else {
            self.feed.counts("milestones").same += 1;
        }
        Ok(())
    }

    /// Compares each object of a list with its document.
    async fn items(&mut self, item: Item) -> Result<(), Halt> {
        let project = self.project;
        for (id, listed) in project.lists.get(&item).into_iter().flatten() {
            let changed = listed.get("modified_date").and_then(Value::as_str);
            if !self.scope.wants(changed) {
                continue;
            }
            self.feed.counts(item.list()).checked += 1;
            let number = u64::try_from(*id).unwrap_or_default();
            let due = self.scope.depth.reads(number, changed) || self.shows_other_attributes(item, *id);
            if !due && !self.differs(item, *id, listed, item.not_listed())? {
                self.feed.counts(item.list()).same += 1;
                continue;
            }
            // Deleted since it was listed: the next reading finds it.
            let Some(whole) = project.detail(self.api, item, *id).await? else {
                self.feed.counts(item.list()).same += 1;
                continue;
            };
            if self.differs(item, *id, &whole, &[])? {
                self.feed.counts(item.list()).repaired += 1;
                let event = self.feed.event(item.word(), project.as_of, &project.webhook(item, &whole));
                self.feed.publish(&event).await?;
            } else {
                self.feed.counts(item.list()).same += 1;
            }
        }
        Ok(())
    }

    /// Whether an object's document shows an attribute that was renamed or deleted since.
    fn shows_other_attributes(&self, item: Item, id: i64) -> bool {
        let shown = self.document(item, id).and_then(|document| document.get_document("custom_attributes").ok());
        shown.into_iter().flat_map(bson::Document::keys).any(|name| !self.project.has_attribute(item, name))
    }

    /// Whether an object's document differs from it.
    fn differs(&self, item: Item, id: i64, object: &Value, but: &[&str]) -> Result<bool, Halt> {
        let event = self.feed.event(item.word(), self.project.as_of, &self.project.webhook(item, object));
        let shown = shown::shown(&event, &self.feed.forgotten, &self.parts.settings).map_err(super::refused)?;
        let Some(Shown { fields, milestone, .. }) = shown else { return Ok(false) };
        let Some(document) = self.document(item, id).filter(|document| document.contains_key("project_id")) else {
            return Ok(true);
        };
        if self.is_newer(document) {
            return Ok(false);
        }
        let moved = milestone.is_some_and(|milestone| {
            let stored = document.get("milestone_id").unwrap_or(&Bson::Null);
            let stored =
                if integer(stored).is_some_and(|id| self.gone_milestones.contains(&id)) { &Bson::Null } else { stored };
            !same(stored, &milestone)
        });
        Ok(moved || !differences(document, &fields, but).is_empty())
    }

    /// The epics of a story. All its links are compared, also those that its document does not show: one of them is shown
    /// when the link that is shown ends.
    async fn links(&mut self) -> Result<(), Halt> {
        let project = self.project;
        for (story, epics) in &project.epics_of {
            let document = self.document(Item::Story, *story);
            let field = |name| document.and_then(|document| document.get(name)).unwrap_or(&Bson::Null);
            let shown = integer(field("epic_id"));
            let linked: BTreeSet<i64> = document.into_iter().flat_map(stored::epics).chain(shown).collect();
            let mut told: Vec<(i64, bool)> =
                linked.iter().filter(|epic| !epics.contains_key(epic)).map(|epic| (*epic, false)).collect();
            told.extend(epics.keys().filter(|epic| !linked.contains(epic)).map(|epic| (*epic, true)));
            // Only webhooks say which of several is shown; of the others the document does not show the name.
            if let Some((epic, shown)) = shown.and_then(|epic| Some((epic, epics.get(&epic)?))) {
                let current = project.lists.get(&Item::Epic).and_then(|all| all.get(&epic)).unwrap_or(shown);
                let subject = current.get("subject").and_then(Value::as_str);
                let number = current.get("ref").and_then(Value::as_i64);
                if field("epic_name").as_str() != subject || integer(field("epic_reference")) != number {
                    told.push((epic, true));
                }
            }
            let counts = self.feed.counts("links");
            counts.checked += 1;
            match told.as_slice() {
                [] => counts.same += 1,
                told if told.iter().all(|(_, linked)| !linked) => counts.removed += 1,
                _ => counts.repaired += 1,
            }
            for (epic, linked) in told {
                let webhook = project.link_webhook(*story, epic, linked);
                let event = self.feed.event("relateduserstory", project.as_of, &webhook);
                self.feed.publish(&event).await?;
            }
        }
        Ok(())
    }

    /// What is no longer listed, and not at its own address either.
    async fn removals(&mut self) -> Result<(), Halt> {
        if !self.scope.is_whole() {
            return Ok(());
        }
        let mut missing: BTreeMap<Item, BTreeSet<i64>> = BTreeMap::new();
        for (item, list) in &self.project.lists {
            if self.project.whole.contains(&Some(*item)) {
                let here = self.documents.get(item).into_iter().flatten();
                let gone = here.filter(|(id, document)| {
                    !list.contains_key(id) && self.is_here(document) && !self.is_newer(document)
                });
                missing.insert(*item, gone.map(|(id, _)| *id).collect());
            }
        }
        // Deleting a story deletes its tasks, so they count too.
        let stories = missing.get(&Item::Story).cloned().unwrap_or_default();
        let along = self.documents.get(&Item::Task).into_iter().flatten().filter(|(_, task)| {
            self.is_here(task)
                && task.get("userstory_id").and_then(integer).is_some_and(|story| stories.contains(&story))
        });
        let mut tasks: BTreeSet<i64> = along.map(|(id, _)| *id).collect();
        tasks.extend(missing.get(&Item::Task).into_iter().flatten());
        let waits = |item: Item, removed: usize| {
            let stored = self.documents.get(&item).into_iter().flatten().filter(|(_, document)| self.is_here(document));
            !self.scope.confirmed && needs_a_person(removed, stored.count())
        };
        let too_many_tasks = waits(Item::Task, tasks.len());
        let waiting: BTreeSet<Item> = missing
            .iter()
            .filter(|(item, missing)| {
                !missing.is_empty()
                    && match item {
                        Item::Story => waits(Item::Story, missing.len()) || too_many_tasks,
                        Item::Task => too_many_tasks,
                        Item::Issue | Item::Epic => waits(**item, missing.len()),
                    }
            })
            .map(|(item, _)| *item)
            .collect();
        let mut gone = Vec::new();
        for (item, missing) in missing {
            let counts = self.feed.counts(item.list());
            counts.checked += missing.len();
            if waiting.contains(&item) {
                counts.unconfirmed += missing.len();
                self.feed.finding(super::unconfirmed(missing.len(), item.list(), &self.scope.prj));
                continue;
            }
            for id in missing {
                if self.is_gone(&format!("/{}/{id}", item.list())).await? {
                    gone.push((item, id));
                } else {
                    self.feed.counts(item.list()).same += 1;
                }
            }
        }
        // An account that lost its role sees nothing.
        if !gone.is_empty() && !self.project.is_still_seen(self.api).await? {
            let finding = format!(
                "the account of {} lost its role in the project while it was read: nothing was removed; run the same command again",
                self.api.account.credential.label
            );
            self.feed.finding(finding);
            return Ok(());
        }
        for (item, id) in gone {
            self.feed.counts(item.list()).removed += 1;
            let webhook = self.project.gone_webhook(item.word(), id);
            let event = self.feed.event(item.word(), self.project.as_of, &webhook);
            self.feed.publish(&event).await?;
        }
        Ok(())
    }

    async fn is_gone(&self, path: &str) -> Result<bool, Halt> {
        Ok(self.api.ask(Method::GET, path).await?.status == StatusCode::NOT_FOUND)
    }

    fn document(&self, item: Item, id: i64) -> Option<&bson::Document> {
        self.documents.get(&item)?.get(&id)
    }

    /// Whether a document belongs to this Taiga project: another project may have the same `prj`.
    fn is_here(&self, document: &bson::Document) -> bool {
        document.get("project_id").and_then(integer) == Some(self.project.id)
    }

    /// Whether a webhook contained something newer than what was read.
    fn is_newer(&self, document: &bson::Document) -> bool {
        stored::as_of(document).is_some_and(|at| at > self.project.as_of)
    }
}
