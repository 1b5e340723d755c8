//! Hooks and their deliveries, of both providers, and redelivery.

use serde_json::{Value, json};

use super::Answer;
use super::world::World;
use crate::sender::{self, Delivery, Secrets, Sender, Source};
use crate::time::{now_ms, rfc3339};

/// A hook, as its provider keeps it.
#[derive(Debug, Clone)]
pub struct Hook {
    pub id: i64,
    /// `repos/<owner>/<name>` or `orgs/<name>`; of Taiga the project's id.
    pub owner: String,
    /// All of it, with its secret (GitHub's `config.secret`, Taiga's `key`).
    pub shown: Value,
    /// Its deliveries, oldest first.
    pub sent: Vec<Sent>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The attempt's number.
    pub id: i64,
    pub delivery: Delivery,
    /// The status of the answer; 0 without one.
    pub status: u16,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Whether it was requested.
    pub again: bool,
}

/// A delivery that is sent now: again, or because somebody asked for one.
pub(super) struct Again {
    pub(super) hook: i64,
    delivery: Delivery,
    base: String,
    /// Of one that was never sent, what stands in the hook behind `base`.
    path: Option<String>,
    secret: String,
}

fn secrets_of(secret: &str) -> Secrets {
    Secrets { github: secret.to_owned(), taiga: secret.to_owned(), excel: None }
}

/// How many logs of a hook Taiga keeps.
const LOGS: usize = 10;

