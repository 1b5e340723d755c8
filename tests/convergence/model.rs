//! The reference: a simple implementation of docs/convergence.md. It applies the events one by one in their order to
//! plain maps. Beside these it keeps only the newest version of a milestone, of an epic's name, and of whether a story
//! is closed.
//!
//! It shares no code with the worker.

use shared::hash::sha256_hex;
use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, Document, doc};

use crate::history::{Event, Inside, What};
use crate::payload;

/// Documents by natural key.
pub(crate) type Collection = BTreeMap<String, Document>;

/// Everything a project has: collections by name.
pub(crate) type World = BTreeMap<String, Collection>;

/// What the documents must be after these events.
pub(crate) fn world(events: &[Event], prj: &str) -> World {
    let mut events = events.to_vec();
    let order = |event: &Event| {
        // Of a commit, which keeps its earliest view, the API's comes after every push's.
        let is_late = event.backfill && matches!(event.what, What::Push { .. });
        let instant = match event.what {
            _ if is_late => 0,
            // A row is never changed, so only the order in which it was told could decide (its `at` means nothing).
            What::Row { .. } => 0,
            // A pull request has the order of its own last change.
            What::PullClosed { .. } | What::PullReopened { .. } => event.updated,
            _ => event.at,
        };
        (is_late, instant, event.sequence)
    };
    events.sort_by_key(order);
    let mut model = Model { prj: prj.to_owned(), ..Model::default() };
    for event in &events {
        model.tell(event);
    }
    let named = |all: BTreeMap<(u8, u8), Issue>| {
        all.into_iter().map(|((repo, n), issue)| (format!("upc/r{repo} {n}"), issue.shown)).collect()
    };
    let all = [
        ("taiga", "userstories", model.stories()),
        ("taiga", "tasks", model.tasks()),
        ("taiga", "epics", model.epics),
        ("taiga", "issues", model.taiga_issues),
        ("github", "commits", model.commits),
        ("github", "issues", named(model.issues)),
        ("github", "pull_requests", named(model.pulls)),
        ("excel", "sheets", model.rows),
    ];
    all.into_iter().map(|(source, suffix, documents)| (format!("{source}_{prj}.{suffix}"), documents)).collect()
}

#[derive(Default)]
struct Model {
    prj: String,
    stories: BTreeMap<u8, Story>,
    /// By story and epic: when a webhook last contained the creation of the link.
    links: BTreeMap<(u8, u8), Option<usize>>,
    /// The number of events so far.
    told: usize,
    tasks: BTreeMap<u8, Task>,
    /// The newest version of each milestone.
    milestones: BTreeMap<u8, Document>,
    /// The newest name of each epic.
    names: BTreeMap<u8, String>,
    /// Whether each story is closed, by its newest version.
    closed: BTreeMap<u8, bool>,
    /// The newest action of each task since its own deletion; the deletion of its story does not end it.
    actions: BTreeMap<u8, Document>,
    epics: Collection,
    taiga_issues: Collection,
    commits: Collection,
    issues: BTreeMap<(u8, u8), Issue>,
    /// Of deleted issues, the last change in the deletion.
    last_changes: BTreeMap<(u8, u8), (u16, i64)>,
    pulls: BTreeMap<(u8, u8), Issue>,
    rows: Collection,
}

struct Story {
    shown: Document,
    milestone: Option<u8>,
}

struct Task {
    shown: Document,
    story: Option<u8>,
    milestone: Option<u8>,
    closed: Bson,
}

/// An issue or a pull request.
struct Issue {
    shown: Document,
    changed: (u16, i64),
}

