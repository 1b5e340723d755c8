//! One Taiga project as its API returns it, in the shape of webhooks.
//!
//! | list | tells all but | which is read of the object itself |
//! |---|---|---|
//! | userstories, with their epics | `description`, attributes | `/userstories/{id}`, `/userstories/custom-attributes-values/{id}` |
//! | tasks | attributes | `/tasks/custom-attributes-values/{id}` |
//! | issues | `description` | `/issues/{id}` |
//! | epics, milestones | | |
//!
//! Names of statuses, points and attributes are the project's own: `status_extra_info` has them in the account's
//! language. The project is read before and after the lists, because Taiga returns an empty list if the account may not
//! see it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use worker_event::effect::Kind;

use crate::client::{Halt, Listed, TaigaApi};

/// What has a document of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    Story,
    Task,
    Issue,
    Epic,
}

impl Item {
    pub const ALL: [Self; 4] = [Self::Epic, Self::Story, Self::Task, Self::Issue];

    /// The type in Taiga's webhooks and in LD Eval's notifications.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Story => "userstory",
            Self::Task => "task",
            Self::Issue => "issue",
            Self::Epic => "epic",
        }
    }

    /// The path of its list, and the name of its count.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Story => "userstories",
            Self::Task => "tasks",
            Self::Issue => "issues",
            Self::Epic => "epics",
        }
    }

    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Story => Kind::UserStory,
            Self::Task => Kind::Task,
            Self::Issue => Kind::TaigaIssue,
            Self::Epic => Kind::Epic,
        }
    }

    /// What an account needs to see it.
    const fn permission(self) -> &'static str {
        match self {
            Self::Story => "view_us",
            Self::Task => "view_tasks",
            Self::Issue => "view_issues",
            Self::Epic => "view_epics",
        }
    }

    /// The project's list of its statuses.
    const fn statuses(self) -> &'static str {
        match self {
            Self::Story => "us_statuses",
            Self::Task => "task_statuses",
            Self::Issue => "issue_statuses",
            Self::Epic => "epic_statuses",
        }
    }

    /// Fields of its document that its list does not contain.
    #[must_use]
    pub const fn not_listed(self) -> &'static [&'static str] {
        match self {
            Self::Story => &["pattern", "custom_attributes", "priority"],
            Self::Task => &["custom_attributes"],
            Self::Issue => &["description"],
            Self::Epic => &[],
        }
    }
}

/// A project, read once.
#[derive(Debug)]
pub struct Project {
    /// The time at which all of it is true, in milliseconds since 1970.
    pub as_of: i64,
    pub id: i64,
    shown: Value,
    /// The list of each kind; a kind that was not requested, or that the account may not see, is absent.
    pub lists: BTreeMap<Item, BTreeMap<i64, Value>>,
    pub milestones: BTreeMap<i64, Value>,
    /// The kinds (`None`: milestones) whose list is complete.
    pub whole: BTreeSet<Option<Item>>,
    /// The epics of a story: their `id`, `ref` and `subject`.
    pub epics_of: BTreeMap<i64, BTreeMap<i64, Value>>,
    pub findings: Vec<String>,
}

impl Project {
    /// Reads the lists of a project; `None` when the account sees no such project.
    ///
    /// # Errors
    /// When Taiga does not answer.
    pub async fn read(api: &TaigaApi, slug: &str, wanted: &BTreeSet<Item>) -> Result<Option<Self>, Halt> {
        let path = format!("/projects/by_slug?slug={slug}");
        let answer = api.ask(reqwest::Method::GET, &path).await?;
        let as_of = answer.clock.as_of();
        let Some(shown) = answer.json("Taiga", &path)? else { return Ok(None) };
        let id = id(&shown).ok_or_else(|| Halt::unreadable("Taiga", &path, "the project has no id"))?;
        let mut project = Self {
            as_of,
            id,
            shown,
            lists: BTreeMap::new(),
            milestones: BTreeMap::new(),
            whole: BTreeSet::new(),
            epics_of: BTreeMap::new(),
            findings: Vec::new(),
        };
        let milestones = api.list(&format!("/milestones?project={id}&order_by=created_date")).await?;
        let mut complete = BTreeMap::from([(None, milestones.whole)]);
        project.milestones = by_id(milestones.items);
        for item in Item::ALL.into_iter().filter(|item| wanted.contains(item)) {
            if may_see(&project.shown, item.permission()) == Some(false) {
                let (list, permission) = (item.list(), item.permission());
                project.findings.push(format!(
                    "Taiga shows no {list} of {slug} to the account of {}: give it {permission} there",
                    api.account.credential.label
                ));
                continue;
            }
            let Listed { items, whole, .. } =
                api.list(&format!("/{}?project={id}&order_by=created_date", item.list())).await?;
            complete.insert(Some(item), whole);
            project.lists.insert(item, by_id(items));
        }
        project.read_links(api).await?;
        let after = api.get(&path).await?.unwrap_or_default();
        for (what, whole) in complete {
            let permission = what.map_or("view_milestones", Item::permission);
            // The account may have lost it between the two.
            if whole && [&project.shown, &after].iter().all(|shown| may_see(shown, permission) == Some(true)) {
                project.whole.insert(what);
            }
        }
        Ok(Some(project))
    }

