//! Hooks of organisations and repositories.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::source::Source;

use super::{Common, GithubPlace, Hook, Which, Wish, removed};
use crate::ours::is_ours;
use crate::remote::{Halt, Hub, refused};
use crate::terminal::{Progress, tell};

/// What a hook is to send: what comes to a document, and nothing else.
const EVENTS: [&str; 3] = ["issues", "pull_request", "push"];

pub(super) async fn list(place: &GithubPlace, common: &Common) -> Result<(), Halt> {
    let found = find(place, common).await?;
    common.list(&found.into_iter().map(|(_, hook)| hook).collect::<Vec<_>>());
    Ok(())
}

/// Ours, each with the token that shows it.
async fn find(place: &GithubPlace, common: &Common) -> Result<Vec<(Hub, Hook)>, Halt> {
    let (remote, base) = common.open()?;
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut unseen, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let mut progress = Progress::new("looked at", "organisations and repositories", None);
    for hub in remote.hubs()? {
        let owners = owners(&hub, place).await?;
        progress.expect(progress.done() + owners.len() as u64);
        for owner in owners {
            progress.add(1);
            let Some(hooks) = hub.all_it_may_see(format!("/{owner}/hooks?per_page=100")).await? else {
                unseen.insert(owner);
                continue;
            };
            for hook in ours(&base, &owner, &hooks) {
                if seen.insert((hook.owner.clone(), hook.id)) {
                    found.push((hub.clone(), hook));
                }
            }
            shown.insert(owner);
        }
    }
    progress.end();
    let unseen: Vec<_> = unseen.difference(&shown).map(String::as_str).collect();
    if !unseen.is_empty() {
        tell(format_args!("no token may see the hooks of: {}", unseen.join(", ")));
    }
    Ok(found)
}

/// Where to look, such as `orgs/upc-pes` and `repos/upc-pes/marmota`.
async fn owners(hub: &Hub, place: &GithubPlace) -> Result<Vec<String>, Halt> {
    let repositories = |all: Vec<Value>| {
        let name = |one: &Value| Some(format!("repos/{}", one.get("full_name")?.as_str()?));
        all.iter().filter_map(name).collect::<Vec<_>>()
    };
    let Some(org) = &place.org else {
        let orgs = hub.all("/user/orgs?per_page=100".to_owned()).await?.unwrap_or_default();
        let repos = hub.all("/user/repos?per_page=100".to_owned()).await?.unwrap_or_default();
        let orgs = orgs.iter().filter_map(|org| Some(format!("orgs/{}", org.get("login")?.as_str()?)));
        return Ok(orgs.chain(repositories(repos)).collect());
    };
    // What this token does not see, another course's may.
    let all = repositories(hub.visible_repositories(org, place.repo.as_deref()).await?.unwrap_or_default());
    let whole = place.repo.is_none().then(|| format!("orgs/{org}"));
    Ok(whole.into_iter().chain(all).collect())
}

fn ours(base: &Url, owner: &str, hooks: &[Value]) -> Vec<Hook> {
    let all = hooks.iter().filter_map(|hook| {
        let url = hook.get("config")?.get("url")?.as_str()?;
        let id = hook.get("id")?.as_i64()?;
        Some(Hook { owner: owner.to_owned(), id, url: url.to_owned(), wrong: wrong(hook) })
    });
    all.filter(|hook| is_ours(base, &hook.url)).collect()
}

/// What is wrong with a hook, whatever its address should be.
fn wrong(hook: &Value) -> Vec<&'static str> {
    let config = |name: &str| hook.get("config").and_then(|config| config.get(name));
    let mut events: Vec<_> =
        hook.get("events").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    events.sort_unstable();
    let url = config("url").and_then(Value::as_str).unwrap_or_default();
    let path = Url::parse(url).is_ok_and(|url| url.path().ends_with("/webhook/github"));
    let checks = [
        (path && crate::ours::project_of(url).is_some(), "url"),
        (config("content_type") == Some(&json!("json")), "content type"),
        (events == EVENTS, "events"),
        (hook.get("active") != Some(&Value::Bool(false)), "inactive"),
        (config("insecure_ssl").is_none_or(|value| *value == json!("0") || *value == json!(0)), "insecure"),
        (config("secret").is_some(), "no secret"),
    ];
    checks.into_iter().filter(|(right, _)| !right).map(|(_, what)| what).collect()
}

