//! Documents show what GitHub and Taiga show, also of what no webhook said: `worker reconcile`, and the worker by itself.

use std::time::Duration;

use anyhow::ensure;
use bson::Document;
use harness::providers::Providers;
use harness::providers::board::Board;
use harness::providers::hooks::{endpoint, taiga_hook};
use harness::providers::hub::Repo;
use harness::sender::{Delivery, Source, github, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::operators::commands::{command, done};
use crate::pipeline::enrich::{send, stack};
use crate::{LONG, SOON};

const SLUG: &str = "mireia-marmota";
const BOARD: i64 = 31;

/// `Team` has a place at both providers, `Truth` gets webhooks of what they show now.
async fn start(providers: &Providers, name: &str, options: Options) -> Stack {
    let account = json!({ "github_token": "t", "taiga_user": "teacher", "taiga_password": "hush-hush" });
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.accounts.insert("teacher".into(), "hush-hush".into());
    }
    let mut team = account.clone();
    team["github"] = json!({ "Team": github::REPO });
    team["taiga"] = json!({ "Team": SLUG });
    team["quality_model"] = json!("AMEP");
    stack(providers, name, &[("Team", team)], options).await
}

/// By itself, as often as it looks.
fn often() -> Options {
    Options::default().env("RECONCILE", "2s")
}

const DATE: &str = "2026-11-23T17:00:00.500Z";

fn created(kind: &str, data: Value) -> Value {
    taiga::event(kind, "create", DATE, data)
}

/// Three sprints, two epics, stories with tasks, an issue; all of it told.
fn project() -> Vec<Value> {
    let sprints: Vec<Value> = (1..=3).map(|n| taiga::milestone(n, &format!("Sprint {n}"))).collect();
    let story = |id: i64, sprint: usize| {
        let mut story = taiga::userstory(id, &format!("Story {id}"));
        story["milestone"] = sprints[sprint].clone();
        story["custom_attributes_values"] = json!({ "Priority": "High", "Hores. $reals": 2.5 });
        story["points"] = json!([{ "role": "Back", "name": "3", "value": 3.0 }]);
        story["assigned_to"] = taiga::task(1, "", Value::Null)["assigned_to"].clone();
        story
    };
    let task = |id: i64, story: &Value| {
        let mut task = taiga::task(id, &format!("Task {id}"), story.clone());
        task["milestone"] = story["milestone"].clone();
        task["custom_attributes_values"] = json!({ "Estimated hours": 8 });
        task
    };
    let stories = [story(1, 0), story(2, 0), story(3, 1), story(4, 2), story(5, 1)];
    let epics = [taiga::epic(7, "Login"), taiga::epic(8, "Hours")];
    let mut all: Vec<Value> = sprints.iter().map(|sprint| created("milestone", sprint.clone())).collect();
    all.extend(epics.iter().map(|epic| created("epic", epic.clone())));
    all.extend(stories.iter().map(|story| created("userstory", story.clone())));
    for (id, story) in [(11, 0), (12, 0), (13, 1), (14, 2), (15, 3), (16, 4)] {
        all.push(created("task", task(id, &stories[story])));
    }
    all.extend([(0, 0), (1, 1), (2, 0)].map(|(story, epic)| {
        created("relateduserstory", taiga::related(stories[story].clone(), epics[epic].clone()))
    }));
    all.push(created("issue", taiga::issue(21, "It breaks")));
    all
}