impl Model {
    fn tell(&mut self, event: &Event) {
        self.told += 1;
        match event.what {
            What::Story { id, milestone } => self.story(event, id, milestone, true),
            What::StoryGone { id } => {
                self.stories.remove(&id);
                self.links.retain(|(story, _), _| *story != id);
                // "Deleting a story also removes its tasks"
                self.tasks.retain(|_, task| task.story != Some(id));
            }
            What::Task { id, story, milestone } => {
                let closed = self.story_inside(event, story);
                self.milestone(event, milestone);
                let story = story.map(|story| story.id);
                let known = story.and_then(|id| self.closed.get(&id)).map_or(NULL, |closed| Bson::Boolean(*closed));
                let mut shown = self.item(event, "task", id, self.actions.get(&id).cloned(), true);
                self.actions.insert(id, shown.clone());
                shown.extend(doc! {
                    "task_id": i64::from(id), "finished_date": NULL, "custom_attributes": {},
                    "userstory_id": story.map_or(NULL, |id| Bson::Int64(id.into())),
                });
                self.tasks.insert(id, Task { shown, story, milestone, closed: closed.unwrap_or(known) });
            }
            What::TaskGone { id, story, .. } => {
                self.story_inside(event, story);
                self.tasks.remove(&id);
                self.actions.remove(&id);
            }
            What::Epic { id } => self.epic(event, id, true),
            What::EpicGone { id } => {
                self.epics.remove(&id.to_string());
                // "deleting an epic clears its links"
                self.links.retain(|(_, epic), _| *epic != id);
            }
            What::Link { story, epic, created } => {
                self.link_inside(event, story, epic);
                let now = (created && !event.backfill).then_some(self.told);
                let held = self.links.entry((story.id, epic)).or_default();
                *held = (*held).max(now);
            }
            What::Unlink { story, epic } => {
                self.link_inside(event, story, epic);
                self.links.remove(&(story.id, epic));
            }
            What::Milestone { id } => self.milestone(event, Some(id)),
            What::MilestoneGone { id } => {
                // "Stories and tasks whose milestone is not newer than the milestone's deletion are in none"
                let stories = self.stories.values_mut().map(|story| &mut story.milestone);
                let all = stories.chain(self.tasks.values_mut().map(|task| &mut task.milestone));
                all.filter(|milestone| **milestone == Some(id)).for_each(|milestone| *milestone = None);
            }
            What::TaigaIssue { id, milestone } => {
                self.milestone(event, milestone);
                let before = self.taiga_issues.remove(&id.to_string());
                let mut issue = self.item(event, "issue", id, before, true);
                issue.extend(doc! {
                    "issue_id": i64::from(id), "description": NULL, "due_date": NULL, "severity": NULL,
                    "priority": NULL, "type": NULL, "finished_date": NULL,
                });
                self.taiga_issues.insert(id.to_string(), issue);
            }
            What::TaigaIssueGone { id } => drop(self.taiga_issues.remove(&id.to_string())),
            What::Push { first, last } => {
                for n in first..=last {
                    // "A commit keeps the view of its earliest push"
                    let commit = self.commit(event, n);
                    self.commits.entry(format!("c{n}")).or_insert(commit);
                }
            }
            What::Row { number, .. } => {
                let row = self.row(event, number);
                self.rows.insert(row.get_str("activity_id").unwrap().to_owned(), row);
            }
            _ => self.tell_of_repository(event),
        }
    }

    /// "exactly as if it had an event of its own; only `action_type` and `assigned_by` stay"
    fn story(&mut self, event: &Event, id: u8, milestone: Option<u8>, is_own: bool) {
        self.milestone(event, milestone);
        let closed = event.sequence % 2 == 0;
        let before = self.stories.remove(&id).map(|story| story.shown);
        let mut shown = self.item(event, "userstory", id, before, is_own);
        shown.extend(doc! {
            "userstory_id": i64::from(id), "finished_date": NULL, "total_points": event.sequence as f64,
            "custom_attributes": {}, "priority": NULL, "pattern": false, "is_closed": closed,
        });
        self.stories.insert(id, Story { shown, milestone });
        self.closed.insert(id, closed);
        // "a task shows the newest of its own milestone and its story's, and `userstory_is_closed` of its story's"
        for task in self.tasks.values_mut().filter(|task| task.story == Some(id)) {
            (task.milestone, task.closed) = (milestone, closed.into());
        }
    }

    /// Whether the story is closed, if the event says so.
    fn story_inside(&mut self, event: &Event, story: Option<Inside>) -> Option<Bson> {
        let story = story?;
        if story.whole {
            self.story(event, story.id, story.milestone, false);
            return Some((event.sequence % 2 == 0).into());
        }
        (event.sequence % 2 == 0).then(|| (event.sequence % 4 == 0).into())
    }

    fn link_inside(&mut self, event: &Event, story: Inside, epic: u8) {
        self.story_inside(event, Some(story));
        if story.whole {
            self.epic(event, epic, false);
        }
        self.names.insert(epic, told_by(event));
    }

