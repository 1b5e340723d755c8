//! Requests lost deliveries again at the providers: a webhook contains what no API does, who did it. What the token or
//! account may not see is left to the lists.

use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::ids::Project;
use shared::source::Source;
use worker_providers::asking::TAIGA;

use crate::client::{GithubApi, Halt, TaigaApi};
use crate::deliveries::Deliveries;
use crate::hook_url::is_for;
use crate::place::GithubPlace;

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
            for attempt in deliveries(api, &path, since).await?.lost() {
                let reply = api.ask(Method::POST, &format!("{path}/{attempt}/attempts")).await?;
                asked += usize::from(reply.status.is_success());
            }
        }
    }
    Ok(asked)
}

/// The deliveries of a hook since a time.
async fn deliveries(api: &GithubApi, path: &str, since: i64) -> Result<Deliveries, Halt> {
    let mut all = Deliveries::default();
    let mut pages = api.pages(format!("{path}?per_page=100"), slim_delivery);
    // Newest first, so a page that ends before `since` is the last.
    while let Some(page) = pages.next().await? {
        all.add_github(&page, since);
        if all.has_older || page.is_empty() {
            break;
        }
    }
    Ok(all)
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
        let mut all = Deliveries::default();
        all.add_taiga(&administered(api, &format!("/webhooklogs?webhook={id}")).await?, since);
        for log in all.lost() {
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
    Ok(answer.items(TAIGA, path)?.unwrap_or_default())
}
