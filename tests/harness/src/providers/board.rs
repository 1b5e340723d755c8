//! A project as Taiga's REST API shows it. What it holds is given as webhooks; here it gets the API's
//! shape: numbers instead of objects, lists without descriptions, attributes and history elsewhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A project.
#[derive(Debug, Clone)]
pub struct Board {
    /// Its number.
    pub id: i64,
    project: Value,
    items: BTreeMap<(&'static str, i64), Item>,
    sprints: BTreeMap<i64, Value>,
    links: BTreeMap<i64, Vec<Value>>,
    numbers: i64,
}

#[derive(Debug, Clone)]
struct Item {
    shown: Value,
    attributes: Value,
    history: Vec<Value>,
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What an item's kind is called in its list's path.
fn path(kind: &str) -> &'static str {
    match kind {
        "userstory" => "userstories",
        "task" => "tasks",
        "issue" => "issues",
        "epic" => "epics",
        _ => "wiki",
    }
}

impl Board {
    /// One without anything.
    #[must_use]
    pub fn new(id: i64, name: &str) -> Self {
        let lists = [
            "roles",
            "points",
            "severities",
            "priorities",
            "issue_types",
            "userstory_custom_attributes",
            "task_custom_attributes",
        ];
        let mut project: Map<_, _> = lists.map(|list| (list.to_owned(), json!([]))).into_iter().collect();
        project.insert("id".to_owned(), json!(id));
        project.insert("name".to_owned(), json!(name));
        let (items, sprints, links) = Default::default();
        Self { id, project: Value::Object(project), items, sprints, links, numbers: 1_000 }
    }

    /// What a webhook says is so from now on.
    pub fn tell(&mut self, webhook: &Value) {
        let data = &webhook["data"];
        match (word(&webhook["type"]), word(&webhook["action"])) {
            ("milestone", _) => {
                self.sprints.insert(number(&data["id"]), data.clone());
            }
            ("relateduserstory", _) => {
                let epic = number(&data["epic"]["id"]);
                let link = json!({ "epic": epic, "user_story": data["user_story"]["id"], "order": data["order"] });
                self.links.entry(epic).or_default().push(link);
            }
            (kind, "delete") => {
                self.items.remove(&(path(kind), number(&data["id"])));
            }
            (kind, action) => {
                let item = self.item(kind, data);
                let user = &webhook["by"];
                let entry = json!({
                    "id": "0b3c", "type": 1, "created_at": webhook["date"],
                    "user": { "pk": user["id"], "username": user["username"], "name": user["full_name"], "is_active": true },
                    "key": format!("{}:{}", path(kind), data["id"]), "diff": {}, "values": {}, "comment": ""
                });
                let key = (path(kind), number(&data["id"]));
                let mut history = self.items.get(&key).map(|item| item.history.clone()).unwrap_or_default();
                // Taiga's history does not show how an object was made.
                if action != "create" {
                    history.insert(0, entry);
                }
                self.items.insert(key, Item { history, ..item });
            }
        }
    }

    fn item(&mut self, kind: &str, data: &Value) -> Item {
        let mut shown = data.clone();
        let Some(fields) = shown.as_object_mut() else {
            return Item { shown, attributes: json!({}), history: Vec::new() };
        };
        let attributes: Map<String, Value> = match fields.remove("custom_attributes_values") {
            Some(Value::Object(values)) => values
                .into_iter()
                .map(|(name, value)| {
                    (self.number(&format!("{kind}_custom_attributes"), &name, &Value::Null).to_string(), value)
                })
                .collect(),
            _ => Map::new(),
        };
        for name in ["project", "status", "assigned_to", "owner"] {
            let inner = fields.insert(name.to_owned(), data[name]["id"].clone()).unwrap_or_default();
            fields.insert(format!("{name}_extra_info"), inner);
        }
        if let Some(sprint) = fields.get("milestone").filter(|sprint| sprint.is_object()).cloned() {
            self.sprints.insert(number(&sprint["id"]), sprint.clone());
            fields.insert("milestone".to_owned(), sprint["id"].clone());
        }
        if let Some(story) = fields.get("user_story").cloned() {
            fields.insert("user_story".to_owned(), story["id"].clone());
        }
        for (name, list) in [("severity", "severities"), ("priority", "priorities"), ("type", "issue_types")] {
            if let Some(named) = fields.get(name).filter(|named| named.is_object()).cloned() {
                let id = self.number(list, word(&named["name"]), &Value::Null);
                fields.insert(name.to_owned(), json!(id));
            }
        }
        if let Some(Value::Array(points)) = fields.remove("points") {
            let by_role = points.iter().map(|point| {
                let role = self.number("roles", word(&point["role"]), &Value::Null);
                (role.to_string(), json!(self.number("points", word(&point["name"]), &point["value"])))
            });
            let by_role: Map<_, _> = by_role.collect();
            fields.insert("points".to_owned(), Value::Object(by_role));
        }
        Item { shown, attributes: Value::Object(attributes), history: Vec::new() }
    }

    /// The number of an entry of one of the project's lists.
    fn number(&mut self, list: &str, name: &str, value: &Value) -> i64 {
        if self.project.get(list).is_none() {
            self.project[list] = json!([]);
        }
        let entries = self.project[list].as_array_mut();
        if let Some(entry) = entries.iter().flat_map(|all| all.iter()).find(|entry| entry["name"] == name) {
            return number(&entry["id"]);
        }
        self.numbers += 1;
        if let Some(entries) = entries {
            entries.push(json!({ "id": self.numbers, "name": name, "value": value, "order": self.numbers }));
        }
        self.numbers
    }

    /// The project.
    pub(super) fn project(&self) -> Value {
        self.project.clone()
    }

    /// A list of the project's.
    pub(super) fn list(&self, path: &str) -> Option<Vec<Value>> {
        if path == "milestones" {
            return Some(self.sprints.values().cloned().collect());
        }
        let of = self.items.iter().filter(|((kind, _), _)| *kind == path);
        let without_description = |item: &Item| {
            let mut shown = item.shown.clone();
            shown.as_object_mut().map(|fields| fields.remove("description"));
            shown
        };
        Some(of.map(|(_, item)| without_description(item)).collect())
    }

    /// One of its items.
    pub(super) fn one(&self, path: &str, id: &str) -> Option<Value> {
        Some(self.find(path, id)?.shown.clone())
    }

    /// Its attributes.
    pub(super) fn attributes(&self, path: &str, id: &str) -> Option<Value> {
        Some(json!({ "attributes_values": self.find(path, id)?.attributes, "version": 1 }))
    }

    /// Its history, newest first.
    pub(super) fn history(&self, kind: &str, id: &str) -> Option<Value> {
        Some(self.find(path(kind), id)?.history.clone().into())
    }

    /// The stories of an epic.
    pub(super) fn links(&self, epic: &str) -> Vec<Value> {
        epic.parse().ok().and_then(|epic: i64| self.links.get(&epic).cloned()).unwrap_or_default()
    }

    fn find(&self, path: &str, id: &str) -> Option<&Item> {
        let id: i64 = id.parse().ok()?;
        self.items.iter().find(|((kind, one), _)| *kind == path && *one == id).map(|(_, item)| item)
    }
}
