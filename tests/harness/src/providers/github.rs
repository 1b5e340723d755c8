//! `api.github.com`, as far as we use it.

use std::hash::{Hash as _, Hasher as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::world::{Behaviour, Commit, Graphql, HOURLY, World};
use super::{Answer, Request, bearer, hooks, hub, page, whole_seconds};

/// The token of a request.
pub(super) fn who(request: &Request) -> String {
    bearer(&request.headers)
}

/// Answers a request, and counts it.
pub(super) fn answer(world: &mut World, token: &str, request: &Request) -> Answer {
    if !request.headers.contains_key("user-agent") {
        return Answer::new(403, json!({ "message": "Request forbidden by administrative rules." }));
    }
    match world.behaviour_of(token) {
        Behaviour::Status(status) => return Answer::new(status, json!({ "message": "As the test wishes" })),
        Behaviour::SecondaryLimit(wait) => {
            let text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            return Answer::new(403, json!({ "message": text })).with("retry-after", whole_seconds(wait));
        }
        Behaviour::Normal | Behaviour::Slow(_) => {}
    }
    if !world.knows_everything && !world.tokens.iter().any(|known| known == token) {
        return Answer::new(401, json!({ "message": "Bad credentials", "status": "401" }));
    }
    let graphql = request.path.first().is_some_and(|part| part == "graphql");
    let budget = world.budget(token);
    if request.path == ["rate_limit"] {
        // Asking for it is free.
        let reset = budget.reset.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let core = json!({ "limit": HOURLY, "used": HOURLY - budget.remaining, "remaining": budget.remaining, "reset": reset });
        return Answer::new(200, json!({ "resources": { "core": core }, "rate": core }));
    }
    let limited = budget.remaining == 0;
    budget.remaining = budget.remaining.saturating_sub(1);
    let reset = budget.reset;
    let answer = if limited {
        Answer::new(403, json!({ "message": "API rate limit exceeded for user ID 99.", "status": "403" }))
    } else if let Some(refusal) = out_of_scope(world, token, request) {
        refusal
    } else if graphql {
        self::graphql(world, request)
    } else {
        rest(world, request)
    };
    let reset = reset.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let answer = if request.method == "GET" && answer.status == 200 { conditional(answer, request) } else { answer };
    if answer.status == 304 {
        // It costs nothing.
        world.budget(token).remaining += 1;
    }
    let remaining = world.budget(token).remaining;
    let answer = match world.scopes.get(token) {
        Some(scopes) => answer.with("x-oauth-scopes", scopes),
        None => answer,
    };
    answer
        .with("x-ratelimit-limit", HOURLY)
        .with("x-ratelimit-remaining", remaining)
        .with("x-ratelimit-used", HOURLY.saturating_sub(remaining))
        .with("x-ratelimit-reset", reset)
        .with("x-ratelimit-resource", if graphql { "graphql" } else { "core" })
        .with(
            "x-github-request-id",
            format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()),
        )
}

/// What a classic token without the scope is answered.
fn out_of_scope(world: &World, token: &str, request: &Request) -> Option<Answer> {
    let has = |scope: &str| world.scopes[token].split(", ").any(|held| held == scope);
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let allowed = match (request.method.as_str(), path.as_slice()) {
        _ if !world.scopes.contains_key(token) => true,
        ("GET", ["user", "orgs"]) => has("read:org"),
        ("POST" | "PATCH" | "DELETE", ["repos", _, _, "hooks", ..]) => has("admin:repo_hook"),
        _ => true,
    };
    let text = "Resource not accessible by personal access token";
    (!allowed).then(|| Answer::new(403, json!({ "message": text, "status": "403" })))
}

/// With the `ETag` of the answer; 304 if the client has it.
fn conditional(answer: Answer, request: &Request) -> Answer {
    let mut hasher = std::hash::DefaultHasher::new();
    (answer.body.to_string(), &answer.headers).hash(&mut hasher);
    let etag = format!("W/\"{:016x}\"", hasher.finish());
    let held = request.headers.get("if-none-match").and_then(|etag| etag.to_str().ok());
    if held == Some(etag.as_str()) {
        return Answer::new(304, Value::Null).with("etag", etag);
    }
    answer.with("etag", etag)
}