/// Everything that Taiga changes without a webhook, and webhooks that were lost.
fn change_silently(board: &mut Board) {
    board.rename_status("task", "In progress", "Doing");
    board.rename_attribute("userstory", "Hores. $reals", "Hours");
    board.revalue_points("3", 5.0);
    board.rename_user("roger", "rtorrents");
    // The last task of a story closes it, and the story its sprint.
    board.change("userstory", 1, |story| story["is_closed"] = json!(true));
    board.change("milestone", 1, |sprint| sprint["closed"] = json!(true));
    board.change("milestone", 2, |sprint| sprint["name"] = json!("Sprint two"));
    // A story moves, and its tasks with it.
    let elsewhere = taiga::milestone(2, "Sprint two");
    board.change("userstory", 2, |story| story["milestone"] = elsewhere.clone());
    board.change("task", 13, |task| task["milestone"] = elsewhere);
    // An epic is renamed, another is deleted, and a link is cut.
    board.change("epic", 7, |epic| epic["subject"] = json!("Sign in"));
    board.remove("epic", 8);
    board.tell(&taiga::event("relateduserstory", "delete", DATE, taiga::related(json!({ "id": 3 }), json!({ "id": 7 }))));
    // A story goes with its tasks, a task alone (it was promoted), a sprint goes.
    board.remove("userstory", 5);
    board.remove("task", 12);
    board.remove("milestone", 3);
    board.change("issue", 21, |issue| issue["description"] = json!("It breaks on Sundays."));
    // What was made, and never told.
    let mut story = taiga::userstory(6, "Promoted");
    story["milestone"] = Value::Null;
    board.tell(&created("userstory", story.clone()));
    board.tell(&created("task", taiga::task(17, "Of a lost webhook", story)));
}

const TAIGA: [&str; 4] = ["userstories", "tasks", "issues", "epics"];
const GITHUB: [&str; 3] = ["commits", "issues", "pull_requests"];

/// What a collection shows of what a provider shows.
async fn shown(stack: &Stack, source: &str, project: &str, suffix: &str) -> anyhow::Result<Vec<Document>> {
    let mut all = stack.documents(&format!("{source}_{project}.{suffix}")).await?;
    for document in &mut all {
        for only_webhooks in ["prj", "action_type", "assigned_by", "action", "sender_info"] {
            document.remove(only_webhooks);
        }
    }
    all.sort_by_cached_key(ToString::to_string);
    Ok(all)
}

async fn settled(stack: &Stack) {
    stack.eventually("everything is settled", LONG, async || stack.nothing_pending().await).await.unwrap();
}

/// What the stand-in shows, as documents of `Truth`.
async fn tell_truth(stack: &Stack, webhooks: &[Value]) {
    for webhook in webhooks {
        send(stack, "Truth", Delivery::taiga(webhook)).await;
    }
    settled(stack).await;
}

async fn equals_truth(stack: &Stack, source: &str, suffixes: &[&str]) -> anyhow::Result<()> {
    for suffix in suffixes {
        let (team, truth) = (shown(stack, source, "Team", suffix).await?, shown(stack, source, "Truth", suffix).await?);
        ensure!(!truth.is_empty(), "there is no truth of {suffix}");
        let (missing, wrong): (Vec<_>, Vec<_>) = (
            truth.iter().filter(|one| !team.contains(one)).collect(),
            team.iter().filter(|one| !truth.contains(one)).collect(),
        );
        ensure!(missing.is_empty() && wrong.is_empty(), "{suffix}\nshould be\n{missing:#?}\nand is\n{wrong:#?}");
    }
    Ok(())
}

/// A team as Taiga told it, and the board of which it is.
async fn told(providers: &Providers, stack: &Stack, webhooks: &[Value]) {
    let mut board = Board::new(BOARD, "Marmota – Pràctica");
    for webhook in webhooks {
        board.tell(webhook);
        send(stack, "Team", Delivery::taiga(webhook)).await;
    }
    providers.world().boards.insert(SLUG.to_owned(), board);
    settled(stack).await;
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_taiga_changes_silently_ends_in_the_documents_without_an_operator() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-silent", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let webhooks = {
        let mut world = providers.world();
        let board = world.boards.get_mut(SLUG).unwrap();
        change_silently(board);
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    tell_truth(&stack, &webhooks).await;
    assert!(equals_truth(&stack, "taiga", &TAIGA).await.is_err(), "nothing differs: this run proves nothing");

    let by_itself = stack_again(&stack, &often()).await;
    let told = async || equals_truth(&stack, "taiga", &TAIGA).await;
    by_itself.eventually_of(&stack, "the documents show what Taiga shows", told).await;
    settled(&stack).await;
    let types: std::collections::BTreeSet<_> = stack
        .eval
        .accepted("Team")
        .iter()
        .filter(|notified| notified.triple().1 == "backfill" && notified.triple().2 == Some("AMEP"))
        .map(|notified| notified.text("event_type").to_owned())
        .collect();
    for event_type in ["userstory", "task", "issue", "epic"] {
        assert!(types.contains(event_type), "LD Eval was not notified of {event_type}: {types:?}");
    }
}
