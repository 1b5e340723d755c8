//! Taiga's REST API as webhooks.
//!
//! An event is as of the object's own `modified_date`. A webhook's date is a moment later, so it wins over the backfill
//! of the same change. The history says who changed the object last, and whether that created it. A link between a
//! story and an epic has no time; its `order` begins as the millisecond in which it was made. Milestones are published
//! too, for the stories and tasks that did not change.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use shared::source::Source;
use shared::time::{now_ms, parse_instant, rfc3339};

use super::{BackfillArgs, BackfillPublisher, text};
use crate::clients::{TAIGA, TaigaClient, name};
use crate::terminal::{CommandError, Progress, Tally};

pub(super) const EXAMPLES: &str = "Examples:
  worker backfill taiga --slug mireia-marmota --prj PES11A
  worker backfill taiga --slug mireia-marmota --prj PES11A --events task,userstory --from-date 3d
  worker backfill taiga --slug mireia-marmota --prj PES11A --dry-run";

/// From where, and what.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The project's slug, the last part of its address.
    #[arg(long, value_parser = name)]
    slug: String,
    /// What to read.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "task,userstory,issue,epic")]
    events: Vec<Kind>,
    #[command(flatten)]
    common: BackfillArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum Kind {
    Task,
    UserStory,
    Issue,
    Epic,
}

impl Kind {
    /// Taiga's word, in webhooks and in `/history`.
    const fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::UserStory => "userstory",
            Self::Issue => "issue",
            Self::Epic => "epic",
        }
    }

    /// Where the list is, and what is counted.
    const fn list(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::UserStory => "userstories",
            Self::Issue => "issues",
            Self::Epic => "epics",
        }
    }
}

pub(super) async fn run(options: &Options) -> Result<(), CommandError> {
    options.common.check()?;
    let remote = options.common.remote.open()?;
    let taiga = remote.taiga(Some(&options.common.prj))?;
    let publisher = BackfillPublisher::open(&options.common, Source::Taiga, remote.stop.clone()).await?;
    let project = taiga.project(&options.slug).await?;
    let project = Project::read(&taiga, project).await?;
    let mut reader = Reader { options, taiga: &taiga, publisher, project, tally: Tally::of("read", "reads") };
    let read = reader.all().await;
    reader.publisher.finish(read, reader.tally).await
}

/// What a project's objects refer to by number.
struct Project {
    id: i64,
    shown: Value,
    milestones: HashMap<i64, Value>,
}

impl Project {
    async fn read(taiga: &TaigaClient, shown: Value) -> Result<Self, CommandError> {
        let id = id(&shown).ok_or_else(|| CommandError::Unreadable {
            provider: TAIGA,
            request: "/projects/by_slug".to_owned(),
            cause: "the project has no id".to_owned(),
            setting: "TAIGA_API_URL",
        })?;
        let milestones = taiga.list(&format!("/milestones?project={id}")).await?;
        let milestones =
            milestones.into_iter().filter_map(|milestone| Some((self::id(&milestone)?, milestone))).collect();
        Ok(Self { id, shown, milestones })
    }

    /// The entry of one of the project's lists, such as `points`.
    fn entry(&self, list: &str, id: &Value) -> Option<&Value> {
        self.shown.get(list)?.as_array()?.iter().find(|entry| entry.get("id") == Some(id))
    }

    /// As `{"name": …}`, or null.
    fn named(&self, list: &str, id: Option<&Value>) -> Value {
        let name = id.and_then(|id| self.entry(list, id)).and_then(|entry| entry.get("name"));
        name.map(|name| json!({ "name": name })).unwrap_or_default()
    }

    fn milestone(&self, item: &Value) -> Value {
        item.get("milestone")
            .and_then(Value::as_i64)
            .and_then(|id| self.milestones.get(&id))
            .map(milestone)
            .unwrap_or_default()
    }

    fn defines_attributes(&self, kind: Kind) -> bool {
        self.attributes(kind).is_some_and(|attributes| !attributes.is_empty())
    }

    fn attributes(&self, kind: Kind) -> Option<&Vec<Value>> {
        self.shown.get(format!("{}_custom_attributes", kind.word()))?.as_array()
    }

    /// Values by the names of their attributes.
    fn attributes_by_name(&self, kind: Kind, values: &Value) -> Value {
        let named = self.attributes(kind).into_iter().flatten().filter_map(|attribute| {
            let value = values.get(id(attribute)?.to_string())?;
            Some((text(attribute, "name")?.to_owned(), value.clone()))
        });
        Value::Object(named.collect())
    }
}

