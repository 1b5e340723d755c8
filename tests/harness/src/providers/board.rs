//! A project as Taiga's REST API returns it. The content is in the shape of webhooks; the API's shape is made here:
//! numbers instead of objects, lists without descriptions, attributes elsewhere.
//!
//! [`Board::tell`] applies a webhook; [`Board::change`], [`Board::remove`] and the renames are changes without a
//! webhook.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

#[derive(Debug, Clone)]
pub struct Board {
    pub id: i64,
    /// What its account may see.
    pub permissions: BTreeSet<&'static str>,
    /// Whether its account administers it. Others see no webhooks and make none.
    pub is_administered: bool,
    project: Value,
    /// `data` of webhooks, by kind and number. A story knows its milestone by number, a task its story.
    objects: BTreeMap<(String, i64), Value>,
    milestones: BTreeMap<i64, Value>,
    /// `(epic, story)`, with the link.
    links: BTreeMap<(i64, i64), Value>,
    numbers: i64,
}

/// What has a document.
const KINDS: [&str; 4] = ["epic", "userstory", "task", "issue"];

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The kind that a path lists.
fn kind_of(path: &str) -> &'static str {
    match path {
        "userstories" => "userstory",
        "tasks" => "task",
        "issues" => "issue",
        "epics" => "epic",
        _ => "wiki",
    }
}

/// The project's list of the statuses of a kind.
fn statuses(kind: &str) -> &'static str {
    match kind {
        "userstory" => "us_statuses",
        "task" => "task_statuses",
        "issue" => "issue_statuses",
        _ => "epic_statuses",
    }
}

/// Which lists an issue's names are of.
const NAMED: [(&str, &str); 3] = [("severity", "severities"), ("priority", "priorities"), ("type", "issue_types")];

impl Board {
    /// One without anything.
    #[must_use]
    pub fn new(id: i64, name: &str) -> Self {
        let project = json!({ "id": id, "name": name, "slug": format!("project-{id}") });
        let permissions = ["view_us", "view_tasks", "view_issues", "view_epics", "view_milestones"].into();
        let (objects, milestones, links) = Default::default();
        Self { id, permissions, is_administered: true, project, objects, milestones, links, numbers: 1_000 }
    }

    /// Applies a webhook.
    pub fn tell(&mut self, webhook: &Value) {
        let data = &webhook["data"];
        let id = number(&data["id"]);
        match (word(&webhook["type"]), word(&webhook["action"])) {
            ("relateduserstory", action) => {
                let key = (number(&data["epic"]["id"]), number(&data["user_story"]["id"]));
                if action == "delete" {
                    self.links.remove(&key);
                } else {
                    self.links.insert(key, json!({ "order": data["order"] }));
                }
            }
            (kind, "delete") => self.remove(kind, id),
            ("milestone", _) => {
                self.milestones.insert(id, data.clone());
            }
            (kind, _) => {
                if data["milestone"].is_object() {
                    self.milestones.insert(number(&data["milestone"]["id"]), data["milestone"].clone());
                }
                self.register(kind, data);
                self.objects.insert((kind.to_owned(), id), data.clone());
            }
        }
    }

    /// Changes an object (or a milestone) without a webhook, as bulk updates and computed fields do. Its
    /// `modified_date` stays.
    pub fn change(&mut self, kind: &str, id: i64, change: impl FnOnce(&mut Value)) {
        let object = match kind {
            "milestone" => self.milestones.get_mut(&id),
            _ => self.objects.get_mut(&(kind.to_owned(), id)),
        };
        if let Some(object) = object {
            change(object);
            let changed = object.clone();
            self.register(kind, &changed);
        }
    }

    /// Removes an object without a webhook, with everything below it: a story's tasks and links, an epic's links, a
    /// milestone from its stories and tasks.
    pub fn remove(&mut self, kind: &str, id: i64) {
        self.objects.remove(&(kind.to_owned(), id));
        match kind {
            "userstory" => {
                self.objects.retain(|(kind, _), data| kind != "task" || number(&data["user_story"]["id"]) != id);
                self.links.retain(|(_, story), _| *story != id);
            }
            "epic" => self.links.retain(|(epic, _), _| *epic != id),
            "milestone" => {
                self.milestones.remove(&id);
                for data in self.objects.values_mut().filter(|data| number(&data["milestone"]["id"]) == id) {
                    data["milestone"] = Value::Null;
                }
            }
            _ => {}
        }
    }

    /// Renames a status of a kind.
    pub fn rename_status(&mut self, kind: &str, from: &str, to: &str) {
        self.rename_entry(statuses(kind), from, to);
        for (_, data) in self.objects.iter_mut().filter(|((of, _), _)| of == kind) {
            if data["status"]["name"] == from {
                data["status"]["name"] = json!(to);
            }
        }
    }

