//! Webhooks of Taiga's projects. They send every event, as JSON; what can be wrong is the address and the key.

use std::collections::BTreeSet;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::source::Source;
use worker_providers::client::ProviderReply;

use super::actions;
use super::args::{DesiredHook, HookArgs, TaigaPlace};
use super::hook::{Found, Hook, HookProvider};
use crate::args::hook_url::{is_ours, project_of};
use crate::clients::{TAIGA, TaigaClient, no_project};
use crate::terminal::{CommandError, Tally};

/// The hook's name in Taiga's settings.
const NAME: &str = "LD Connect";

impl HookProvider for TaigaClient {
    const NAME: &'static str = TAIGA;

    fn collection(_owner: &str) -> String {
        "/webhooks".to_owned()
    }

    fn path(hook: &Hook) -> String {
        format!("/webhooks/{}", hook.id)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ProviderReply, CommandError> {
        if method == Method::POST {
            self.ask_once(method, path, body).await
        } else {
            self.ask(method, path, body).await
        }
    }
}

/// Ours, each with the account that shows it.
pub(super) async fn find(place: &TaigaPlace, args: &HookArgs) -> Result<Found<TaigaClient>, CommandError> {
    let (clients, base) = args.open()?;
    let (mut hooks, mut seen, mut known) = (Vec::new(), BTreeSet::new(), false);
    let mut tally = Tally::of("account", "accounts");
    for taiga in clients.all_taiga()? {
        let listed = match &place.slug {
            None => taiga.list("/webhooks").await,
            Some(slug) => match taiga.visible_project(slug).await {
                Ok(Some(project)) => {
                    known = true;
                    hooks_of(&taiga, &project).await
                }
                // Another course's account may see it.
                Ok(None) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
        };
        let Some(listed) = tally.tried("the webhooks of an account", listed)? else { continue };
        for (hook, _) in ours(&base, &listed) {
            if seen.insert(hook.id) {
                hooks.push((taiga.clone(), hook));
            }
        }
    }
    match &place.slug {
        Some(slug) if !known && tally.failed() == 0 => Err(no_project(slug, "any account of ours")),
        _ => Ok(Found { hooks, tally }),
    }
}

async fn hooks_of(taiga: &TaigaClient, project: &Value) -> Result<Vec<Value>, CommandError> {
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    taiga.list(&format!("/webhooks?project={id}")).await
}

/// Ours, each with its key.
fn ours(base: &Url, hooks: &[Value]) -> Vec<(Hook, String)> {
    let all = hooks.iter().filter_map(|hook| {
        let url = hook.get("url")?.as_str()?.to_owned();
        let owner = format!("projects/{}", hook.get("project")?.as_i64()?);
        let key = hook.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
        let right =
            Url::parse(&url).is_ok_and(|url| url.path().ends_with("/webhook/taiga")) && project_of(&url).is_some();
        let wrong = if right { Vec::new() } else { vec!["url"] };
        Some((Hook { owner, id: hook.get("id")?.as_i64()?, url, wrong }, key))
    });
    all.filter(|(hook, _)| is_ours(base, &hook.url)).collect()
}

pub(super) async fn create(
    slug: &str,
    desired: &DesiredHook,
    args: &HookArgs,
    secrets: &SignatureArgs,
) -> Result<(), CommandError> {
    let (clients, base) = args.open()?;
    let taiga = clients.taiga(Some(&desired.prj))?;
    let (url, secret) = desired.of(Source::Taiga, &clients, &base, secrets)?;
    let project = taiga.project(slug).await?;
    let hooks = hooks_of(&taiga, &project).await?;
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    let existing = ours(&base, &hooks).into_iter().filter(|(hook, _)| desired.means(&hook.url));
    // Taiga shows the key to whoever administers the project.
    let existing = existing.map(|(mut hook, key)| {
        hook.wrong.extend((key != secret.expose()).then_some("secret"));
        hook
    });
    let body = json!({ "project": id, "name": NAME, "url": url, "key": secret.expose() });
    actions::create(&taiga, format!("projects/{id}"), existing.collect(), (url, body), desired, args).await
}
