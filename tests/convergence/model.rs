//! The reference: the rules of docs/convergence.md read naively. Events are taken one by one in the order that decides, each
//! does to plain maps what the contract's sentence says, and nothing is remembered beside the documents.
//!
//! It shares no code with the worker.

use shared::hash::sha256_hex;
use std::collections::BTreeMap;

use bson::{Bson, Document, doc};

use crate::history::{Event, What};
use crate::payload;

/// Documents by natural key.
pub(crate) type Collection = BTreeMap<String, Document>;

/// Everything a project has: collections by name.
pub(crate) type World = BTreeMap<String, Collection>;

/// What the documents must be after these events.
pub(crate) fn world(events: &[Event], prj: &str) -> World {
    let mut events = events.to_vec();
    // A row is never changed, so only the order in which it arrived could decide (its `at` means nothing).
    let instant = |event: &Event| if matches!(event.what, What::Row { .. }) { 0 } else { event.at };
    // At one instant a webhook has the last word over what was backfilled; of a commit, which keeps its earliest
    // view, the first.
    let rank = |event: &Event| match (event.backfill, event.what) {
        (false, _) => 1,
        (true, What::Push { .. }) => 2,
        (true, _) => 0,
    };
    events.sort_by_key(|event| (instant(event), rank(event), event.sequence));
    let mut model = Model { prj: prj.to_owned(), ..Model::default() };
    for event in &events {
        model.tell(event);
    }
    let named = [
        ("taiga", "userstories", model.stories),
        ("taiga", "tasks", model.tasks),
        ("taiga", "epics", model.epics),
        ("taiga", "issues", model.taiga_issues),
        ("github", "commits", model.commits),
        ("github", "issues", model.issues),
        ("github", "pull_requests", model.pulls),
        ("excel", "sheets", model.rows),
    ];
    named.into_iter().map(|(source, suffix, documents)| (format!("{source}_{prj}.{suffix}"), documents)).collect()
}

#[derive(Default)]
struct Model {
    prj: String,
    stories: Collection,
    tasks: Collection,
    epics: Collection,
    taiga_issues: Collection,
    commits: Collection,
    issues: Collection,
    pulls: Collection,
    rows: Collection,
}

impl Model {
    fn tell(&mut self, event: &Event) {
        match event.what {
            What::Story { id, sprint } => {
                let mut story = self.item(event, "userstory", id);
                story.extend(doc! {
                    "userstory_id": i64::from(id), "finished_date": NULL, "total_points": event.sequence,
                    "custom_attributes": {}, "priority": NULL, "pattern": false,
                });
                story.extend(in_sprint(event, sprint));
                // "they survive the story's own events"
                self.stories.entry(id.to_string()).or_default().extend(story);
            }
            What::StoryGone { id } => {
                self.stories.remove(&id.to_string());
                // "Deleting a story also removes its tasks"
                self.tasks.retain(|_, task| task.get("userstory_id") != Some(&Bson::Int64(id.into())));
            }
            What::Task { id, story, sprint } => {
                let mut task = self.item(event, "task", id);
                task.extend(doc! {
                    "task_id": i64::from(id), "finished_date": NULL, "custom_attributes": {},
                    "userstory_id": story.map_or(NULL, |id| Bson::Int64(id.into())),
                    "userstory_is_closed": story.map_or(NULL, |_| Bson::Boolean(event.sequence % 2 == 0)),
                });
                task.extend(in_sprint(event, sprint));
                self.tasks.insert(id.to_string(), task);
            }
            What::TaskGone { id } => drop(self.tasks.remove(&id.to_string())),
            What::Epic { id } => {
                let mut epic = self.item(event, "epic", id);
                epic.insert("epic_id", i64::from(id));
                self.epics.insert(id.to_string(), epic);
            }
            What::EpicGone { id } => {
                self.epics.remove(&id.to_string());
                // "deleting an epic clears its links"
                self.stories.values_mut().for_each(|story| clear_link(story, id));
            }
            What::Link { story, epic } => {
                // "A link that arrives before its story creates the document"
                self.stories.entry(story.to_string()).or_default().extend(doc! {
                    "userstory_id": i64::from(story), "prj": self.prj.as_str(), "epic_id": i64::from(epic),
                    "epic_name": told_by(event), "epic_reference": 100 + i64::from(epic),
                });
            }
            What::Unlink { story, epic } => {
                self.stories.get_mut(&story.to_string()).into_iter().for_each(|story| clear_link(story, epic));
            }
            What::Sprint { id } => self.in_sprint_now(id, &in_sprint(event, Some(id))),
            What::SprintGone { id } => self.in_sprint_now(id, &in_sprint(event, None)),
            What::TaigaIssue { id } => {
                let mut issue = self.item(event, "issue", id);
                issue.extend(doc! {
                    "issue_id": i64::from(id), "description": NULL, "due_date": NULL, "severity": NULL,
                    "priority": NULL, "type": NULL, "finished_date": NULL,
                });
                self.taiga_issues.insert(id.to_string(), issue);
            }
            What::TaigaIssueGone { id } => drop(self.taiga_issues.remove(&id.to_string())),
            What::Issue { .. } | What::IssueGone { .. } | What::PullClosed { .. } | What::PullReopened { .. } => {
                self.tell_of_repository(event);
            }
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
        }
    }

