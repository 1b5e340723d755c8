//! Documents show what GitHub and Taiga show, also of what no webhook said: `worker reconcile`, and the worker by itself.

use std::time::Duration;

use anyhow::ensure;
use bson::Document;
use harness::providers::Providers;
use harness::providers::board::Board;
use harness::sender::{Delivery, github, taiga};
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
    all.extend(
        [(0, 0), (1, 1), (2, 0)].map(|(story, epic)| {
            created("relateduserstory", taiga::related(stories[story].clone(), epics[epic].clone()))
        }),
    );
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
    board.tell(&taiga::event(
        "relateduserstory",
        "delete",
        DATE,
        taiga::related(json!({ "id": 3 }), json!({ "id": 7 })),
    ));
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
    let stack = start(&providers, "reconcile-silent", often()).await;
    told(&providers, &stack, &project()).await;
    let webhooks = {
        let mut world = providers.world();
        let board = world.boards.get_mut(SLUG).unwrap();
        change_silently(board);
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    tell_truth(&stack, &webhooks).await;
    let equal = async || equals_truth(&stack, "taiga", &TAIGA).await;
    stack.eventually("the documents show what Taiga shows", LONG, equal).await.unwrap();
    let notified = async || {
        let accepted = stack.eval.accepted("Team");
        let ours = accepted.iter().filter(|notified| notified.triple().1 == "backfill");
        ensure!(ours.clone().all(|notified| notified.triple().2 == Some("AMEP")), "the course's quality model");
        let types: std::collections::BTreeSet<_> =
            ours.map(|notified| notified.text("event_type").to_owned()).collect();
        for event_type in ["userstory", "task", "issue", "epic"] {
            ensure!(types.contains(event_type), "LD Eval was notified of {types:?}");
        }
        Ok(())
    };
    stack.eventually("LD Eval is notified of every type", SOON, notified).await.unwrap();
}

#[tokio::test]
async fn a_team_in_order_costs_seven_requests_and_no_event_and_no_notification() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-in-order", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let lists = ["reconcile", "--prj", "Team", "--source", "taiga", "--since", "0s", "--output", "json"];
    // What webhooks say and the API does not is left alone; what both say is the same.
    let found = lines(&done(&stack, &lists).await);
    assert!(found.iter().all(|line| line["checked"] == line["same"]), "{found:#?}");
    let checked: u64 = found.iter().map(|line| line["checked"].as_u64().unwrap()).sum();
    assert_eq!(checked, 2 + 5 + 5 + 6 + 1 + 3, "epics, stories, their links, tasks, an issue, milestones");
    let (events, notified) = (stack.messages("LD_EVENTS").await.unwrap(), stack.eval.accepted("Team").len());
    let before = providers.calls().len();
    done(&stack, &lists).await;
    let calls: Vec<_> = providers.calls()[before..].iter().map(|call| call.path.clone()).collect();
    assert_eq!(calls.iter().filter(|path| *path != "/auth").count(), 7, "{calls:#?}");
    // And with every object: a description or attributes of each story and issue, attributes of each task.
    let before = providers.calls().len();
    let found = lines(&done(&stack, &["reconcile", "--prj", "Team", "--source", "taiga", "--output", "json"]).await);
    assert!(found.iter().all(|line| line["checked"] == line["same"]), "{found:#?}");
    let calls = providers.calls()[before..].iter().filter(|call| call.path != "/auth").count();
    assert_eq!(calls, 7 + 5 * 2 + 6 + 1);
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), events, "a team in order costs no event");
    assert_eq!(stack.eval.accepted("Team").len(), notified, "and no notification");
}

#[tokio::test]
async fn what_an_account_may_not_see_is_not_taken_for_gone() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-unseen", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let before = stack.documents("taiga_Team.tasks").await.unwrap();
    providers.world().boards.get_mut(SLUG).unwrap().permissions.remove("view_tasks");
    let output = command(&stack, &["reconcile", "--prj", "Team", "--source", "taiga"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("view_tasks"), "{said}");
    settled(&stack).await;
    assert_eq!(stack.documents("taiga_Team.tasks").await.unwrap(), before);
}

#[tokio::test]
async fn removing_more_than_a_third_waits_for_a_person() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-third", Options::default()).await;
    let mut webhooks = project();
    webhooks.extend((100..112).map(|id| created("issue", taiga::issue(id, "One of many"))));
    told(&providers, &stack, &webhooks).await;
    (100..112).for_each(|id| providers.world().boards.get_mut(SLUG).unwrap().remove("issue", id));
    let args = ["reconcile", "--prj", "Team", "--source", "taiga"];
    let output = command(&stack, &args).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("--yes"), "{said}");
    settled(&stack).await;
    assert_eq!(stack.documents("taiga_Team.issues").await.unwrap().len(), 13);
    done(&stack, &[&args[..], &["--yes"]].concat()).await;
    settled(&stack).await;
    assert_eq!(stack.documents("taiga_Team.issues").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_outage_of_ingress_under_500_changes_needs_no_operator() {
    let providers = Providers::start().unwrap();
    let mut stack = start(&providers, "reconcile-outage", Options::default().env("RECONCILE", "nightly")).await;
    let mut webhooks = project();
    let story = taiga::userstory(1, "Story 1");
    let tasks = |range: std::ops::Range<i64>| {
        let story = story.clone();
        range.map(move |id| created("task", taiga::task(id, &format!("Task {id}"), story.clone())))
    };
    webhooks.extend(tasks(1_000..1_500));
    told(&providers, &stack, &webhooks).await;
    // A beat before, so that its absence is seen.
    let beat = async || {
        ensure!(stack.messages("LD_BEATS").await? > 0, "no beat yet");
        Ok(())
    };
    stack.eventually("ingress beats", SOON, beat).await.unwrap();
    stack.ingress.process.kill().unwrap();
    let truth = {
        let mut world = providers.world();
        let board = world.boards.get_mut(SLUG).unwrap();
        (1_000..1_100).for_each(|id| board.remove("task", id));
        for id in 1_100..1_450 {
            board.change("task", id, |task| task["subject"] = json!(format!("Changed {id}")));
        }
        tasks(2_000..2_050).for_each(|webhook| board.tell(&webhook));
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    // An outage is as long as it is: two beats must be missing.
    tokio::time::sleep(shared::beat::GAP + Duration::from_secs(5)).await;
    stack.ingress.start_again().await.unwrap();
    stack.sender = stack.sender.to(&stack.ingress.webhooks());
    tell_truth(&stack, &truth).await;
    let equal = async || equals_truth(&stack, "taiga", &["tasks", "userstories"]).await;
    stack.eventually("the documents show what Taiga shows", LONG, equal).await.unwrap();
}