    /// Renames an attribute of a kind.
    pub fn rename_attribute(&mut self, kind: &str, from: &str, to: &str) {
        self.rename_entry(&format!("{kind}_custom_attributes"), from, to);
        for (_, data) in self.objects.iter_mut().filter(|((of, _), _)| of == kind) {
            if let Some(values) = data["custom_attributes_values"].as_object_mut()
                && let Some(value) = values.remove(from)
            {
                values.insert(to.to_owned(), value);
            }
        }
    }

    /// Renames a person.
    pub fn rename_user(&mut self, from: &str, to: &str) {
        for data in self.objects.values_mut() {
            for role in ["assigned_to", "owner"] {
                if data[role]["username"] == from {
                    data[role]["username"] = json!(to);
                }
            }
        }
    }

    /// Gives an entry of `points` another value: what has it has other points.
    pub fn revalue_points(&mut self, name: &str, value: f64) {
        for entry in self.entries("points").iter_mut().filter(|entry| entry["name"] == name) {
            entry["value"] = json!(value);
        }
        for data in self.objects.values_mut() {
            for point in data["points"].as_array_mut().into_iter().flatten().filter(|point| point["name"] == name) {
                point["value"] = json!(value);
            }
        }
    }

    fn rename_entry(&mut self, list: &str, from: &str, to: &str) {
        for entry in self.entries(list).iter_mut().filter(|entry| entry["name"] == from) {
            entry["name"] = json!(to);
        }
    }

    fn entries(&mut self, list: &str) -> &mut Vec<Value> {
        if !self.project[list].is_array() {
            self.project[list] = json!([]);
        }
        match &mut self.project[list] {
            Value::Array(entries) => entries,
            _ => unreachable!("it was made an array"),
        }
    }

