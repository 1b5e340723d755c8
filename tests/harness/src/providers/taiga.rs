//! `api.taiga.io`, as far as we use it.

use serde_json::{Value, json};

use super::world::{Behaviour, World};
use super::{Answer, Request, bearer, hooks, page, whole_seconds};

/// The account of a request: by its login, or by its token.
pub(super) fn who(world: &World, request: &Request) -> String {
    if request.path.first().is_some_and(|part| part == "auth") {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        return body.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    world.session(&bearer(&request.headers)).cloned().unwrap_or_default()
}

pub(super) fn answer(world: &mut World, who: &str, request: &Request) -> Answer {
    match world.behaviour_of(who) {
        Behaviour::Status(status) => return Answer::new(status, json!({ "_error_message": "As the test wishes" })),
        Behaviour::SecondaryLimit(wait) => {
            let text = format!("Request was throttled.Expected available in {} seconds.", whole_seconds(wait));
            return Answer::new(429, json!({ "_error_message": text })).with("retry-after", whole_seconds(wait));
        }
        Behaviour::Normal | Behaviour::Slow(_) => {}
    }
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    if let ("POST", ["auth"]) = (request.method.as_str(), path.as_slice()) {
        return log_in(world, who, request);
    }
    let is_public = world.public && bearer(&request.headers).is_empty();
    if who.is_empty() && !is_public {
        let text = "Given token not valid for any token type";
        return Answer::new(401, json!({ "detail": text, "code": "token_not_valid" }));
    }
    let world_pages = world.always_pages;
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["milestones", id, "stats"]) => match id.parse().ok().and_then(|id| world.stats(id)) {
            Some(stats) => Answer::new(200, stats),
            None => not_found(),
        },
        (method, ["webhooks" | "webhooklogs", ..]) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let boards = world.boards.values().filter(|board| !board.is_administered);
            let hidden: Vec<Value> = boards.map(|board| json!(board.id)).collect();
            if method == "POST" && hidden.contains(&body["project"]) {
                let text = "You do not have permission to perform this action.";
                return Answer::new(403, json!({ "_error_message": text }));
            }
            let list = |mut items: Vec<Value>| {
                items.retain(|hook| !hidden.contains(&hook["project"]));
                list(&items, request, world_pages)
            };
            hooks::taiga(world, (method, &path), (&request.query, &body), list).unwrap_or_else(not_found)
        }
        ("GET", ["projects"]) => {
            let mut all: Vec<Value> = world.boards.iter().map(with_slug).collect();
            if world.knows_everything {
                all.push(json!({ "id": 1, "slug": "invented" }));
            }
            list(&all, request, world_pages)
        }
        ("GET", _) if !world.boards.is_empty() => on_a_board(world, &path, request).unwrap_or_else(not_found),
        ("GET", ["milestones"]) => {
            let all: Vec<_> =
                world.milestones.keys().map(|id| json!({ "id": id, "name": format!("Sprint {id}") })).collect();
            list(&all, request, world_pages)
        }
        _ => not_found(),
    }
}

/// A list, whole where that is asked for and allowed.
fn list(all: &[Value], request: &Request, always_pages: bool) -> Answer {
    let whole = !always_pages && request.headers.contains_key("x-disable-pagination");
    let page = page::taiga(all, &request.query, whole);
    page.headers.into_iter().fold(Answer::new(200, page.items.into()), |answer, (name, value)| answer.with(name, value))
}

/// What the project that is asked for says; of single objects, whichever has them.
fn on_a_board(world: &World, path: &[&str], request: &Request) -> Option<Answer> {
    let asked = |name: &str| request.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let first = |find: &dyn Fn(&super::board::Board) -> Option<Value>| world.boards.values().find_map(find);
    let found = match path {
        ["projects", "by_slug"] => with_slug(world.boards.get_key_value(asked("slug")?)?),
        ["projects", id] => with_slug(world.boards.iter().find(|(_, board)| board.id.to_string() == *id)?),
        ["epics", epic, "related_userstories"] => {
            let all: Vec<Value> = world.boards.values().flat_map(|board| board.links(epic)).collect();
            return Some(list(&all, request, world.always_pages));
        }
        [kind, "custom-attributes-values", id] => first(&|board| board.attributes(kind, id))?,
        [kind] => {
            let project: i64 = asked("project")?.parse().ok()?;
            let board = world.boards.values().find(|board| board.id == project)?;
            return Some(list(&board.list(kind), request, world.always_pages));
        }
        [kind, id] => first(&|board| board.one(kind, id))?,
        _ => return None,
    };
    Some(Answer::new(200, found))
}

/// A project with the slug that it is found by.
fn with_slug((slug, board): (&String, &super::board::Board)) -> Value {
    let mut project = board.project();
    project["slug"] = json!(slug);
    project
}

fn log_in(world: &mut World, who: &str, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let right = world.knows_everything || world.accounts.get(who).is_some_and(|password| password == text("password"));
    if !right || text("type") != "normal" {
        let text = "No active account found with the given credentials";
        return Answer::new(401, json!({ "detail": text, "code": "invalid_credentials" }));
    }
    let token = world.log_in(who);
    Answer::new(
        200,
        json!({ "id": 7, "username": who, "full_name": "Mireia Duran", "auth_token": token, "refresh": "r", "roles": [] }),
    )
}

fn not_found() -> Answer {
    Answer::new(
        404,
        json!({ "_error_message": "No Milestone matches the given query.", "_error_type": "taiga.base.exceptions.NotFound" }),
    )
}