/// A milestone as webhooks show it.
fn milestone(shown: &Value) -> Value {
    let part = |name: &str| (name.to_owned(), shown.get(name).cloned().unwrap_or_default());
    let names =
        ["id", "name", "slug", "estimated_start", "estimated_finish", "created_date", "modified_date", "closed"];
    Value::Object(names.map(part).into_iter().collect())
}

struct Reader<'o> {
    options: &'o Options,
    taiga: &'o TaigaClient,
    publisher: BackfillPublisher<'o>,
    project: Project,
    tally: Tally,
}

impl Reader<'_> {
    /// Kind by kind. Taiga may refuse one, or fail at one object, and the rest goes on.
    async fn all(&mut self) -> Result<(), CommandError> {
        let options = self.options;
        let wants = |kind| options.events.contains(&kind);
        if wants(Kind::UserStory) || wants(Kind::Task) {
            let read = self.milestones().await;
            self.tally.tried("milestones", read)?;
        }
        let mut stories = Vec::new();
        if wants(Kind::UserStory) || wants(Kind::Task) {
            let listed = self.list(Kind::UserStory).await;
            stories = self.tally.tried("user stories", listed)?.unwrap_or_default();
        }
        if wants(Kind::UserStory) {
            self.stories(&stories).await?;
            let read = self.links().await;
            self.tally.tried("links between stories and epics", read)?;
        }
        if wants(Kind::Task) {
            let listed = self.list(Kind::Task).await;
            if let Some(tasks) = self.tally.tried("tasks", listed)? {
                self.tasks(&stories, &tasks).await?;
            }
        }
        if wants(Kind::Issue) {
            let listed = self.list(Kind::Issue).await;
            if let Some(issues) = self.tally.tried("issues", listed)? {
                self.issues(&issues).await?;
            }
        }
        if wants(Kind::Epic) {
            let listed = self.list(Kind::Epic).await;
            if let Some(epics) = self.tally.tried("epics", listed)? {
                self.epics(&epics).await?;
            }
        }
        Ok(())
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Value>, CommandError> {
        self.taiga.list(&format!("/{}?project={}", kind.list(), self.project.id)).await
    }

    /// What is asked for of a list, and progress over it.
    fn wanted(&self, kind: Kind, listed: &[Value]) -> (Vec<Value>, Progress) {
        let wanted: Vec<Value> = listed.iter().filter(|item| self.wants(item)).cloned().collect();
        let progress = Progress::new(format!("{}: read", self.options.slug), kind.list(), wanted.len() as u64);
        (wanted, progress)
    }

    fn wants(&self, item: &Value) -> bool {
        self.options.common.wants(text(item, "modified_date"))
    }

    async fn milestones(&mut self) -> Result<(), CommandError> {
        let mut types = Vec::new();
        types.extend(self.options.events.contains(&Kind::Task).then_some("task"));
        types.extend(self.options.events.contains(&Kind::UserStory).then_some("userstory"));
        let mut all: Vec<Value> =
            self.project.milestones.values().filter(|milestone| self.wants(milestone)).map(milestone).collect();
        all.sort_by_key(id);
        for data in all {
            let webhook = json!({ "action": "change", "type": "milestone", "by": null,
                                  "date": data.get("modified_date"), "data": data });
            self.publisher.add(("milestones", 1), ("milestone", &types), &webhook).await?;
        }
        Ok(())
    }

    async fn stories(&mut self, listed: &[Value]) -> Result<(), CommandError> {
        let kind = Kind::UserStory;
        let (stories, mut progress) = self.wanted(kind, listed);
        for story in &stories {
            progress.add(1);
            let Some(id) = id(story) else { continue };
            let read = self.story(id).await;
            self.tally.tried(format_args!("story {id}"), read)?;
        }
        progress.end();
        Ok(())
    }

    async fn story(&mut self, id: i64) -> Result<(), CommandError> {
        let kind = Kind::UserStory;
        // The list has no description. A story that is gone by now is left to its webhook.
        let Some(story) = self.taiga.get(&format!("/userstories/{id}")).await? else { return Ok(()) };
        let mut data = self.common(&story);
        let points: Vec<Value> = story
            .get("points")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(role, point)| {
                let role = role.parse::<i64>().ok().map(Value::from).unwrap_or_default();
                let role = self.project.named("roles", Some(&role));
                let point = self.project.entry("points", point);
                json!({ "role": role.get("name"), "name": point.and_then(|point| point.get("name")),
                    "value": point.and_then(|point| point.get("value")) })
            })
            .collect();
        data.insert("points".to_owned(), points.into());
        data.insert("milestone".to_owned(), self.project.milestone(&story));
        data.insert("custom_attributes_values".to_owned(), self.attributes(kind, id).await?);
        take(&mut data, &story, &["is_closed", "finish_date", "description"]);
        self.publish(kind, id, &story, data).await
    }

    /// In which epics stories are: only an epic says it, and its webhook has no other date than its own.
    async fn links(&mut self) -> Result<(), CommandError> {
        for epic in self.taiga.list(&format!("/epics?project={}", self.project.id)).await? {
            let Some(epic_id) = id(&epic) else { continue };
            for link in self.taiga.list(&format!("/epics/{epic_id}/related_userstories")).await? {
                let date = linked_at(&link, &epic);
                if !self.options.common.wants(date.as_deref()) {
                    continue;
                }
                let webhook = json!({
                    "action": "create", "type": "relateduserstory", "by": null, "date": date,
                    "data": {
                        "user_story": { "id": link.get("user_story") },
                        "epic": { "id": epic_id, "ref": epic.get("ref"), "subject": epic.get("subject") },
                    },
                });
                self.publisher.add(("links", 1), ("relateduserstory", &["userstory"]), &webhook).await?;
            }
        }
        Ok(())
    }

    async fn tasks(&mut self, stories: &[Value], listed: &[Value]) -> Result<(), CommandError> {
        let kind = Kind::Task;
        let stories: HashMap<i64, &Value> = stories.iter().filter_map(|story| Some((id(story)?, story))).collect();
        let (tasks, mut progress) = self.wanted(kind, listed);
        for task in &tasks {
            progress.add(1);
            let Some(id) = id(task) else { continue };
            let read = self.task(id, task, &stories).await;
            self.tally.tried(format_args!("task {id}"), read)?;
        }
        progress.end();
        Ok(())
    }

    async fn task(&mut self, id: i64, task: &Value, stories: &HashMap<i64, &Value>) -> Result<(), CommandError> {
        let kind = Kind::Task;
        let mut data = self.common(task);
        let story = task.get("user_story").and_then(Value::as_i64).map(|id| {
            let story = stories.get(&id);
            let field = |name: &str| story.and_then(|story| story.get(name));
            json!({ "id": id, "ref": field("ref"), "subject": field("subject"), "is_closed": field("is_closed") })
        });
        data.insert("user_story".to_owned(), story.unwrap_or_default());
        data.insert("milestone".to_owned(), self.project.milestone(task));
        data.insert("custom_attributes_values".to_owned(), self.attributes(kind, id).await?);
        take(&mut data, task, &["finished_date"]);
        self.publish(kind, id, task, data).await
    }

    async fn issues(&mut self, listed: &[Value]) -> Result<(), CommandError> {
        let kind = Kind::Issue;
        let (issues, mut progress) = self.wanted(kind, listed);
        for issue in &issues {
            progress.add(1);
            let Some(id) = id(issue) else { continue };
            let read = self.issue(id).await;
            self.tally.tried(format_args!("issue {id}"), read)?;
        }
        progress.end();
        Ok(())
    }

    async fn issue(&mut self, id: i64) -> Result<(), CommandError> {
        let kind = Kind::Issue;
        let Some(issue) = self.taiga.get(&format!("/issues/{id}")).await? else { return Ok(()) };
        let mut data = self.common(&issue);
        for (name, list) in [("severity", "severities"), ("priority", "priorities"), ("type", "issue_types")] {
            data.insert(name.to_owned(), self.project.named(list, issue.get(name)));
        }
        take(&mut data, &issue, &["description", "due_date", "finished_date"]);
        self.publish(kind, id, &issue, data).await
    }

    async fn epics(&mut self, listed: &[Value]) -> Result<(), CommandError> {
        let kind = Kind::Epic;
        let (epics, mut progress) = self.wanted(kind, listed);
        for epic in &epics {
            progress.add(1);
            let Some(id) = id(epic) else { continue };
            let data = self.common(epic);
            self.publish(kind, id, epic, data).await?;
        }
        progress.end();
        Ok(())
    }

    /// What all four have, as webhooks show it.
    fn common(&self, item: &Value) -> Map<String, Value> {
        let extra = |name: &str| item.get(format!("{name}_extra_info")).cloned().unwrap_or_default();
        let mut data = Map::new();
        take(&mut data, item, &["id", "ref", "subject", "created_date", "modified_date"]);
        data.insert("project".to_owned(), json!({ "id": self.project.id, "name": self.project.shown.get("name") }));
        data.insert("status".to_owned(), extra("status"));
        data.insert("assigned_to".to_owned(), extra("assigned_to"));
        data
    }

    /// Values by name; nothing is asked where the project defines no attributes.
    async fn attributes(&self, kind: Kind, id: i64) -> Result<Value, CommandError> {
        if !self.project.defines_attributes(kind) {
            return Ok(json!({}));
        }
        let found = self.taiga.get(&format!("/{}/custom-attributes-values/{id}", kind.list())).await?;
        let values = found.and_then(|found| found.get("attributes_values").cloned()).unwrap_or_default();
        Ok(self.project.attributes_by_name(kind, &values))
    }

    async fn publish(
        &mut self,
        kind: Kind,
        id: i64,
        item: &Value,
        data: Map<String, Value>,
    ) -> Result<(), CommandError> {
        let history = self.taiga.get(&format!("/history/{}/{id}", kind.word())).await?.unwrap_or_default();
        let (action, by) = last_change(&history, item);
        let webhook =
            json!({ "action": action, "type": kind.word(), "by": by, "date": item.get("modified_date"), "data": data });
        self.publisher.add((kind.list(), 1), (kind.word(), &[kind.word()]), &webhook).await
    }
}