    /// The epics of stories: from the list of stories, of an older Taiga from each epic's list.
    async fn read_links(&mut self, api: &TaigaApi) -> Result<(), Halt> {
        let (Some(stories), Some(_)) = (self.lists.get(&Item::Story), self.lists.get(&Item::Epic)) else {
            return Ok(());
        };
        if stories.values().all(|story| story.get("epics").is_some()) {
            for (story, shown) in stories {
                let epics = shown.get("epics").and_then(Value::as_array).into_iter().flatten();
                self.epics_of.insert(*story, epics.filter_map(|epic| Some((self::id(epic)?, epic.clone()))).collect());
            }
            return Ok(());
        }
        let mut epics_of: BTreeMap<i64, BTreeMap<i64, Value>> =
            stories.keys().map(|story| (*story, BTreeMap::new())).collect();
        for (epic, shown) in self.lists.get(&Item::Epic).into_iter().flatten() {
            for link in api.list(&format!("/epics/{epic}/related_userstories")).await?.items {
                if let Some(epics) = link.get("user_story").and_then(Value::as_i64).and_then(|id| epics_of.get_mut(&id))
                {
                    epics.insert(*epic, shown.clone());
                }
            }
        }
        self.epics_of = epics_of;
        Ok(())
    }

    /// Whether the account may still see what it could see when the project was read.
    ///
    /// # Errors
    /// When Taiga does not answer.
    pub async fn is_still_seen(&self, api: &TaigaApi) -> Result<bool, Halt> {
        let now = api.get(&format!("/projects/{}", self.id)).await?.unwrap_or_default();
        let permission = |what: &Option<Item>| what.map_or("view_milestones", Item::permission);
        Ok(self.whole.iter().all(|what| may_see(&now, permission(what)) == Some(true)))
    }

    #[must_use]
    pub fn name(&self) -> &Value {
        self.shown.get("name").unwrap_or(&Value::Null)
    }

    /// The entry of one of the project's lists, such as `points`.
    fn entry(&self, list: &str, id: Option<&Value>) -> Option<&Value> {
        self.shown.get(list)?.as_array()?.iter().find(|entry| entry.get("id") == id)
    }

    /// As `{"name": …}`, or null.
    fn named(&self, list: &str, id: Option<&Value>) -> Value {
        let name = self.entry(list, id).and_then(|entry| entry.get("name"));
        name.map(|name| json!({ "name": name })).unwrap_or_default()
    }

    /// Whether the project defines attributes of this kind.
    #[must_use]
    pub fn defines_attributes(&self, item: Item) -> bool {
        self.attributes(item).next().is_some()
    }

    /// Whether the project defines this attribute of this kind.
    #[must_use]
    pub fn has_attribute(&self, item: Item, name: &str) -> bool {
        self.attributes(item).any(|attribute| attribute.get("name").and_then(Value::as_str) == Some(name))
    }

    fn attributes(&self, item: Item) -> impl Iterator<Item = &Value> {
        let all = self.shown.get(format!("{}_custom_attributes", item.word())).and_then(Value::as_array);
        all.into_iter().flatten()
    }

