//! Hooks of organisations and repositories.

use std::collections::BTreeSet;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::source::Source;
use worker_providers::client::ProviderReply;
use worker_reconcile::hook_url::{is_ours, project_of};

use super::actions;
use super::args::{DesiredHook, GithubPlace, HookArgs};
use super::hook::{Found, Hook, HookProvider};
use crate::clients::{Clients, GITHUB, GithubClient};
use crate::terminal::{CommandError, Progress, Tally, notice};

/// The events that make documents; a hook sends no others.
const EVENTS: [&str; 4] = ["issues", "pull_request", "push", "repository"];

impl HookProvider for GithubClient {
    const NAME: &'static str = GITHUB;

    fn collection(owner: &str) -> String {
        format!("/{owner}/hooks")
    }

    fn path(hook: &Hook) -> String {
        format!("/{}/hooks/{}", hook.owner, hook.id)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ProviderReply, CommandError> {
        if method == Method::POST {
            self.ask_once(method, path, body).await
        } else {
            self.ask(method, path, body).await
        }
    }

    async fn ask_permission(&self, owner: &str, method: &Method) -> Result<(), CommandError> {
        let path = format!("/{owner}");
        let reply = self.ask(Method::GET, &path, None).await?;
        let place: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let refused = |why: String, advice: &'static str| {
            Err(CommandError::not_found(format_args!("GitHub would refuse it for {owner}: {why}"), advice))
        };
        if place.pointer("/permissions/admin") == Some(&Value::Bool(false)) {
            return refused("the token's account does not administer it".to_owned(), "Use the token of one that does");
        }
        let needed = needed_scopes(owner, method);
        match reply.headers.get("x-oauth-scopes").and_then(|scopes| scopes.to_str().ok()) {
            Some(scopes) if !scopes.split(',').any(|scope| needed.contains(&scope.trim())) => {
                let needed = needed.join(" or ");
                refused(format!("the token has the scopes {scopes:?} and needs {needed}"), "Give the token that scope")
            }
            None if self.is_fine_grained() => {
                notice(format_args!(
                    "{owner}: GitHub does not say beforehand what a fine-grained token may change; it needs \"Webhooks\" (of an organisation \"Organization webhooks\"), read and write"
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The scopes of a classic token, one of which GitHub wants.
fn needed_scopes(owner: &str, method: &Method) -> &'static [&'static str] {
    match (owner.starts_with("orgs/"), method) {
        (true, _) => &["admin:org_hook"],
        (false, &Method::DELETE) => &["admin:repo_hook", "repo", "public_repo"],
        (false, _) => &["admin:repo_hook", "write:repo_hook", "repo", "public_repo"],
    }
}

/// Ours, each with the token that shows it.
pub(super) async fn find(place: &GithubPlace, args: &HookArgs) -> Result<Found<GithubClient>, CommandError> {
    let (clients, base) = args.open()?;
    let (mut hooks, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut unseen, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let mut tally = Tally::of("organisation or repository", "organisations and repositories");
    let mut progress = Progress::new("looked at", "organisations and repositories", None);
    for github in clients.all_github()? {
        let owners = owners(&clients, &github, place).await?;
        progress.expect(progress.done() + owners.len() as u64);
        for owner in owners {
            progress.add(1);
            let listed = github.all_it_may_see(format!("/{owner}/hooks?per_page=100")).await;
            let Some(listed) = tally.tried(&owner, listed)? else { continue };
            let Some(listed) = listed else {
                unseen.insert(owner);
                continue;
            };
            for hook in ours(&base, &owner, &listed) {
                if seen.insert((hook.owner.clone(), hook.id)) {
                    hooks.push((github.clone(), hook));
                }
            }
            shown.insert(owner);
        }
    }
    progress.end();
    let unseen: Vec<_> = unseen.difference(&shown).map(String::as_str).collect();
    if !unseen.is_empty() {
        notice(format_args!("no token may see the hooks of: {}", unseen.join(", ")));
    }
    Ok(Found { hooks, tally })
}

/// Where to look, such as `orgs/upc-pes` and `repos/upc-pes/marmota`.
async fn owners(
    clients: &Clients,
    github: &GithubClient,
    place: &GithubPlace,
) -> Result<BTreeSet<String>, CommandError> {
    let Some(org) = &place.org else { return all_owners(clients, github).await };
    // What this token does not see, another course's may.
    let repositories = github.visible_repositories(org, place.repo.as_deref()).await?.unwrap_or_default();
    let whole = place.repo.is_none().then(|| format!("orgs/{org}"));
    Ok(whole.into_iter().chain(repositories.iter().filter_map(repository)).collect())
}

/// Wherever a token reaches: GitHub lists a classic token's organisations only where it has `read:org`, and none to a
/// fine-grained one. So those of its repositories and of the credentials file are looked at, too.
async fn all_owners(clients: &Clients, github: &GithubClient) -> Result<BTreeSet<String>, CommandError> {
    let orgs = github.all_it_may_see("/user/orgs?per_page=100".to_owned()).await?;
    let repos = github.all("/user/repos?per_page=100".to_owned()).await?.unwrap_or_default();
    if orgs.is_none() || github.is_fine_grained() {
        notice(format_args!(
            "GitHub does not list the organisations of the token of {}: looked at those of its repositories and of the credentials file. Name another with --org, or use a classic token with read:org",
            github.label()
        ));
    }
    let login = |org: &Value| Some(format!("orgs/{}", org.get("login")?.as_str()?));
    let owning = repos.iter().filter_map(|repo| repo.get("owner"));
    let owning = owning.filter(|owner| owner.get("type").and_then(Value::as_str) == Some("Organization"));
    let mut owners: BTreeSet<String> = orgs.iter().flatten().chain(owning).filter_map(login).collect();
    owners.extend(repos.iter().filter_map(repository));
    owners.extend(clients.places_of(github).into_iter().map(|place| match place.contains('/') {
        true => format!("repos/{place}"),
        false => format!("orgs/{place}"),
    }));
    Ok(owners)
}

fn repository(one: &Value) -> Option<String> {
    Some(format!("repos/{}", one.get("full_name")?.as_str()?))
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
        (path && project_of(url).is_some(), "url"),
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
    desired: &DesiredHook,
    args: &HookArgs,
    secrets: &SignatureArgs,
) -> Result<(), CommandError> {
    let (clients, base) = args.open()?;
    let github = clients.github(Some(&desired.prj))?;
    let owner = repo.map_or_else(|| format!("orgs/{org}"), |repo| format!("repos/{org}/{repo}"));
    let hooks = github.all_it_may_see(format!("/{owner}/hooks?per_page=100")).await?.ok_or_else(|| {
        CommandError::not_found(
            format_args!("GitHub shows no hooks of {owner} to this token"),
            "Check --org and --repo, and that the token has admin:org_hook (or, with --repo, admin:repo_hook); a person has hooks only with --repo",
        )
    })?;
    let existing = ours(&base, &owner, &hooks).into_iter().filter(|hook| desired.means(&hook.url)).collect();
    let target = desired.target(Source::Github, &clients, base, secrets)?;
    let body = |url: &str| {
        json!({
            "name": "web", "active": true, "events": EVENTS,
            "config": { "url": url, "content_type": "json", "insecure_ssl": "0", "secret": target.secret.expose() },
        })
    };
    actions::create(&github, owner, existing, (&target, body), desired, args).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_keeps_a_hook_from_working_is_listed() {
        let right = json!({
            "id": 1, "active": true, "events": ["push", "pull_request", "issues", "repository"],
            "config": { "url": "https://x/webhook/github?prj=A", "content_type": "json", "insecure_ssl": "0", "secret": "********" },
        });
        assert!(wrong(&right).is_empty());
        let all = json!({ "id": 1, "active": false, "events": ["*"],
            "config": { "url": "https://x/webhook/github", "content_type": "form", "insecure_ssl": "1" } });
        assert_eq!(wrong(&all), ["url", "content type", "events", "inactive", "insecure", "no secret"]);
    }
}
