//! `api.taiga.io`, as far as we ask it.

use serde_json::{Value, json};

use super::world::{Mood, World};
use super::{Answer, Request, bearer, page, whole_seconds};

/// Whose request it is: the account that logs in, or that has the token.
pub(super) fn who(world: &World, request: &Request) -> String {
    if request.path.first().is_some_and(|part| part == "auth") {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        return body.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    world.session(&bearer(&request.headers)).cloned().unwrap_or_default()
}

/// Answers a request.
pub(super) fn answer(world: &mut World, who: &str, request: &Request) -> Answer {
    match world.mood_of(who) {
        Mood::Answers(status) => return Answer::new(status, json!({ "_error_message": "As the test wishes" })),
        Mood::Secondary(wait) => {
            let text = format!("Request was throttled.Expected available in {} seconds.", whole_seconds(wait));
            return Answer::new(429, json!({ "_error_message": text })).with("retry-after", whole_seconds(wait));
        }
        Mood::Well | Mood::Dawdles(_) => {}
    }
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    if let ("POST", ["auth"]) = (request.method.as_str(), path.as_slice()) {
        return log_in(world, who, request);
    }
    if who.is_empty() {
        let text = "Given token not valid for any token type";
        return Answer::new(401, json!({ "detail": text, "code": "token_not_valid" }));
    }
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["milestones", id, "stats"]) => match id.parse().ok().and_then(|id| world.stats(id)) {
            Some(stats) => Answer::new(200, stats),
            None => not_found(),
        },
        ("GET", ["milestones"]) => {
            let all: Vec<_> =
                world.milestones.keys().map(|id| json!({ "id": id, "name": format!("Sprint {id}") })).collect();
            let page = page::taiga(&all, &request.query, request.headers.contains_key("x-disable-pagination"));
            page.headers
                .into_iter()
                .fold(Answer::new(200, page.items.into()), |answer, (name, value)| answer.with(name, value))
        }
        _ => not_found(),
    }
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