pub(super) async fn create(
    (org, repo): (&str, Option<&str>),
    wish: &Wish,
    common: &Common,
    secrets: &SignatureArgs,
) -> Result<(), Halt> {
    let (remote, base) = common.open()?;
    let hub = remote.hub(Some(&wish.prj))?;
    let (url, secret) = wish.of(Source::Github, &remote, &base, secrets)?;
    let owner = repo.map_or_else(|| format!("orgs/{org}"), |repo| format!("repos/{org}/{repo}"));
    let hooks = hub.all_it_may_see(format!("/{owner}/hooks?per_page=100")).await?.ok_or_else(|| {
        Halt::Failed(format!("GitHub shows no hooks of {owner} to this token: check --org and --repo, and that the token has admin:org_hook (or, with --repo, admin:repo_hook); a person has hooks only with --repo"))
    })?;
    let mut all = ours(&base, &owner, &hooks).into_iter().filter(|hook| wish.means(&hook.url));
    let body = json!({
        "name": "web", "active": true, "events": EVENTS,
        "config": { "url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret.expose() },
    });
    let Some(mut hook) = all.next() else {
        let mut hook = Hook { owner, id: 0, url, wrong: Vec::new() };
        if !wish.dry_run {
            let path = format!("/{}/hooks", hook.owner);
            let reply = hub.ask_once(Method::POST, &path, Some(&body)).await?;
            if !reply.status.is_success() {
                return Err(refused("GitHub", &path, &reply));
            }
            let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            hook.id = made.get("id").and_then(Value::as_i64).unwrap_or_default();
        }
        common.line(&hook, if wish.dry_run { "would be created" } else { "created" });
        return Ok(());
    };
    if hook.url != url && !hook.wrong.contains(&"url") {
        hook.wrong.push("url");
    }
    if hook.wrong.is_empty() && !wish.set_secret {
        common.line(&hook, "right");
    } else {
        if !wish.dry_run {
            let path = format!("/{}/hooks/{}", hook.owner, hook.id);
            let reply = hub.ask(Method::PATCH, &path, Some(&body)).await?;
            if !reply.status.is_success() {
                return Err(refused("GitHub", &path, &reply));
            }
            hook.url = url;
        }
        common.line(&hook, if wish.dry_run { "would be mended" } else { "mended" });
    }
    for other in all {
        tell(format_args!(
            "{}#{} leads here too ({}): one is enough, remove it on GitHub's page",
            other.owner, other.id, other.url
        ));
    }
    Ok(())
}

pub(super) async fn delete(place: &GithubPlace, which: &Which, common: &Common) -> Result<(), Halt> {
    let mut found = find(place, common).await?;
    found.retain(|(_, hook)| which.takes(&hook.url));
    let (hooks, mut failed) = (found.len(), 0);
    let mut progress = which.progress(hooks);
    for (hub, hook) in found {
        progress.add(1);
        if !which.yes {
            common.line(&hook, "would be removed");
            continue;
        }
        let path = format!("/{}/hooks/{}", hook.owner, hook.id);
        let reply = hub.ask(Method::DELETE, &path, None).await?;
        // Gone already is gone.
        let gone = reply.status.is_success() || reply.status == StatusCode::NOT_FOUND;
        failed += usize::from(!gone);
        let said = format!("not removed: GitHub answered {}", reply.status);
        common.line(&hook, if gone { "removed" } else { &said });
    }
    removed(which, hooks, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_that_keeps_a_hook_from_working_is_told() {
        let right = json!({
            "id": 1, "active": true, "events": ["push", "pull_request", "issues"],
            "config": { "url": "https://x/webhook/github?prj=A", "content_type": "json", "insecure_ssl": "0", "secret": "********" },
        });
        assert!(wrong(&right).is_empty());
        let all = json!({ "id": 1, "active": false, "events": ["*"],
            "config": { "url": "https://x/webhook/github", "content_type": "form", "insecure_ssl": "1" } });
        assert_eq!(wrong(&all), ["url", "content type", "events", "inactive", "insecure", "no secret"]);
    }
}