    fn tell_of_repository(&mut self, event: &Event) {
        match event.what {
            What::Issue { repo, number } => {
                let mut issue = self.of_repository(repo);
                let (user, told) = (doc! { "login": NULL, "id": NULL }, told_by(event));
                let number = i64::from(number);
                issue.extend(doc! {
                    "event": "issue", "action": "edited", "issue_id": number,
                    "issue": { "number": number, "title": told, "state": NULL, "body": NULL, "user": user },
                });
                self.issues.insert(format!("upc/r{repo} {number}"), issue);
            }
            What::IssueGone { repo, number, .. } => drop(self.issues.remove(&format!("upc/r{repo} {number}"))),
            What::PullClosed { number } => {
                let mut pull = self.of_repository(1);
                pull.extend(doc! {
                    "event": "pull_request", "action": "closed", "pr_number": i64::from(number), "title": told_by(event),
                    "created_at": NULL, "closed_at": NULL, "merged": false, "merged_at": NULL, "merged_by": NULL,
                    "assignee": NULL, "reviewers": [],
                });
                self.pulls.insert(format!("upc/r1 {number}"), pull);
            }
            What::PullReopened { number } => drop(self.pulls.remove(&format!("upc/r1 {number}"))),
            other => panic!("{other:?} is about something else"),
        }
    }

    /// "refreshes them on the project's stories and tasks that have that `milestone_id`"
    fn in_sprint_now(&mut self, id: u8, fields: &Document) {
        let here = |one: &&mut Document| one.get("milestone_id") == Some(&Bson::Int64(id.into()));
        let all = self.stories.values_mut().chain(self.tasks.values_mut());
        all.filter(here).for_each(|one| one.extend(fields.clone()));
    }

    /// "Taiga, all four"
    fn item(&self, event: &Event, kind: &str, id: u8) -> Document {
        doc! {
            "project_id": 31_i64, "team_name": "Marmota", "event_type": kind, "action_type": "change",
            "prj": self.prj.as_str(), "subject": told_by(event), "reference": 100 + i64::from(id), "status": "New",
            "is_closed": false, "created_date": "2026-11-02T10:15:00.120", "modified_date": NULL,
            "assigned_by": "nuria", "assigned_to": NULL,
        }
    }

    fn of_repository(&self, repo: u8) -> Document {
        doc! {
            "repo_name": format!("upc/r{repo}"), "team_name": "upc", "prj": self.prj.as_str(),
            "sender_info": { "id": 1_i64, "login": "nuria", "url": NULL, "type": NULL, "site_admin": false },
        }
    }

    fn commit(&self, event: &Event, n: u8) -> Document {
        let mut commit = self.of_repository(1);
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

/// "all null without a milestone"
fn in_sprint(event: &Event, id: Option<u8>) -> Document {
    let value = |value: Bson| if id.is_some() { value } else { NULL };
    doc! {
        "milestone_id": id.map_or(NULL, |id| Bson::Int64(id.into())), "milestone_name": value(told_by(event).into()),
        "milestone_closed": value((event.sequence % 2 == 0).into()), "milestone_created_date": NULL,
        "milestone_modified_date": NULL, "estimated_start": value("2026-11-02T00:00:00.000".into()),
        "estimated_finish": NULL,
    }
}

/// "clears them (null, if the story still points at that epic)"
fn clear_link(story: &mut Document, epic: u8) {
    if story.get("epic_id") == Some(&Bson::Int64(epic.into())) {
        story.extend(doc! { "epic_id": NULL, "epic_name": NULL, "epic_reference": NULL });
    }
}

/// The event that a view came with.
fn told_by(event: &Event) -> String {
    format!("told by {}", event.sequence)
}

const NULL: Bson = Bson::Null;
