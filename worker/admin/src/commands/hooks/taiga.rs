//! Webhooks of Taiga's projects. They send every event, as JSON; what can be wrong is the address and the key.

use std::collections::BTreeSet;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::credentials::{DefaultKeys, Key};
use shared::ids::Project;
use shared::source::Source;
use worker_providers::client::ProviderReply;
use worker_reconcile::hook_url::{is_ours, project_of};

use super::actions;
use super::args::{DesiredHook, HookArgs, TaigaPlace};
use super::hook::{Found, Hook, HookProvider};
use crate::clients::{TAIGA, TaigaClient, no_project};
use crate::terminal::{CommandError, Tally, notice};

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

    async fn ask_permission(&self, owner: &str, _: &Method) -> Result<(), CommandError> {
        let project = self.get(&format!("/{owner}")).await?.unwrap_or_default();
        if project.get("i_am_admin") != Some(&Value::Bool(false)) {
            return Ok(());
        }
        let what = format_args!("Taiga would refuse it for {owner}: the account does not administer the project");
        Err(CommandError::not_found(what, "Let an administrator of the project make the account one, too"))
    }
}

/// Ours, each with the account that shows it. With `secrets` the key of each is compared with ours.
pub(super) async fn find(
    place: &TaigaPlace,
    args: &HookArgs,
    secrets: Option<&SignatureArgs>,
) -> Result<Found<TaigaClient>, CommandError> {
    let (clients, base) = args.open()?;
    let keys = secrets.map(DefaultKeys::new).transpose().map_err(CommandError::usage)?;
    let courses = clients.courses.courses();
    let mut unset = BTreeSet::new();
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
        for (mut hook, key) in ours(&base, &listed) {
            if seen.insert(hook.id) {
                let prj = project_of(&hook.url).and_then(|prj| Project::new(&prj).ok());
                if let (Some(keys), Some(prj)) = (&keys, prj) {
                    let keys = keys.in_force(&courses, Source::Taiga, Some(&prj));
                    hook.wrong.extend(wrong_key(&keys, &key));
                    unset.extend(keys.is_empty().then_some(prj));
                }
                hooks.push((taiga.clone(), hook));
            }
        }
    }
    if !unset.is_empty() {
        let unset: Vec<_> = unset.iter().map(Project::as_str).collect();
        notice(format_args!(
            "keys were not compared: TAIGA_SECRET (or taiga_secret in the credentials file), as ingress has it, is not set here for {}",
            unset.join(", ")
        ));
    }
    match &place.slug {
        Some(slug) if !known && tally.failed() == 0 => Err(no_project(slug, "any of our accounts")),
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
    let project = taiga.project(slug).await?;
    let hooks = hooks_of(&taiga, &project).await?;
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    let existing = ours(&base, &hooks).into_iter().filter(|(hook, _)| desired.means(&hook.url));
    let target = desired.target(Source::Taiga, &clients, base.clone(), secrets)?;
    let key = target.secret.expose();
    let existing = existing.map(|(mut hook, its)| {
        hook.wrong.extend((its != key).then_some("secret"));
        hook
    });
    let body = |url: &str| json!({ "project": id, "name": NAME, "url": url, "key": key });
    actions::create(&taiga, format!("projects/{id}"), existing.collect(), (&target, body), desired, args).await
}

/// What is wrong with a key, which Taiga shows to those who administer the project. The first of ours is the one that it
/// should be; another is accepted while the secret is being changed.
fn wrong_key(ours: &[Key], its: &str) -> Option<&'static str> {
    match ours.iter().position(|key| key.secret.expose() == its) {
        Some(0) => None,
        Some(_) => Some("old secret"),
        None => (!ours.is_empty()).then_some("secret"),
    }
}