    /// Reads the fields of an object that its list does not contain, and adds them to it. `None` when it was deleted.
    ///
    /// # Errors
    /// When Taiga does not answer.
    pub async fn detail(&self, api: &TaigaApi, item: Item, id: i64) -> Result<Option<Value>, Halt> {
        let listed = self.lists.get(&item).and_then(|list| list.get(&id)).cloned().unwrap_or_default();
        let mut shown = match item {
            Item::Story | Item::Issue => match api.get(&format!("/{}/{id}", item.list())).await? {
                Some(shown) => shown,
                None => return Ok(None),
            },
            Item::Task | Item::Epic => listed,
        };
        if matches!(item, Item::Story | Item::Task) {
            let values = if self.defines_attributes(item) {
                let path = format!("/{}/custom-attributes-values/{id}", item.list());
                let Some(found) = api.get(&path).await? else { return Ok(None) };
                self.by_name(item, found.get("attributes_values").unwrap_or(&Value::Null))
            } else {
                json!({})
            };
            if let Some(fields) = shown.as_object_mut() {
                fields.insert(ATTRIBUTES.to_owned(), values);
            }
        }
        Ok(Some(shown))
    }

    /// Values by the names of their attributes; what is null is left out, as webhooks do.
    fn by_name(&self, item: Item, values: &Value) -> Value {
        let named = self.attributes(item).filter_map(|attribute| {
            let value = values.get(id(attribute)?.to_string()).filter(|value| !value.is_null())?;
            Some((attribute.get("name")?.as_str()?.to_owned(), value.clone()))
        });
        Value::Object(named.collect())
    }

    /// The webhook for the state of an object.
    #[must_use]
    pub fn webhook(&self, item: Item, shown: &Value) -> Value {
        let mut data = Map::new();
        take(&mut data, shown, &["id", "ref", "subject", "created_date", "modified_date"]);
        data.insert("project".to_owned(), json!({ "id": self.id, "name": self.name() }));
        let extra = |name: &str| shown.get(format!("{name}_extra_info")).cloned().unwrap_or_default();
        let status = self.entry(item.statuses(), shown.get("status")).cloned();
        data.insert("status".to_owned(), status.unwrap_or_else(|| extra("status")));
        data.insert("assigned_to".to_owned(), extra("assigned_to"));
        if matches!(item, Item::Story | Item::Task) {
            data.insert("milestone".to_owned(), self.milestone_of(shown));
            data.insert(ATTRIBUTES.to_owned(), shown.get(ATTRIBUTES).cloned().unwrap_or_default());
        }
        match item {
            Item::Story => {
                take(&mut data, shown, &["is_closed", "finish_date", "description"]);
                data.insert("points".to_owned(), self.points(shown));
            }
            Item::Task => {
                take(&mut data, shown, &["finished_date"]);
                data.insert("user_story".to_owned(), self.story_of(shown));
            }
            Item::Issue => {
                take(&mut data, shown, &["description", "due_date", "finished_date"]);
                for (name, list) in [("severity", "severities"), ("priority", "priorities"), ("type", "issue_types")] {
                    data.insert(name.to_owned(), self.named(list, shown.get(name)));
                }
            }
            Item::Epic => {}
        }
        event(item.word(), "change", self.as_of, Value::Object(data))
    }

    fn milestone_of(&self, shown: &Value) -> Value {
        let id = shown.get("milestone").and_then(Value::as_i64);
        let milestone = id.map(|id| self.milestones.get(&id).map_or_else(|| json!({ "id": id }), milestone));
        milestone.unwrap_or_default()
    }

    /// The story of a task: only what the task's document shows of it, so that it is no state of the story itself.
    fn story_of(&self, task: &Value) -> Value {
        let Some(id) = task.get("user_story").and_then(Value::as_i64) else { return Value::Null };
        let story = self.lists.get(&Item::Story).and_then(|stories| stories.get(&id));
        let closed = story.and_then(|story| story.get("is_closed"));
        json!({ "id": id, "is_closed": closed })
    }

    fn points(&self, story: &Value) -> Value {
        let by_role = story.get("points").and_then(Value::as_object);
        let points = by_role.into_iter().flatten().map(|(role, point)| {
            let role = role.parse::<i64>().ok().map(Value::from);
            let role = self.named("roles", role.as_ref());
            let point = self.entry("points", Some(point));
            // `48` in a database is `48.0` in webhooks.
            let value = point.and_then(|point| point.get("value")?.as_f64());
            json!({ "role": role.get("name"), "name": point.and_then(|point| point.get("name")), "value": value })
        });
        points.collect()
    }

    /// The webhook for the state of a milestone.
    #[must_use]
    pub fn milestone_webhook(&self, shown: &Value) -> Value {
        event("milestone", "change", self.as_of, milestone(shown))
    }