fn id(value: &Value) -> Option<i64> {
    value.get("id")?.as_i64()
}

fn take(data: &mut Map<String, Value>, item: &Value, names: &[&str]) {
    data.extend(names.iter().map(|name| ((*name).to_owned(), item.get(*name).cloned().unwrap_or_default())));
}

/// The action and the person of the newest entry. Taiga's history begins with the first change: without one, it is
/// as whoever made it made it.
fn last_change(history: &Value, item: &Value) -> (&'static str, Value) {
    let newest = history.as_array().into_iter().flatten().max_by_key(|entry| text(entry, "created_at"));
    match newest {
        Some(entry) => {
            // 1 is a change, 2 the creation.
            let action = if entry.get("type") == Some(&json!(2)) { "create" } else { "change" };
            (action, entry.get("user").cloned().unwrap_or_default())
        }
        None => ("create", item.get("owner_extra_info").cloned().unwrap_or_default()),
    }
}

/// When a link was made: its `order` is that millisecond until somebody drags the story to another place. What is
/// no such time counts from the epic's creation, before which there was no link: then every webhook wins.
fn linked_at(link: &Value, epic: &Value) -> Option<String> {
    let created = text(epic, "created_date").and_then(parse_instant);
    let order = link.get("order").and_then(Value::as_i64);
    let plausible = order.filter(|order| created.is_none_or(|created| *order >= created) && *order <= now_ms());
    plausible.or(created).map(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_as_old_as_its_order_if_that_can_be() {
        let epic = json!({ "created_date": "2026-11-01T08:00:00.500Z" });
        let at = |order: i64| linked_at(&json!({ "order": order }), &epic).unwrap();
        let made = parse_instant("2026-11-02T08:00:00Z").unwrap();
        assert_eq!(at(made), "2026-11-02T08:00:00.000Z");
        assert_eq!(at(1), "2026-11-01T08:00:00.500Z");
        assert_eq!(at(i64::MAX), "2026-11-01T08:00:00.500Z");
    }

    #[test]
    fn the_newest_entry_says_who_and_how() {
        let entry =
            |kind: i64, at: &str, who: &str| json!({ "type": kind, "created_at": at, "user": { "username": who } });
        let history = json!([entry(2, "2026-11-01T08:00:00Z", "a"), entry(1, "2026-11-02T08:00:00Z", "b")]);
        let (action, by) = last_change(&history, &json!({}));
        assert_eq!((action, &by["username"]), ("change", &json!("b")));
        let (action, by) = last_change(&json!([]), &json!({ "owner_extra_info": { "username": "c" } }));
        assert_eq!((action, &by["username"]), ("create", &json!("c")));
    }
}