    fn epic(&mut self, event: &Event, id: u8, is_own: bool) {
        let before = self.epics.remove(&id.to_string());
        let mut epic = self.item(event, "epic", id, before, is_own);
        epic.insert("epic_id", i64::from(id));
        self.epics.insert(id.to_string(), epic);
        self.names.insert(id, told_by(event));
    }

    fn milestone(&mut self, event: &Event, id: Option<u8>) {
        if let Some(id) = id {
            let shown = doc! {
                "milestone_id": i64::from(id), "milestone_name": told_by(event),
                "milestone_closed": event.sequence % 2 == 0, "milestone_created_date": NULL,
                "milestone_modified_date": NULL, "estimated_start": "2026-11-02T00:00:00.000",
                "estimated_finish": NULL,
            };
            self.milestones.insert(id, shown);
        }
    }

    fn in_milestone(&self, id: Option<u8>) -> Document {
        let none = doc! {
            "milestone_id": NULL, "milestone_name": NULL, "milestone_closed": NULL, "milestone_created_date": NULL,
            "milestone_modified_date": NULL, "estimated_start": NULL, "estimated_finish": NULL,
        };
        id.and_then(|id| self.milestones.get(&id)).cloned().unwrap_or(none)
    }

    fn stories(&self) -> Collection {
        let linked = self.links.keys().map(|(story, _)| *story);
        let all: BTreeSet<u8> = self.stories.keys().copied().chain(linked).collect();
        let show = |id: u8| {
            // "the link alone makes the document"
            let mut shown = doc! { "userstory_id": i64::from(id), "prj": self.prj.as_str() };
            if let Some(story) = self.stories.get(&id) {
                shown.extend(story.shown.clone());
                shown.extend(self.in_milestone(story.milestone));
            }
            // "the one linked last of the links that stand", those only the API tells "among themselves by `epic_id`"
            let links = self.links.iter().filter(|((story, _), _)| *story == id);
            let epic = links.max_by_key(|((_, epic), created)| (**created, *epic)).map(|((_, epic), _)| *epic);
            shown.extend(doc! {
                "epic_id": epic.map_or(NULL, |epic| Bson::Int64(epic.into())),
                "epic_name": epic.and_then(|epic| self.names.get(&epic)).map_or(NULL, |name| name.as_str().into()),
                "epic_reference": epic.map_or(NULL, |epic| Bson::Int64(100 + i64::from(epic))),
            });
            (id.to_string(), shown)
        };
        all.into_iter().map(show).collect()
    }

    fn tasks(&self) -> Collection {
        let show = |(id, task): (&u8, &Task)| {
            let mut shown = task.shown.clone();
            shown.insert("userstory_is_closed", task.closed.clone());
            shown.extend(self.in_milestone(task.milestone));
            (id.to_string(), shown)
        };
        self.tasks.iter().map(show).collect()
    }

    fn tell_of_repository(&mut self, event: &Event) {
        let changed = (event.updated, event.sequence);
        match event.what {
            What::Issue { repo, number } => {
                let key = (repo, number);
                // "An answer of GitHub whose `updated_at` is older than what is stored changes nothing"
                let before = self.issues.get(&key).map(|issue| issue.changed);
                if before > Some(changed) || self.last_changes.get(&key) > Some(&changed) {
                    return;
                }
                let before = self.issues.remove(&key).map(|issue| issue.shown);
                let mut shown = self.of_repository(repo);
                let (user, told) = (doc! { "login": NULL, "id": NULL }, told_by(event));
                let number = i64::from(number);
                shown.extend(doc! {
                    "event": "issue", "action": "edited", "issue_id": number,
                    "issue": { "number": number, "title": told, "state": NULL, "body": NULL, "user": user },
                });
                if event.backfill {
                    keep_action(&mut shown, before.as_ref(), &["action", "sender_info"]);
                }
                self.issues.insert(key, Issue { shown, changed });
            }
            What::IssueGone { repo, number, .. } => {
                self.issues.remove(&(repo, number));
                if !event.backfill {
                    let last = self.last_changes.entry((repo, number)).or_default();
                    *last = (*last).max(changed);
                }
            }
            What::PullClosed { number } => {
                let before = self.pulls.remove(&(1, number)).map(|pull| pull.shown);
                let mut pull = self.of_repository(1);
                pull.extend(doc! {
                    "event": "pull_request", "action": "closed", "pr_number": i64::from(number), "title": told_by(event),
                    "created_at": NULL, "closed_at": NULL, "merged": false, "merged_at": NULL, "merged_by": NULL,
                    "assignee": NULL, "reviewers": [],
                });
                if event.backfill {
                    keep_action(&mut pull, before.as_ref(), &["action", "sender_info"]);
                }
                self.pulls.insert((1, number), Issue { shown: pull, changed });
            }
            What::PullReopened { number } => drop(self.pulls.remove(&(1, number))),
            What::Renamed { from, to } => {
                for all in [&mut self.issues, &mut self.pulls] {
                    let moved: Vec<u8> = all.keys().filter(|(repo, _)| *repo == from).map(|(_, n)| *n).collect();
                    for n in moved {
                        let mut issue = all.remove(&(from, n)).unwrap();
                        issue.shown.insert("repo_name", format!("upc/r{to}"));
                        // "where the newest state wins"
                        if all.get(&(to, n)).is_none_or(|there| there.changed < issue.changed) {
                            all.insert((to, n), issue);
                        }
                    }
                }
            }
            other => panic!("{other:?} is about something else"),
        }
    }

