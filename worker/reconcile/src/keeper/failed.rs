//! Deliveries that a provider could not make, asked for again: their webhooks know what no API says, who did it.
//!
//! GitHub keeps the deliveries of a hook for three days, Taiga the last ten. What the token or account may not see is
//! left to the lists.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::ids::Project;
use shared::source::Source;
use shared::time::parse_instant;

use crate::client::{GithubApi, Halt, TaigaApi};
use crate::place::{GithubPlace, is_for};

/// A delivery and its redeliveries.
#[derive(Debug, Default)]
struct Attempts {
    first: i64,
    /// The one to be repeated: when, and its id.
    newest: (i64, u64),
    arrived: bool,
}

/// Asks GitHub again for a team's failed deliveries since a time; returns how many.
///
/// # Errors
/// When GitHub does not answer, or at a stop.
pub async fn github(
    api: &GithubApi,
    place: &GithubPlace,
    prj: &Project,
    public_url: Option<&Url>,
    since: i64,
) -> Result<usize, Halt> {
    let api = &GithubApi { kept: None, ..api.clone() };
    let mut owners = Vec::new();
    if place.name.is_none() {
        owners.push(format!("/orgs/{}", place.owner));
    }
    let repositories = api.repositories(&place.owner, place.name.as_deref()).await?.unwrap_or_default();
    owners.extend(repositories.iter().filter_map(|one| Some(format!("/repos/{}", one.get("full_name")?.as_str()?))));
    let mut asked = 0;
    for owner in owners {
        for hook in api.list(format!("{owner}/hooks?per_page=100")).await?.unwrap_or_default() {
            let url = hook.get("config").and_then(|config| config.get("url")?.as_str()).unwrap_or_default();
            let Some(id) = hook.get("id").and_then(Value::as_u64) else { continue };
            if !is_for(public_url, Source::Github, url, prj) {
                continue;
            }
            let path = format!("{owner}/hooks/{id}/deliveries");
            for (_, attempt) in lost(api, &path, since).await? {
                let reply = api.ask(Method::POST, &format!("{path}/{attempt}/attempts")).await?;
                asked += usize::from(reply.status.is_success());
            }
        }
    }
    Ok(asked)
}

/// What never arrived of a hook, in the order in which it was first sent.
async fn lost(api: &GithubApi, path: &str, since: i64) -> Result<Vec<(i64, u64)>, Halt> {
    let mut all = BTreeMap::<String, Attempts>::new();
    let mut pages = api.pages(format!("{path}?per_page=100"), slim_delivery);
    // Newest first, so a page that ends before `since` is the last.
    while let Some(page) = pages.next().await? {
        let mut older = page.is_empty();
        for delivery in &page {
            let number = |name: &str| delivery.get(name).and_then(Value::as_u64);
            let (Some(guid), Some(id)) = (delivery.get("guid").and_then(Value::as_str), number("id")) else { continue };
            let at = delivery.get("delivered_at").and_then(|at| parse_instant(at.as_str()?)).unwrap_or(i64::MAX);
            if at < since {
                older = true;
                continue;
            }
            let attempts = all.entry(guid.to_owned()).or_insert(Attempts { first: at, ..Attempts::default() });
            attempts.first = attempts.first.min(at);
            attempts.newest = attempts.newest.max((at, id));
            attempts.arrived |= number("status_code").is_some_and(|status| (200..300).contains(&status));
        }
        if older {
            break;
        }
    }
    let mut lost: Vec<(i64, u64)> = all
        .into_values()
        .filter(|attempts| !attempts.arrived)
        .map(|attempts| (attempts.first, attempts.newest.1))
        .collect();
    lost.sort_unstable();
    Ok(lost)
}

fn slim_delivery(delivery: &Value) -> Value {
    let part = |name: &str| delivery.get(name).cloned().unwrap_or_default();
    json!({ "id": part("id"), "guid": part("guid"), "delivered_at": part("delivered_at"), "status_code": part("status_code") })
}

/// Asks Taiga again for a project's failed deliveries since a time, of the ten that it keeps; returns how many.
///
/// # Errors
/// When Taiga does not answer, or at a stop.
pub async fn taiga(
    api: &TaigaApi,
    slug: &str,
    prj: &Project,
    public_url: Option<&Url>,
    since: i64,
) -> Result<usize, Halt> {
    let Some(project) = api.get(&format!("/projects/by_slug?slug={slug}")).await? else { return Ok(0) };
    let Some(id) = project.get("id").and_then(Value::as_i64) else { return Ok(0) };
    let mut asked = 0;
    for hook in administered(api, &format!("/webhooks?project={id}")).await? {
        let url = hook.get("url").and_then(Value::as_str).unwrap_or_default();
        let Some(id) = hook.get("id").and_then(Value::as_i64) else { continue };
        if !is_for(public_url, Source::Taiga, url, prj) {
            continue;
        }
        let mut all = BTreeMap::<String, (i64, bool)>::new();
        for log in administered(api, &format!("/webhooklogs?webhook={id}")).await? {
            let Some(id) = log.get("id").and_then(Value::as_i64) else { continue };
            let at = log.get("created").and_then(|at| parse_instant(at.as_str()?)).unwrap_or(i64::MAX);
            let arrived = log.get("status").and_then(Value::as_i64).is_some_and(|status| (200..300).contains(&status));
            let (oldest, seen) = all.entry(identity(&log)).or_insert((id, at < since));
            (*oldest, *seen) = ((*oldest).min(id), *seen || arrived);
        }
        let mut lost: Vec<i64> = all.into_values().filter(|(_, arrived)| !arrived).map(|(id, _)| id).collect();
        // Oldest first: each resend makes a log, and of more than ten the oldest goes, which then was sent again.
        lost.sort_unstable();
        for log in lost {
            let reply = api.ask(Method::POST, &format!("/webhooklogs/{log}/resend")).await?;
            asked += usize::from(reply.status.is_success());
        }
    }
    Ok(asked)
}

/// A list that only a project's administrators see; an empty one to others.
async fn administered(api: &TaigaApi, path: &str) -> Result<Vec<Value>, Halt> {
    let answer = api.ask(Method::GET, path).await?;
    if answer.status == StatusCode::FORBIDDEN {
        return Ok(Vec::new());
    }
    Ok(match answer.json("Taiga", path)? {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

/// A resend has the same type, action, object and date.
fn identity(log: &Value) -> String {
    let data = log.get("request_data").unwrap_or(&Value::Null);
    let part = |name: &str| data.get(name).unwrap_or(&Value::Null).to_string();
    let object = data.get("data").and_then(|data| data.get("id")).unwrap_or(&Value::Null);
    format!("{} {} {object} {}", part("type"), part("action"), part("date"))
}