    /// The webhook for the link of a story to an epic, or for its end.
    #[must_use]
    pub fn link_webhook(&self, story: i64, epic: i64, linked: bool) -> Value {
        let own = self.lists.get(&Item::Epic).and_then(|epics| epics.get(&epic));
        let epic = match (own, self.epics_of.get(&story).and_then(|epics| epics.get(&epic))) {
            (Some(own), _) => self.webhook(Item::Epic, own).get("data").cloned().unwrap_or_default(),
            // An epic of another project.
            (None, Some(shown)) => {
                let mut data = Map::new();
                take(&mut data, shown, &["id", "ref", "subject"]);
                Value::Object(data)
            }
            (None, None) => json!({ "id": epic }),
        };
        let data = json!({ "user_story": { "id": story }, "epic": epic });
        event("relateduserstory", if linked { "create" } else { "delete" }, self.as_of, data)
    }

    /// The webhook for a deletion.
    #[must_use]
    pub fn gone_webhook(&self, kind: &str, id: i64) -> Value {
        let data = json!({ "id": id, "project": { "id": self.id, "name": self.name() } });
        event(kind, "delete", self.as_of, data)
    }
}

/// Where the values of attributes are in a webhook.
const ATTRIBUTES: &str = "custom_attributes_values";

fn event(kind: &str, action: &str, as_of: i64, data: Value) -> Value {
    json!({ "type": kind, "action": action, "by": null, "date": shared::time::rfc3339(as_of), "data": data })
}

/// A milestone as webhooks show it.
fn milestone(shown: &Value) -> Value {
    let mut data = Map::new();
    let names =
        ["id", "name", "slug", "estimated_start", "estimated_finish", "created_date", "modified_date", "closed"];
    take(&mut data, shown, &names);
    Value::Object(data)
}

/// Whether an account may see something of a project; `None` if Taiga does not return its permissions.
fn may_see(project: &Value, permission: &str) -> Option<bool> {
    let permissions = project.get("my_permissions")?.as_array()?;
    Some(permissions.iter().any(|one| one == permission))
}

fn by_id(items: Vec<Value>) -> BTreeMap<i64, Value> {
    items.into_iter().filter_map(|item| Some((id(&item)?, item))).collect()
}

fn id(value: &Value) -> Option<i64> {
    value.get("id")?.as_i64()
}

fn take(data: &mut Map<String, Value>, item: &Value, names: &[&str]) {
    data.extend(names.iter().map(|name| ((*name).to_owned(), item.get(*name).cloned().unwrap_or_default())));
}

/// Project names to numbers, for tests.
#[cfg(test)]
impl Project {
    pub(crate) fn of(shown: Value, as_of: i64) -> Self {
        Self {
            as_of,
            id: id(&shown).unwrap(),
            shown,
            lists: BTreeMap::new(),
            milestones: BTreeMap::new(),
            whole: BTreeSet::new(),
            epics_of: BTreeMap::new(),
            findings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project::of(
            json!({
                "id": 31, "name": "Marmota",
                "us_statuses": [{ "id": 1, "name": "Nova", "is_closed": false }],
                "points": [{ "id": 4, "name": "40", "value": 40 }, { "id": 5, "name": "?", "value": null }],
                "roles": [{ "id": 7, "name": "Back" }, { "id": 8, "name": "Front" }],
                "userstory_custom_attributes": [{ "id": 9, "name": "Hores. $reals" }, { "id": 10, "name": "Buit" }],
            }),
            1_795_455_723_000,
        )
    }

    #[test]
    fn numbers_are_doubles_and_a_null_attribute_is_left_out_as_webhooks_do() {
        let project = project();
        let values = project.by_name(Item::Story, &json!({ "9": 2.5, "10": null, "11": "of a deleted attribute" }));
        assert_eq!(values, json!({ "Hores. $reals": 2.5 }));
        let story = json!({
            "id": 1, "status": 1, "status_extra_info": { "name": "New" }, "points": { "7": 4, "8": 5 }, "milestone": null
        });
        let webhook = project.webhook(Item::Story, &story);
        assert_eq!(webhook["data"]["points"][0]["value"].to_string(), "40.0");
        assert_eq!(webhook["data"]["status"]["name"], "Nova", "and not in the account's language");
        assert_eq!(webhook["date"], "2026-11-23T17:42:03.000Z");
    }

    #[test]
    fn a_project_that_does_not_say_what_may_be_seen_is_not_known_whole() {
        let project = json!({ "my_permissions": ["view_us"] });
        assert_eq!((may_see(&project, "view_us"), may_see(&project, "view_tasks")), (Some(true), Some(false)));
        assert_eq!(may_see(&json!({}), "view_us"), None);
    }
}
