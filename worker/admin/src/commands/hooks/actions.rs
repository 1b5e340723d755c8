//! Listing, creating, fixing and removing, as both providers do it.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use worker_reconcile::hook_url::project_of;

use super::args::{DesiredHook, HookArgs, HookFilter, Target};
use super::hook::{Found, Hook, HookProvider};
use crate::clients::refused;
use crate::terminal::{Column, CommandError, Output, Progress, Table, counted, notice, print_json};

/// The answer: hooks, and what is or was done with each.
struct Answer {
    output: Output,
    table: Table,
    lines: usize,
}

impl Answer {
    fn new(args: &HookArgs) -> Self {
        let columns = ["hook", "address", "state"].map(Column::Left);
        Self { output: args.output, table: Table::new(&columns), lines: 0 }
    }

    fn line(&mut self, hook: &Hook, state: &str) {
        let Hook { owner, id, url, wrong } = hook;
        self.lines += 1;
        // One that is only planned has no number.
        let id = (*id != 0).then_some(*id);
        match self.output {
            Output::Table => {
                self.table.row(&[&id.map_or_else(|| owner.clone(), |id| format!("{owner}#{id}")), url, &state])
            }
            Output::Json => print_json(&json!({
                "owner": owner, "id": id, "url": url, "prj": project_of(url), "state": state, "wrong": wrong,
            })),
        }
    }

    fn print(self) {
        if self.output == Output::Table && self.lines > 0 {
            self.table.print();
        }
    }
}

pub(super) fn list<P>(found: Found<P>, args: &HookArgs) -> Result<(), CommandError> {
    let mut answer = Answer::new(args);
    for (_, hook) in &found.hooks {
        let state =
            if hook.wrong.is_empty() { "right".to_owned() } else { format!("wrong: {}", hook.wrong.join(", ")) };
        answer.line(hook, &state);
    }
    answer.print();
    if found.hooks.is_empty() {
        notice(
            "no hook that leads here was found: check --public-url, and that the token or account may administer hooks",
        );
    }
    found.tally.end("Run the same command again for these")
}

/// Creates the hook, or fixes the first of those that are there.
pub(super) async fn create<P: HookProvider>(
    provider: &P,
    owner: String,
    existing: Vec<Hook>,
    (target, body): (&Target, impl Fn(&str) -> Value),
    desired: &DesiredHook,
    args: &HookArgs,
) -> Result<(), CommandError> {
    let mut answer = Answer::new(args);
    let mut existing = existing.into_iter();
    let first = existing.next();
    let url = desired.address(target, first.as_ref().map(|hook| hook.url.as_str()));
    let body = body(&url);
    let send = async |method: Method, path: String| {
        let reply = provider.send(method, &path, Some(&body)).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refused(P::NAME, &path, &reply)) }
    };
    let Some(mut hook) = first else {
        let mut hook = Hook { owner, id: 0, url, wrong: Vec::new() };
        if desired.dry_run {
            provider.ask_permission(&hook.owner, &Method::POST).await?;
        } else {
            let reply = send(Method::POST, P::collection(&hook.owner)).await?;
            let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            hook.id = made.get("id").and_then(Value::as_i64).unwrap_or_default();
        }
        answer.line(&hook, if desired.dry_run { "would be created" } else { "created" });
        answer.print();
        return Ok(());
    };
    if hook.url != url && !hook.wrong.contains(&"url") {
        hook.wrong.push("url");
    }
    if hook.wrong.is_empty() && !desired.set_secret {
        answer.line(&hook, "right");
    } else {
        if desired.dry_run {
            provider.ask_permission(&hook.owner, &Method::PATCH).await?;
        } else {
            send(Method::PATCH, P::path(&hook)).await?;
            hook.url = url;
        }
        answer.line(&hook, if desired.dry_run { "would be fixed" } else { "fixed" });
    }
    answer.print();
    for other in existing {
        notice(format_args!(
            "{}#{} leads here too ({}): one is enough, remove it on {}'s page",
            other.owner,
            other.id,
            other.url,
            P::NAME
        ));
    }
    Ok(())
}

/// Removes hooks one by one; one that cannot be removed stops no other.
pub(super) async fn delete<P: HookProvider>(
    found: Found<P>,
    filter: &HookFilter,
    args: &HookArgs,
) -> Result<(), CommandError> {
    let Found { mut hooks, mut tally } = found;
    hooks.retain(|(_, hook)| filter.takes(&hook.url));
    let (mut refusing, mut removed) = (BTreeMap::new(), 0);
    let mut progress = Progress::new(if filter.yes { "removed" } else { "found" }, "hooks", hooks.len() as u64);
    let mut answer = Answer::new(args);
    let mut ended = Ok(());
    for (provider, hook) in &hooks {
        progress.add(1);
        if !filter.yes {
            let allowed = match refusing.get(&hook.owner) {
                Some(refuses) => Ok(*refuses),
                None => {
                    let asked = provider.ask_permission(&hook.owner, &Method::DELETE).await;
                    tally.tried(&hook.owner, asked).map(|allowed| allowed.is_none())
                }
            };
            match allowed {
                Ok(refuses) => {
                    refusing.insert(&hook.owner, refuses);
                    removed += u64::from(!refuses);
                    answer.line(hook, if refuses { "would not be removed" } else { "would be removed" });
                }
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            continue;
        }
        let path = P::path(hook);
        let done = provider.send(Method::DELETE, &path, None).await.and_then(|reply| match reply.status {
            // Gone already is gone.
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(refused(P::NAME, &path, &reply)),
        });
        match tally.tried(format_args!("{}#{}", hook.owner, hook.id), done) {
            Ok(Some(())) => {
                removed += 1;
                answer.line(hook, "removed");
            }
            Ok(None) => answer.line(hook, "not removed"),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    progress.end();
    answer.print();
    ended?;
    let removed = counted(removed, "hook", "hooks");
    notice(match filter.yes {
        true => format!("removed {removed}"),
        false => format!("{removed} would be removed; add --yes to do it"),
    });
    tally.end("The lines above say which, and why")
}