    /// How many objects of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.objects.keys().filter(|(of, _)| of == kind).count()
    }

    /// All that it holds, as webhooks of this date would say it.
    #[must_use]
    pub fn webhooks(&self, date: &str) -> Vec<Value> {
        let event = |kind: &str, data: Value| json!({ "action": "create", "type": kind, "by": null, "date": date, "data": data });
        let mut all: Vec<Value> = self.milestones.values().map(|data| event("milestone", data.clone())).collect();
        for kind in KINDS {
            let of = self.objects.iter().filter(|((of, _), _)| of == kind);
            all.extend(of.map(|(_, data)| event(kind, self.whole(data))));
        }
        for (epic, story) in self.links.keys() {
            let data = |kind: &str, id: i64| self.objects.get(&(kind.to_owned(), id)).map(|data| self.whole(data));
            let link = json!({ "id": epic * 1_000_000 + story, "user_story": data("userstory", *story), "epic": data("epic", *epic), "order": 1 });
            all.push(event("relateduserstory", link));
        }
        all
    }

    /// An object with its milestone and story as they are now.
    fn whole(&self, data: &Value) -> Value {
        let mut whole = data.clone();
        if let Some(milestone) = self.milestones.get(&number(&data["milestone"]["id"])) {
            whole["milestone"] = milestone.clone();
        }
        if let Some(story) = self.story_of(data) {
            whole["user_story"] = self.whole(story);
            whole["milestone"] = whole["user_story"]["milestone"].clone();
        }
        whole
    }

    /// The story of a task, whose milestone is the task's.
    fn story_of(&self, task: &Value) -> Option<&Value> {
        self.objects.get(&("userstory".to_owned(), task["user_story"]["id"].as_i64()?))
    }

    /// Gives every name that an object uses a number in the project's lists.
    fn register(&mut self, kind: &str, data: &Value) {
        if let Some(name) = data["status"]["name"].as_str() {
            self.number(statuses(kind), name, json!({ "is_closed": data["status"]["is_closed"] }));
        }
        for (field, list) in NAMED {
            if let Some(name) = data[field]["name"].as_str() {
                self.number(list, name, json!({}));
            }
        }
        for name in data["custom_attributes_values"].as_object().into_iter().flatten().map(|(name, _)| name) {
            self.number(&format!("{kind}_custom_attributes"), name, json!({}));
        }
        for point in data["points"].as_array().into_iter().flatten() {
            self.number("roles", word(&point["role"]), json!({}));
            self.number("points", word(&point["name"]), json!({ "value": point["value"] }));
        }
    }

    fn number(&mut self, list: &str, name: &str, more: Value) {
        let next = self.numbers + 1;
        let entries = self.entries(list);
        if entries.iter().any(|entry| entry["name"] == name) {
            return;
        }
        let mut entry = json!({ "id": next, "name": name, "order": next });
        if let (Value::Object(entry), Value::Object(more)) = (&mut entry, more) {
            entry.extend(more);
        }
        entries.push(entry);
        self.numbers = next;
    }

    /// The number of an entry of one of the project's lists.
    fn id_of(&self, list: &str, name: &Value) -> Value {
        let entries = self.project[list].as_array();
        entries
            .into_iter()
            .flatten()
            .find(|entry| entry["name"] == *name)
            .map_or(Value::Null, |entry| entry["id"].clone())
    }

    pub(super) fn project(&self) -> Value {
        let mut project = self.project.clone();
        let lists = ["roles", "points", "userstory_custom_attributes", "task_custom_attributes", "us_statuses"];
        for list in lists {
            if !project[list].is_array() {
                project[list] = json!([]);
            }
        }
        // A database writes 3.0 as 3.
        for point in project["points"].as_array_mut().into_iter().flatten() {
            if let Some(value) = point["value"].as_f64().filter(|value| value.fract() == 0.0) {
                point["value"] = json!(value as i64);
            }
        }
        project["my_permissions"] = json!(self.permissions);
        project["i_am_admin"] = json!(self.is_administered);
        project
    }

    fn may_see(&self, path: &str) -> bool {
        let permission = match path {
            "userstories" => "view_us",
            "tasks" => "view_tasks",
            "issues" => "view_issues",
            "epics" => "view_epics",
            _ => "view_milestones",
        };
        self.permissions.contains(permission)
    }

    /// A list of the project. An empty one if the account may not see it.
    pub(super) fn list(&self, path: &str) -> Vec<Value> {
        if !self.may_see(path) {
            return Vec::new();
        }
        if path == "milestones" {
            return self.milestones.values().cloned().collect();
        }
        let of = self.objects.iter().filter(|((kind, _), _)| *kind == kind_of(path));
        of.map(|((kind, id), data)| {
            let mut shown = self.shown(kind, *id, data);
            shown.as_object_mut().map(|fields| fields.remove("description"));
            shown
        })
        .collect()
    }

    /// One of its objects.
    pub(super) fn one(&self, path: &str, id: &str) -> Option<Value> {
        let id: i64 = id.parse().ok()?;
        if path == "milestones" {
            return self.milestones.get(&id).cloned();
        }
        let data = self.objects.get(&(kind_of(path).to_owned(), id))?;
        self.may_see(path).then(|| self.shown(kind_of(path), id, data))
    }

    pub(super) fn attributes(&self, path: &str, id: &str) -> Option<Value> {
        let data = self.objects.get(&(kind_of(path).to_owned(), id.parse().ok()?))?;
        let list = format!("{}_custom_attributes", kind_of(path));
        let values = data["custom_attributes_values"].as_object().into_iter().flatten();
        let values: Map<_, _> =
            values.map(|(name, value)| (self.id_of(&list, &json!(name)).to_string(), value.clone())).collect();
        Some(json!({ "attributes_values": values, "version": 1 }))
    }

    /// The stories of an epic.
    pub(super) fn links(&self, epic: &str) -> Vec<Value> {
        let epic: i64 = epic.parse().unwrap_or_default();
        let of = self.links.iter().filter(|((of, _), _)| *of == epic);
        of.map(|((epic, story), link)| json!({ "epic": epic, "user_story": story, "order": link["order"] })).collect()
    }

    /// An object in the API's shape.
    fn shown(&self, kind: &str, id: i64, data: &Value) -> Value {
        let mut shown = data.clone();
        let Some(fields) = shown.as_object_mut() else { return shown };
        fields.remove("custom_attributes_values");
        for name in ["project", "assigned_to", "owner"] {
            fields.insert(name.to_owned(), data[name]["id"].clone());
            fields.insert(format!("{name}_extra_info"), data[name].clone());
        }
        fields.insert("project".to_owned(), json!(self.id));
        fields.insert("status".to_owned(), self.id_of(statuses(kind), &data["status"]["name"]));
        // In the account's language, not the project's.
        let translated = json!({ "name": "Estat", "color": "#70728F", "is_closed": data["status"]["is_closed"] });
        fields.insert("status_extra_info".to_owned(), translated);
        fields.insert("milestone".to_owned(), data["milestone"]["id"].clone());
        if kind == "task" {
            fields.insert("user_story".to_owned(), data["user_story"]["id"].clone());
            if let Some(story) = self.story_of(data) {
                fields.insert("milestone".to_owned(), story["milestone"]["id"].clone());
            }
        }
        if kind == "issue" {
            for (name, list) in NAMED {
                fields.insert(name.to_owned(), self.id_of(list, &data[name]["name"]));
            }
        }
        if kind == "userstory" {
            let points =
                data["points"].as_array().into_iter().flatten().map(|point| {
                    (self.id_of("roles", &point["role"]).to_string(), self.id_of("points", &point["name"]))
                });
            fields.insert("points".to_owned(), Value::Object(points.collect()));
            let epics: Vec<Value> = self
                .links
                .keys()
                .filter(|(_, story)| *story == id)
                .filter_map(|(epic, _)| self.objects.get(&("epic".to_owned(), *epic)))
                .map(|epic| json!({ "id": epic["id"], "ref": epic["ref"], "subject": epic["subject"], "color": epic["color"] }))
                .collect();
            fields.insert("epics".to_owned(), if epics.is_empty() { Value::Null } else { epics.into() });
        }
        shown
    }
}