    /// "Taiga, all four"
    fn item(&self, event: &Event, kind: &str, id: u8, before: Option<Document>, is_own: bool) -> Document {
        let action = match (event.what, kind) {
            (What::Link { created: true, .. }, _) => "create",
            _ => "change",
        };
        let mut item = doc! {
            "project_id": 31_i64, "team_name": "Marmota", "event_type": kind, "action_type": action,
            "prj": self.prj.as_str(), "subject": told_by(event), "reference": 100 + i64::from(id), "status": "New",
            "is_closed": false, "created_date": "2026-11-02T10:15:00.120", "modified_date": NULL,
            "assigned_by": "nuria", "assigned_to": NULL,
        };
        if event.backfill || !is_own {
            keep_action(&mut item, before.as_ref(), &["action_type", "assigned_by"]);
        }
        item
    }

    fn of_repository(&self, repo: u8) -> Document {
        doc! {
            "repo_name": format!("upc/r{repo}"), "team_name": "upc", "prj": self.prj.as_str(),
            "sender_info": { "id": 1_i64, "login": "nuria", "url": NULL, "type": NULL, "site_admin": false },
        }
    }

    fn commit(&self, event: &Event, n: u8) -> Document {
        let mut commit = self.of_repository(1);
        if event.backfill {
            commit.insert("sender_info", NULL);
        }
        let message = format!("Task #{}", event.sequence);
        commit.extend(doc! {
            "event": "commit", "repository": "upc/r1", "sha": format!("c{n}"), "url": NULL, "date": NULL,
            "user": { "login": "anonymous", "name": NULL, "email": NULL },
            "message_char_count": message.len() as i64, "message_word_count": 2_i64, "message": message,
            "task_is_written": true, "task_reference": event.sequence,
            "stats": { "total": 0_i64, "additions": 0_i64, "deletions": 0_i64 },
            "is_merge": NULL, "verified": false, "verified_reason": "unsigned",
        });
        commit
    }

    fn row(&self, event: &Event, number: u8) -> Document {
        let id = sha256_hex(payload::row(number));
        let prj = self.prj.as_str();
        doc! {
            "activity_id": id, "prj": prj, "team": prj, "quality_model": payload::model(event).map_or(NULL, Bson::String),
            "timestamp": NULL, "iteration": NULL, "activity_date": NULL, "duration_h": NULL,
            "activity_type": NULL, "comment": format!("row {number}"), "epic": NULL, "members": [],
            "hours_Reunió_d'equip": i64::from(number), "hours_Reunió_focal": 1_i64, "hours_Classe_passiva": 0_i64,
            "hours_Formació": 0_i64, "hours_Desenvolupament": 0_i64, "hours_Gestió_de_projecte": 0_i64,
            "hours_Documentació": 0_i64, "hours_Presentació": 0_i64, "total_hours": i64::from(number) + 1,
        }
    }
}

/// "those of the newest webhook since the last removal, else null"
fn keep_action(shown: &mut Document, before: Option<&Document>, fields: &[&str]) {
    for field in fields {
        let known = before.and_then(|before| before.get(*field)).cloned();
        shown.insert(*field, known.unwrap_or(NULL));
    }
}

/// The event that a view came with.
fn told_by(event: &Event) -> String {
    format!("told by {}", event.sequence)
}

const NULL: Bson = Bson::Null;