impl Hook {
    /// Where it leads.
    #[must_use]
    pub fn url(&self) -> &str {
        let config = self.shown.get("config").unwrap_or(&self.shown);
        config.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    fn secret(&self) -> String {
        let secret = self.shown.get("config").map_or_else(|| self.shown.get("key"), |config| config.get("secret"));
        secret.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// As GitHub shows it: without its secret.
    fn masked(&self) -> Value {
        let mut shown = self.shown.clone();
        if let Some(secret) = shown.get_mut("config").and_then(|config| config.get_mut("secret")) {
            *secret = json!("********");
        }
        shown
    }

    fn again(&self, attempt: i64) -> Option<Again> {
        let sent = self.sent.iter().find(|sent| sent.id == attempt)?;
        let url = self.url();
        let base = url.split("/webhook").next().unwrap_or(url).to_owned();
        Some(Again { hook: self.id, delivery: sent.delivery.clone(), base, path: None, secret: self.secret() })
    }

    /// Sends this to the very address that somebody pasted.
    fn first(&self, delivery: Delivery) -> Again {
        let url = self.url();
        let (base, path) = url.split_at(url.find("/webhook").unwrap_or(url.len()));
        Again { hook: self.id, delivery, base: base.to_owned(), path: Some(path.to_owned()), secret: self.secret() }
    }
}

impl Again {
    /// Sends it; the status, or 0.
    pub(super) async fn send(&self) -> u16 {
        let Ok(sender) = Sender::new(&self.base, secrets_of(&self.secret)) else { return 0 };
        let mut request = self.delivery.request(&secrets_of(&self.secret));
        if let Some(path) = &self.path {
            request = request.path(path);
        }
        sender.request(&request).await.map_or(0, |answer| answer.status)
    }

    /// Stores the result; returns Taiga's log of it.
    pub(super) fn done(self, world: &mut World, status: u16) -> Value {
        let at = now_ms();
        world.sent(self.hook, self.delivery, status, at, self.path.is_none());
        let hook = world.hooks.iter().find(|hook| hook.id == self.hook);
        hook.and_then(|hook| Some(log(hook, hook.sent.last()?))).unwrap_or_default()
    }
}

impl World {
    /// Makes a hook. `shown` is all of it but its id.
    pub fn hook(&mut self, owner: &str, mut shown: Value) -> i64 {
        self.numbers += 1;
        let id = self.numbers;
        shown["id"] = json!(id);
        self.hooks.push(Hook { id, owner: owner.to_owned(), shown, sent: Vec::new() });
        id
    }

    /// Adds a delivery of a hook with this answer.
    pub fn sent(&mut self, hook: i64, delivery: Delivery, status: u16, at: i64, again: bool) {
        self.numbers += 1;
        let id = self.numbers;
        if let Some(hook) = self.hooks.iter_mut().find(|one| one.id == hook) {
            hook.sent.push(Sent { id, delivery, status, at, again });
            if hook.shown.get("config").is_none() && hook.sent.len() > LOGS {
                hook.sent.remove(0);
            }
        }
    }

    fn hooks_of(&self, owner: &str) -> Vec<&Hook> {
        self.hooks.iter().filter(|hook| hook.owner == owner).collect()
    }
}

/// `/{owner}/hooks…` of GitHub. `page` cuts a list.
pub(super) fn github(
    world: &mut World,
    (method, path): (&str, &[&str]),
    body: &Value,
    page: impl Fn(Vec<Value>) -> Answer,
) -> Option<Answer> {
    let at = path.iter().position(|part| *part == "hooks")?;
    let owner = path.get(..at)?.join("/");
    let rest = path.get(at + 1..)?;
    if world.unseen_hooks.contains(&owner) {
        return None;
    }
    let id: Option<i64> = rest.first().and_then(|id| id.parse().ok());
    let mine = |hook: &&mut Hook| Some(hook.id) == id && hook.owner == owner;
    Some(match (method, rest) {
        ("GET", []) => page(world.hooks_of(&owner).into_iter().map(Hook::masked).collect()),
        ("POST", []) => {
            let same = |hook: &&Hook| hook.url() == body["config"]["url"].as_str().unwrap_or_default();
            if world.hooks_of(&owner).iter().any(same) {
                let error = json!({ "message": "Hook already exists on this repository" });
                return Some(Answer::new(422, json!({ "message": "Validation Failed", "errors": [error] })));
            }
            let id = world.hook(&owner, body.clone());
            Answer::new(201, world.hooks.iter().find(|hook| hook.id == id)?.masked())
        }
        ("PATCH", [_]) => {
            let hook = world.hooks.iter_mut().find(mine)?;
            for (name, value) in body.as_object().into_iter().flatten().filter(|(name, _)| *name != "name") {
                hook.shown[name] = value.clone();
            }
            Answer::new(200, hook.masked())
        }
        ("DELETE", [_]) => {
            let before = world.hooks.len();
            world.hooks.retain(|hook| Some(hook.id) != id || hook.owner != owner);
            if world.hooks.len() == before {
                return None;
            }
            Answer::new(204, Value::Null)
        }
        ("GET", [_, "deliveries"]) => {
            let hook = world.hooks.iter_mut().find(mine)?;
            // Newest first.
            page(hook.sent.iter().rev().map(delivery).collect())
        }
        ("POST", [_, "deliveries", attempt, "attempts"]) => {
            let again = world.hooks.iter_mut().find(mine)?.again(attempt.parse().ok()?)?;
            Answer { again: Some(again), ..Answer::new(202, json!({})) }
        }
        // A person's "Add webhook" and first push.
        ("POST", [_, "pings"]) => {
            let ping = Delivery::github("ping", &sender::github::ping());
            let first = world.hooks.iter_mut().find(mine)?.first(ping);
            Answer { again: Some(first), ..Answer::new(204, Value::Null) }
        }
        ("POST", [_, "tests"]) => {
            world.numbers += 1;
            let commit = sender::github::commit(
                &sender::github::sha(u64::try_from(world.numbers).ok()?),
                "task #7: the login form",
            );
            let push = Delivery::github("push", &sender::github::push(now_ms() / 1000, [commit]));
            let first = world.hooks.iter_mut().find(mine)?.first(push);
            Answer { again: Some(first), ..Answer::new(204, Value::Null) }
        }
        _ => return None,
    })
}

fn delivery(sent: &Sent) -> Value {
    json!({
        "id": sent.id, "guid": sent.delivery.id, "delivered_at": rfc3339(sent.at), "redelivery": sent.again,
        "duration": 0.2, "status": if (200..300).contains(&sent.status) { "OK" } else { "Service Unavailable" },
        "status_code": sent.status, "event": sent.delivery.event, "action": null, "installation_id": null,
        "repository_id": 4242, "throttled_at": null
    })
}

/// `/webhooks…` and `/webhooklogs…` of Taiga.
pub(super) fn taiga(
    world: &mut World,
    (method, path): (&str, &[&str]),
    (query, body): (&str, &Value),
    list: impl Fn(Vec<Value>) -> Answer,
) -> Option<Answer> {
    let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let id: Option<i64> = path.get(1).and_then(|id| id.parse().ok());
    let taigas = |hook: &&Hook| hook.shown.get("config").is_none();
    Some(match (method, path) {
        ("GET", ["webhooks"]) => {
            let project = asked("project");
            let all = world.hooks.iter().filter(taigas).filter(|hook| project.is_none_or(|id| hook.owner == id));
            list(all.map(|hook| hook.shown.clone()).collect())
        }
        ("POST", ["webhooks"]) => {
            let owner = body["project"].to_string();
            let id = world.hook(&owner, body.clone());
            Answer::new(201, world.hooks.iter().find(|hook| hook.id == id)?.shown.clone())
        }
        ("PATCH", ["webhooks", _]) => {
            let hook = world.hooks.iter_mut().find(|hook| Some(hook.id) == id)?;
            for (name, value) in body.as_object().into_iter().flatten() {
                hook.shown[name] = value.clone();
            }
            Answer::new(200, hook.shown.clone())
        }
        ("DELETE", ["webhooks", _]) => {
            world.hooks.retain(|hook| Some(hook.id) != id);
            Answer::new(204, Value::Null)
        }
        ("GET", ["webhooklogs"]) => {
            let hook = world.hooks.iter().find(|hook| Some(hook.id.to_string().as_str()) == asked("webhook"))?;
            list(hook.sent.iter().rev().map(|sent| log(hook, sent)).collect())
        }
        ("POST", ["webhooks", _, "test"]) => {
            let first =
                world.hooks.iter().find(|hook| Some(hook.id) == id)?.first(Delivery::taiga(&sender::taiga::test()));
            Answer { again: Some(first), ..Answer::new(200, Value::Null) }
        }
        ("POST", ["webhooklogs", _, "resend"]) => {
            let again = world.hooks.iter().find_map(|hook| hook.again(id?))?;
            Answer { again: Some(again), ..Answer::new(200, Value::Null) }
        }
        _ => return None,
    })
}

fn log(hook: &Hook, sent: &Sent) -> Value {
    let data: Value = serde_json::from_slice(&sent.delivery.json).unwrap_or_default();
    json!({
        "id": sent.id, "webhook": hook.id, "url": hook.url(), "status": sent.status, "request_data": data,
        "request_headers": {}, "response_data": "", "response_headers": {}, "created": rfc3339(sent.at), "duration": 0.1
    })
}

/// A hook of GitHub's for [`World::hook`].
#[must_use]
pub fn github_hook(url: &str, secret: &str) -> Value {
    json!({
        "type": "Repository", "name": "web", "active": true, "events": ["push", "issues", "pull_request", "repository"],
        "config": { "url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret },
        "created_at": "2026-09-01T08:00:00Z", "updated_at": "2026-09-01T08:00:00Z"
    })
}

/// A webhook of Taiga's for [`World::hook`], whose owner is the project's id.
#[must_use]
pub fn taiga_hook(project: i64, url: &str, key: &str) -> Value {
    json!({ "project": project, "name": "LD", "url": url, "key": key, "logs_counter": 0 })
}

/// Which endpoint a hook leads to.
#[must_use]
pub fn endpoint(base: &str, source: Source, project: &str) -> String {
    format!("{base}/webhook/{source}?prj={project}")
}
