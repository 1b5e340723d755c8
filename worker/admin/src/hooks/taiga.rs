//! Webhooks of Taiga's projects. They send every event, as JSON; what can be wrong is the address and the key.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::config::SignatureArgs;
use shared::source::Source;

use super::{Common, Hook, TaigaPlace, Which, Wish, removed};
use crate::ours::{is_ours, project_of};
use crate::remote::{Board, Halt, no_project, refused};
use crate::terminal::tell;

/// What a hook is called in Taiga's settings.
const NAME: &str = "LD Connect";

pub(super) async fn list(place: &TaigaPlace, common: &Common) -> Result<(), Halt> {
    let found = find(place, common).await?;
    common.list(&found.into_iter().map(|(_, hook)| hook).collect::<Vec<_>>());
    Ok(())
}

/// Ours, each with the account that shows it.
async fn find(place: &TaigaPlace, common: &Common) -> Result<Vec<(Board, Hook)>, Halt> {
    let (remote, base) = common.open()?;
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut known, boards) = (false, remote.boards()?);
    for board in boards {
        let hooks = match &place.slug {
            None => board.list("/webhooks").await?,
            Some(slug) => match board.visible_project(slug).await? {
                Some(project) => {
                    known = true;
                    hooks_of(&board, &project).await?
                }
                // Another course's account may see it.
                None => Vec::new(),
            },
        };
        for (hook, _) in ours(&base, &hooks) {
            if seen.insert(hook.id) {
                found.push((board.clone(), hook));
            }
        }
    }
    match &place.slug {
        Some(slug) if !known => Err(no_project(slug, "any account of ours")),
        _ => Ok(found),
    }
}

async fn hooks_of(board: &Board, project: &Value) -> Result<Vec<Value>, Halt> {
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    board.list(&format!("/webhooks?project={id}")).await
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

pub(super) async fn create(slug: &str, wish: &Wish, common: &Common, secrets: &SignatureArgs) -> Result<(), Halt> {
    let (remote, base) = common.open()?;
    let board = remote.board(Some(&wish.prj))?;
    let (url, secret) = wish.of(Source::Taiga, &remote, &base, secrets)?;
    let project = board.project(slug).await?;
    let hooks = hooks_of(&board, &project).await?;
    let id = project.get("id").and_then(Value::as_i64).unwrap_or_default();
    let mut all = ours(&base, &hooks).into_iter().filter(|(hook, _)| wish.means(&hook.url));
    let body = json!({ "project": id, "name": NAME, "url": url, "key": secret.expose() });
    let Some((mut hook, key)) = all.next() else {
        let mut hook = Hook { owner: format!("projects/{id}"), id: 0, url, wrong: Vec::new() };
        if !wish.dry_run {
            let reply = board.ask_once(Method::POST, "/webhooks", Some(&body)).await?;
            if !reply.status.is_success() {
                return Err(refused("Taiga", "/webhooks", &reply));
            }
            let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            hook.id = made.get("id").and_then(Value::as_i64).unwrap_or_default();
        }
        common.line(&hook, if wish.dry_run { "would be created" } else { "created" });
        return Ok(());
    };
    if hook.url != url && hook.wrong.is_empty() {
        hook.wrong.push("url");
    }
    // Taiga shows the key to whoever administers the project.
    if key != secret.expose() {
        hook.wrong.push("secret");
    }
    if hook.wrong.is_empty() && !wish.set_secret {
        common.line(&hook, "right");
    } else {
        if !wish.dry_run {
            let path = format!("/webhooks/{}", hook.id);
            let reply = board.ask(Method::PATCH, &path, Some(&body)).await?;
            if !reply.status.is_success() {
                return Err(refused("Taiga", &path, &reply));
            }
            hook.url = url;
        }
        common.line(&hook, if wish.dry_run { "would be mended" } else { "mended" });
    }
    for (other, _) in all {
        tell(format_args!(
            "{}#{} leads here too ({}): one is enough, remove it on Taiga's page",
            other.owner, other.id, other.url
        ));
    }
    Ok(())
}

pub(super) async fn delete(place: &TaigaPlace, which: &Which, common: &Common) -> Result<(), Halt> {
    let mut found = find(place, common).await?;
    found.retain(|(_, hook)| which.takes(&hook.url));
    let (hooks, mut failed) = (found.len(), 0);
    let mut progress = which.progress(hooks);
    for (board, hook) in found {
        progress.add(1);
        if !which.yes {
            common.line(&hook, "would be removed");
            continue;
        }
        let reply = board.ask(Method::DELETE, &format!("/webhooks/{}", hook.id), None).await?;
        let gone = reply.status.is_success() || reply.status == StatusCode::NOT_FOUND;
        failed += usize::from(!gone);
        let said = format!("not removed: Taiga answered {}", reply.status);
        common.line(&hook, if gone { "removed" } else { &said });
    }
    removed(which, hooks, failed)
}