fn rest(world: &mut World, request: &Request) -> Answer {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let list = |items: Vec<Value>| {
        // The `Link` header is a whole address with its query.
        let query =
            request.query.split('&').filter(|pair| !pair.starts_with("page=") && !pair.starts_with("per_page="));
        let query: Vec<&str> = query.filter(|pair| !pair.is_empty()).collect();
        let url = format!("http://{host}/github/{}", path.join("/"));
        let page = page::github(&items, &url, &request.query);
        page.headers.into_iter().fold(Answer::new(200, page.items.into()), |answer, (name, value)| {
            let asked = if query.is_empty() { String::new() } else { format!("{}&", query.join("&")) };
            answer.with(name, value.replace('?', &format!("?{asked}")))
        })
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if path.contains(&"hooks") {
        return hooks::github(world, (request.method.as_str(), &path), &body, list).unwrap_or_else(not_found);
    }
    if request.method == "GET" {
        let all = |wanted: &dyn Fn(&str) -> bool| {
            list(world.repos.keys().filter(|name| wanted(name)).map(|name| hub::repository(name)).collect())
        };
        let of = |owner: &str| world.repos.keys().any(|name| name.starts_with(&format!("{owner}/")));
        match path.as_slice() {
            ["orgs", org, "repos"] if of(org) => return all(&|name| name.starts_with(&format!("{org}/"))),
            ["user", "repos"] => return all(&|_| true),
            // GitHub lists no organisations to a fine-grained token.
            ["user", "orgs"] if bearer(&request.headers).starts_with("github_pat_") => return list(Vec::new()),
            ["user", "orgs"] => {
                let mut orgs: Vec<&str> = world.repos.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect();
                orgs.dedup();
                return list(orgs.into_iter().map(|org| json!({ "login": org, "id": 99 })).collect());
            }
            ["repos", owner, name, rest @ ..] => {
                let full_name = format!("{owner}/{name}");
                if let Some(now) = world.renamed.get(&full_name) {
                    let location = format!("http://{host}/github/repos/{now}/{}", rest.join("/"));
                    return Answer::new(301, json!({ "message": "Moved Permanently" }))
                        .with("location", location.trim_end_matches('/'));
                }
                if let (["issues", number], Some(repo)) = (rest, world.repos.get(&full_name))
                    && let Some(elsewhere) = number.parse().ok().and_then(|number: u64| repo.transferred.get(&number))
                {
                    let location = format!("http://{host}/github/repos/{elsewhere}");
                    return Answer::new(301, json!({ "message": "Moved Permanently" })).with("location", location);
                }
                if let Some(repo) = world.repos.get(&full_name)
                    && let Some(found) = hub::answer(&full_name, repo, rest, &request.query)
                {
                    return if let Value::Array(items) = found { list(items) } else { Answer::new(200, found) };
                }
            }
            _ => {}
        }
    }
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["repos", owner, name, "commits", sha]) => {
            let repo = format!("{owner}/{name}");
            match world.commit(&repo, sha) {
                Ok(found) => Answer::new(200, commit(&repo, sha, &found)),
                Err(true) => {
                    Answer::new(422, json!({ "message": format!("No commit found for SHA: {sha}"), "status": "422" }))
                }
                Err(false) => not_found(),
            }
        }
        ("GET", ["repos", owner, name, "commits"]) => {
            let repo = format!("{owner}/{name}");
            let Some(commits) = world.commits.get(&repo) else { return not_found() };
            let all: Vec<_> = commits.iter().map(|(sha, known)| commit(&repo, sha, known)).collect();
            let page = page::github(&all, &format!("/repos/{repo}/commits"), &request.query);
            page.headers
                .into_iter()
                .fold(Answer::new(200, page.items.into()), |answer, (name, value)| answer.with(name, value))
        }
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    Answer::new(404, json!({ "message": "Not Found", "status": "404" }))
}

/// A commit in REST's shape.
fn commit(repo: &str, sha: &str, known: &Commit) -> Value {
    let person = json!({ "name": "Mireia Duran", "email": "mireia@upc.example", "date": "2026-11-23T17:42:03Z" });
    let parents: Vec<_> = (0..known.parents)
        .map(|n| json!({ "sha": format!("{n:040x}"), "url": format!("https://api.github.example/repos/{repo}/commits/{n:040x}") }))
        .collect();
    let verified = known.reason == "valid";
    json!({
        "sha": sha, "node_id": "C_x", "url": format!("https://api.github.example/repos/{repo}/commits/{sha}"),
        "commit": {
            "author": person, "committer": person, "message": "x", "comment_count": 0,
            "tree": { "sha": "0".repeat(40), "url": "https://api.github.example/t" },
            "verification": {
                "verified": verified, "reason": known.reason, "signature": verified.then_some("-----BEGIN …"),
                "payload": verified.then_some("tree …"), "verified_at": verified.then_some("2026-11-23T17:42:05Z")
            }
        },
        "author": null, "committer": null, "parents": parents,
        "stats": { "total": known.additions + known.deletions, "additions": known.additions, "deletions": known.deletions },
        "files": [{ "sha": "1".repeat(40), "filename": "src/lib.rs", "status": "modified", "additions": known.additions,
                    "deletions": known.deletions, "changes": known.additions + known.deletions, "patch": "@@ -1 +1 @@" }]
    })
}

fn graphql(world: &World, request: &Request) -> Answer {
    match world.graphql {
        Graphql::Refuses(status) => {
            return Answer::new(status, json!({ "message": "Resource not accessible by personal access token" }));
        }
        Graphql::LacksAField => {
            let text = "Field 'signature' doesn't exist on type 'Commit'";
            let error = json!({ "message": text, "extensions": { "code": "undefinedField", "typeName": "Commit", "fieldName": "signature" } });
            return Answer::new(200, json!({ "errors": [error] }));
        }
        Graphql::Answers => {}
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let query = body.get("query").and_then(Value::as_str).unwrap_or_default();
    let (Some(owner), Some(name)) = (quoted_after(query, "repository(owner:"), quoted_after(query, "name:")) else {
        return Answer::new(200, json!({ "errors": [{ "message": "Parse error", "type": "PARSE" }] }));
    };
    let repo = format!("{owner}/{name}");
    if !world.knows_everything && !world.commits.contains_key(&repo) {
        let text = format!("Could not resolve to a Repository with the name '{repo}'.");
        let error = json!({ "type": "NOT_FOUND", "path": ["repository"], "message": text });
        return Answer::new(200, json!({ "data": { "repository": null }, "errors": [error] }));
    }
    let asks = |field: &str| query.contains(field);
    let mut objects = Map::new();
    let mut rest = query;
    while let Some(at) = rest.find(": object(oid:") {
        let alias = rest[..at].rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let sha = quoted_after(&rest[at..], "oid:").unwrap_or_default();
        let object = world.commit(&repo, &sha).ok().map(|known| node(&known, &asks));
        objects.insert(alias.to_owned(), object.unwrap_or_default());
        rest = &rest[at + 1..];
    }
    Answer::new(200, json!({ "data": { "repository": objects } }))
}

/// A commit in GraphQL's shape: only what was asked for.
fn node(known: &Commit, asks: &impl Fn(&str) -> bool) -> Value {
    let state = match known.reason {
        "malformed_signature" => "MALFORMED_SIG".to_owned(),
        "unknown_signature_type" => "UNKNOWN_SIG_TYPE".to_owned(),
        other => other.to_uppercase(),
    };
    let signature = (known.reason != "unsigned").then(|| json!({ "isValid": known.reason == "valid", "state": state }));
    let all = [
        ("additions", json!(known.additions)),
        ("deletions", json!(known.deletions)),
        ("parents", json!({ "totalCount": known.parents })),
        ("signature", json!(signature)),
    ];
    Value::Object(
        all.into_iter().filter(|(name, _)| asks(name)).map(|(name, value)| (name.to_owned(), value)).collect(),
    )
}

/// The text between the first two quotes after `before`.
fn quoted_after(text: &str, before: &str) -> Option<String> {
    let from = &text[text.find(before)? + before.len()..];
    from.split('"').nth(1).map(str::to_owned)
}
