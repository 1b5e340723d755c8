//! Documents show what GitHub and Taiga show, also without a webhook: `worker reconcile`, and automatic reconciliation.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use bson::Document;
use harness::process::Signal;
use harness::process::log::field;
use harness::providers::board::Board;
use harness::providers::hooks::{endpoint, github_hook, taiga_hook};
use harness::providers::hub::Repo;
use harness::providers::{Behaviour, Call, Providers};
use harness::sender::{Delivery, Source, github, taiga};
use harness::stack::{Options, Stack};
use harness::time::now_ms;
use serde_json::{Value, json};
use shared::config::StreamArgs;
use shared::topology::Topology;

use crate::operators::commands::{command, done, process};
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

/// Automatic, at the shortest interval.
fn often() -> Options {
    Options::default().env("RECONCILE", "2s")
}

const DATE: &str = "2026-11-23T17:00:00.500Z";

fn created(kind: &str, data: Value) -> Value {
    taiga::event(kind, "create", DATE, data)
}

/// The id of an issue of which the worker reads more today than lists contain: it reads a seventh of all each day. In the
/// last moments of a day, of one that it reads tomorrow.
fn read_today() -> i64 {
    let day = (now_ms() + 20_000) / 86_400_000;
    21 + day % 7
}

/// The id of the only issue.
fn issue_of(board: &Board) -> i64 {
    let webhooks = board.webhooks(DATE);
    webhooks.iter().find(|webhook| webhook["type"] == "issue").unwrap()["data"]["id"].as_i64().unwrap()
}

/// Three milestones, two epics, stories with tasks, an issue; each with its webhook.
fn project() -> Vec<Value> {
    let milestones: Vec<Value> = (1..=3).map(|n| taiga::milestone(n, &format!("Sprint {n}"))).collect();
    let story = |id: i64, milestone: usize| {
        let mut story = taiga::userstory(id, &format!("Story {id}"));
        story["milestone"] = milestones[milestone].clone();
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
    let mut all: Vec<Value> = milestones.iter().map(|milestone| created("milestone", milestone.clone())).collect();
    all.extend(epics.iter().map(|epic| created("epic", epic.clone())));
    all.extend(stories.iter().map(|story| created("userstory", story.clone())));
    for (id, story) in [(11, 0), (12, 0), (13, 1), (14, 2), (15, 3), (16, 4)] {
        all.push(created("task", task(id, &stories[story])));
    }
    all.extend([(0, 0), (1, 1), (2, 0)].map(|(story, epic)| {
        let mut link = taiga::related(stories[story].clone(), epics[epic].clone());
        link["id"] = json!(30 + story);
        created("relateduserstory", link)
    }));
    all.push(created("issue", taiga::issue(read_today(), "It breaks")));
    all
}

/// Everything that Taiga changes without a webhook, and webhooks that were lost.
fn change_silently(board: &mut Board) {
    let issue = issue_of(board);
    board.rename_status("task", "In progress", "Doing");
    board.rename_attribute("userstory", "Hores. $reals", "Hours");
    board.revalue_points("3", 5.0);
    board.rename_user("roger", "rtorrents");
    // The last task of a story closes it, and the story its milestone.
    board.change("userstory", 1, |story| story["is_closed"] = json!(true));
    board.change("milestone", 1, |milestone| milestone["closed"] = json!(true));
    board.change("milestone", 2, |milestone| milestone["name"] = json!("Sprint two"));
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
    // A story goes with its tasks, a task alone (it was promoted), a milestone goes.
    board.remove("userstory", 5);
    board.remove("task", 12);
    board.remove("milestone", 3);
    board.change("issue", issue, |issue| issue["description"] = json!("It breaks on Sundays."));
    // New objects without a webhook.
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
        // In whatever order the fields stand.
        let fields: std::collections::BTreeMap<_, _> = std::mem::take(document).into_iter().collect();
        document.extend(fields);
    }
    Ok(all)
}

async fn settled(stack: &Stack) {
    stack.eventually("everything is settled", LONG, async || stack.nothing_pending().await).await.unwrap();
}

/// The stand-in's state, as documents of `Truth`.
async fn tell_truth(stack: &Stack, webhooks: &[Value]) {
    for webhook in webhooks {
        send(stack, "Truth", Delivery::taiga(webhook)).await;
    }
    settled(stack).await;
}

async fn equals_truth(stack: &Stack, source: &str, suffixes: &[&str]) -> anyhow::Result<()> {
    for suffix in suffixes {
        let texts = async |project: &str| -> anyhow::Result<BTreeSet<String>> {
            Ok(shown(stack, source, project, suffix).await?.iter().map(ToString::to_string).collect())
        };
        let (team, truth) = (texts("Team").await?, texts("Truth").await?);
        ensure!(!truth.is_empty(), "there is no truth of {suffix}");
        let (missing, wrong): (Vec<_>, Vec<_>) = (truth.difference(&team).collect(), team.difference(&truth).collect());
        ensure!(missing.is_empty() && wrong.is_empty(), "{suffix}\nshould be\n{missing:#?}\nand is\n{wrong:#?}");
    }
    Ok(())
}

/// A team whose webhooks were sent, and its Taiga project.
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
        let types: BTreeSet<_> = ours.map(|notified| notified.text("event_type").to_owned()).collect();
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
async fn a_link_whose_webhook_was_lost_is_shown_when_the_one_that_is_shown_ends() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-links", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let link = |epic: Value| taiga::related(taiga::userstory(1, "Story 1"), epic);
    let (login, hours) = (link(taiga::epic(7, "Login")), link(taiga::epic(8, "Hours")));
    providers.world().boards.get_mut(SLUG).unwrap().tell(&created("relateduserstory", hours));
    let args = ["reconcile", "--prj", "Team", "--source", "taiga", "--output", "json"];
    let links = async || {
        let found = lines(&done(&stack, &args).await);
        let links = found.iter().find(|line| line["kind"] == "links").unwrap().clone();
        settled(&stack).await;
        (links["same"].as_u64().unwrap(), links["repaired"].as_u64().unwrap())
    };
    let epic = async || {
        let stories = stack.documents("taiga_Team.userstories").await.unwrap();
        let story = stories.iter().find(|story| story.get_i32("userstory_id").is_ok_and(|id| id == 1)).unwrap();
        story.get("epic_id").cloned().unwrap()
    };
    assert_eq!((links().await, epic().await), ((4, 1), 7.into()), "a webhook told of it");
    assert_eq!((links().await, epic().await), ((5, 0), 7.into()), "and that is all");
    send(&stack, "Team", Delivery::taiga(&taiga::event("relateduserstory", "delete", "2026-11-24T09:00:00Z", login)))
        .await;
    settled(&stack).await;
    assert_eq!(epic().await, 8.into());
}

#[tokio::test]
async fn an_attribute_that_was_renamed_is_found_without_reading_every_object() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-attribute", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let truth = {
        let mut world = providers.world();
        let board = world.boards.get_mut(SLUG).unwrap();
        board.rename_attribute("userstory", "Hores. $reals", "Hours");
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    tell_truth(&stack, &truth).await;
    done(&stack, &["reconcile", "--prj", "Team", "--source", "taiga", "--since", "0s"]).await;
    settled(&stack).await;
    equals_truth(&stack, "taiga", &TAIGA).await.unwrap();
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

/// A repository whose webhooks were sent.
fn repository() -> Repo {
    let at = |second: u32| format!("2026-11-23T17:00:{second:02}Z");
    let commits = (0..150).map(|n| github::commit(&github::sha(n), &format!("task #{n}"))).collect();
    let issues = [1, 2, 3, 5].map(|n| (u64::from(n), github::issue(n.into(), "opened", &at(n))));
    let pulls = [8, 9].map(|n| (u64::from(n), github::pull_request(n.into(), "closed", &at(n))));
    Repo {
        branches: [("main".to_owned(), commits)].into(),
        issues: issues.into(),
        pulls: pulls.into(),
        ..Repo::default()
    }
}

/// The webhooks of its state.
fn webhooks(repo: &Repo) -> Vec<Delivery> {
    let pushes =
        repo.branches.values().map(|commits| Delivery::github("push", &github::push(1_795_455_723, commits.clone())));
    let issues = repo.issues.values().map(|event| Delivery::github("issues", event));
    let pulls = repo.pulls.values().map(|event| Delivery::github("pull_request", event));
    pushes.chain(issues).chain(pulls).collect()
}

async fn push_out(stack: &Stack, project: &str, repo: &Repo) {
    for webhook in webhooks(repo) {
        send(stack, project, webhook).await;
    }
    settled(stack).await;
}

#[tokio::test]
async fn what_github_shows_and_no_webhook_said_ends_in_the_documents() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-github", Options::default()).await;
    let mut repo = repository();
    push_out(&stack, "Team", &repo).await;

    // Lost: an edit, a deletion, a transfer, a new issue; a pull request closed and one reopened; a commit of a branch.
    let later = "2026-11-23T18:00:00Z";
    let mut edited = github::issue(1, "closed", later);
    edited["issue"]["title"] = json!("Another title");
    repo.issues.insert(1, edited);
    repo.issues.remove(&2);
    repo.issues.remove(&3);
    repo.transferred.insert(3, "upc-pes/other/issues/7".to_owned());
    repo.issues.insert(4, github::issue(4, "opened", later));
    repo.pulls.insert(9, github::pull_request(9, "reopened", later));
    repo.pulls.insert(10, github::pull_request(10, "closed", later));
    let commit = github::commit(&github::sha(500), "task #500 on a branch");
    let mut side = vec![commit];
    side.extend(repo.branches["main"].iter().cloned());
    repo.branches.insert("side".to_owned(), side);
    providers.world().repos.insert(github::REPO.to_owned(), repo.clone());
    (0..501)
        .for_each(|n| providers.world().knows(github::REPO, &github::sha(n), harness::providers::Commit::plain(1, 1)));
    repo.pulls.remove(&9);
    push_out(&stack, "Truth", &repo).await;

    let reconcile = ["reconcile", "--prj", "Team", "--source", "github", "--output", "json"];
    let found = lines(&done(&stack, &reconcile).await);
    let of = |kind: &str, what: &str| found.iter().find(|line| line["kind"] == kind).unwrap()[what].clone();
    assert_eq!((of("issues", "repaired"), of("issues", "removed")), (json!(2), json!(2)), "{found:#?}");
    assert_eq!((of("pull_requests", "repaired"), of("pull_requests", "removed")), (json!(1), json!(1)), "{found:#?}");
    assert_eq!((of("commits", "repaired"), of("commits", "same")), (json!(1), json!(150)), "{found:#?}");
    // The command ends when everything is processed.
    equals_truth(&stack, "github", &["issues", "pull_requests"]).await.unwrap();
    for project in ["Team", "Truth"] {
        let commits = stack.documents(&format!("github_{project}.commits")).await.unwrap();
        assert_eq!(commits.len(), 151, "{project}");
    }

    // Once more: nothing is to be done, and of what is asked only the repository is paid for.
    let events = stack.messages("LD_EVENTS").await.unwrap();
    let before = providers.calls().len();
    let found = lines(&done(&stack, &[&reconcile[..], &["--since", "0s"]].concat()).await);
    assert!(found.iter().all(|line| line["checked"] == line["same"]), "{found:#?}");
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), events);
    let calls: Vec<_> = providers.calls()[before..].iter().map(|call| (call.path.clone(), call.status)).collect();
    let paid: Vec<_> = calls.iter().filter(|(_, status)| *status != 304).map(|(path, _)| path.as_str()).collect();
    assert_eq!(paid, [format!("/repos/{}", github::REPO)], "{calls:#?}");
    // Issues, pull requests, branches, two pages of each branch.
    assert_eq!(calls.len(), 1 + 3 + 4, "{calls:#?}");
}

#[tokio::test]
async fn a_renamed_repository_leaves_no_second_copy() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-renamed", Options::default()).await;
    let repo = repository();
    push_out(&stack, "Team", &repo).await;
    {
        let mut world = providers.world();
        let now = "upc-pes/renamed";
        world.renamed.insert(github::REPO.to_owned(), now.to_owned());
        world.repos.insert(now.to_owned(), repo);
        world.knows_everything = true;
    }
    done(&stack, &["reconcile", "--prj", "Team", "--source", "github"]).await;
    settled(&stack).await;
    for suffix in ["issues", "pull_requests"] {
        let documents = stack.documents(&format!("github_Team.{suffix}")).await.unwrap();
        let names: BTreeSet<_> = documents.iter().map(|document| document.get_str("repo_name").unwrap()).collect();
        assert_eq!(names, ["upc-pes/renamed"].into(), "{suffix}");
        assert_eq!(documents.len(), if suffix == "issues" { 4 } else { 2 }, "{suffix}");
    }
}

#[tokio::test]
async fn failed_deliveries_are_asked_for_again_because_only_webhooks_know_who_did_it() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-failed", often()).await;
    let (ingress, secrets, missed) =
        (stack.ingress.webhooks(), stack.sender.secrets().clone(), shared::time::now_ms() - 30_000);
    let event = github::issue(1, "opened", "2026-11-23T17:00:00Z");
    let story = created("userstory", taiga::userstory(1, "Nobody told us"));
    {
        let mut world = providers.world();
        world.repos.insert(github::REPO.to_owned(), Repo { issues: [(1, event.clone())].into(), ..Repo::default() });
        let mut board = Board::new(BOARD, "Marmota – Pràctica");
        board.tell(&story);
        world.boards.insert(SLUG.to_owned(), board);
        let owner = format!("repos/{}", github::REPO);
        let hook = world.hook(&owner, github_hook(&endpoint(&ingress, Source::Github, "Team"), &secrets.github));
        world.sent(hook, Delivery::github("issues", &event).project("Team"), 503, missed, false);
        let url = endpoint(&ingress, Source::Taiga, "Team");
        let hook = world.hook(&BOARD.to_string(), taiga_hook(BOARD, &url, &secrets.taiga));
        world.sent(hook, Delivery::taiga(&story).project("Team"), 503, missed, false);
    }
    let known = async || {
        let issue = stack.document("github_Team.issues").await?;
        ensure!(issue.get_str("action").ok() == Some("opened"), "{issue}");
        let story = stack.document("taiga_Team.userstories").await?;
        ensure!(story.get_str("assigned_by").ok() == Some(taiga::USERNAME), "{story}");
        Ok(())
    };
    stack.eventually("the webhooks came again", LONG, known).await.unwrap();
}

#[tokio::test]
async fn another_worker_goes_on_where_one_was_killed() {
    let providers = Providers::start().unwrap();
    let mut stack = start(&providers, "reconcile-lease", often()).await;
    stack.add_worker().await.unwrap();
    told(&providers, &stack, &project()).await;
    let done = async || {
        let holds = |service: &harness::stack::Service| {
            let events = service.process.log().events();
            events.iter().any(|event| field(event, "message") == Some("this worker reconciles"))
        };
        let holders: Vec<usize> =
            stack.workers.iter().enumerate().filter(|(_, worker)| holds(worker)).map(|(index, _)| index).collect();
        ensure!(holders.len() == 1, "they reconcile: {holders:?}");
        Ok(holders[0])
    };
    let holder = stack.eventually("one of two workers reconciles", SOON, done).await.unwrap();
    stack.workers.remove(holder).process.kill().unwrap();
    {
        let mut world = providers.world();
        let board = world.boards.get_mut(SLUG).unwrap();
        let issue = issue_of(board);
        board.change("issue", issue, |issue| issue["subject"] = json!("Later"));
    }
    let repaired = async || {
        let issue = stack.document("taiga_Team.issues").await?;
        ensure!(issue.get_str("subject").ok() == Some("Later"), "{issue}");
        Ok(())
    };
    stack.eventually("the other one reconciles", LONG, repaired).await.unwrap();
}

#[tokio::test]
async fn a_worker_stopped_or_killed_while_it_reconciles_leaves_the_rest_to_the_next() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-stopped", often().env("SHUTDOWN_GRACE", "10s")).await;
    told(&providers, &stack, &project()).await;
    let truth = {
        let mut world = providers.world();
        // Each answer takes its time, so that the whole of a team takes longer than what interrupts it.
        world.behaves("teacher", Behaviour::Slow(Duration::from_millis(700)));
        let board = world.boards.get_mut(SLUG).unwrap();
        change_silently(board);
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    let under_way = async || {
        let before = providers.calls_of("teacher").len();
        let asks = async || {
            let asked = providers.calls_of("teacher").len() - before;
            ensure!(asked >= 2, "{asked} requests");
            Ok(())
        };
        stack.eventually("the worker reads lists", LONG, asks).await.unwrap();
    };
    under_way().await;
    assert!(
        stack.worker().process.stop(Duration::from_secs(12)).await.unwrap().success(),
        "it stops in its grace time"
    );
    stack.worker().start_again().await.unwrap();
    under_way().await;
    stack.worker().process.kill().unwrap();
    stack.worker().start_again().await.unwrap();
    providers.world().behaves("teacher", Behaviour::Normal);
    tell_truth(&stack, &truth).await;
    let equal = async || equals_truth(&stack, "taiga", &TAIGA).await;
    stack.eventually("the documents show what Taiga shows", LONG, equal).await.unwrap();
    let notified = async || {
        let accepted = stack.eval.accepted("Team");
        ensure!(accepted.iter().any(|notified| notified.triple().1 == "backfill"), "LD Eval was not notified");
        Ok(())
    };
    stack.eventually("LD Eval is notified", SOON, notified).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_command_says_so_and_the_same_command_does_the_rest() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-command", Options::default()).await;
    told(&providers, &stack, &project()).await;
    let truth = {
        let mut world = providers.world();
        world.behaves("teacher", Behaviour::Slow(Duration::from_millis(300)));
        let board = world.boards.get_mut(SLUG).unwrap();
        change_silently(board);
        board.webhooks("2026-11-24T10:00:00.500Z")
    };
    let args = ["reconcile", "--prj", "Team", "--source", "taiga"];
    for killed in [false, true] {
        let before = providers.calls_of("teacher").len();
        let reconcile = process(&stack, &args);
        let asks = async || {
            let asked = providers.calls_of("teacher").len() - before;
            ensure!(asked >= 3, "{asked} requests");
            Ok(())
        };
        stack.eventually("it reads lists", SOON, asks).await.unwrap();
        if killed {
            reconcile.kill().unwrap();
            continue;
        }
        reconcile.signal(Signal::Stop).unwrap();
        assert_eq!(reconcile.ended(SOON).await.unwrap().code(), Some(130), "{}", reconcile.log().tail());
        let said = reconcile.log().lines().join("\n");
        assert!(said.contains("interrupted:"), "{said}");
    }
    providers.world().behaves("teacher", Behaviour::Normal);
    done(&stack, &args).await;
    tell_truth(&stack, &truth).await;
    equals_truth(&stack, "taiga", &TAIGA).await.unwrap();
}

#[tokio::test]
async fn a_push_that_github_cut_is_completed_soon_after_it_and_only_of_a_teams_own_repository() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "reconcile-cut", Options::default()).await;
    let commits: Vec<Value> =
        (0..2_150).rev().map(|n| github::commit(&github::sha(n), &format!("task #{n}"))).collect();
    let push = |repo: &str, commits: &[Value]| {
        let mut push = github::push(1_795_455_723, commits.to_vec());
        push["repository"]["full_name"] = json!(repo);
        Delivery::github("push", &push)
    };
    {
        let mut world = providers.world();
        world.knows_everything = true;
        for repo in [github::REPO, "upc-other/theirs"] {
            let branches = [("main".to_owned(), commits.clone())].into();
            world.repos.insert(repo.to_owned(), Repo { branches, ..Repo::default() });
        }
    }
    // GitHub names 2,048 of them.
    send(&stack, "Team", push("upc-other/theirs", &commits[..2_048])).await;
    send(&stack, "Team", push(github::REPO, &commits[..2_048])).await;
    let all = async || {
        let shas: BTreeSet<String> = stack
            .documents("github_Team.commits")
            .await?
            .iter()
            .map(|commit| commit.get_str("sha").unwrap().to_owned())
            .collect();
        ensure!(shas.len() == 2_150, "{} commits", shas.len());
        Ok(())
    };
    stack.eventually("every commit has a document", LONG, all).await.unwrap();
    let read = |path: &str| providers.calls().iter().any(|call| call.path.starts_with(path));
    assert!(read(&format!("/repos/{}/commits?sha=", github::REPO)));
    assert!(!read("/repos/upc-other/theirs/commits?sha="), "it is not the team's place");
}

/// A team of the size of docs/truth.md.
fn ordinary_team() -> (Vec<Value>, Repo) {
    let at = |n: u64| format!("2026-11-23T17:{:02}:{:02}Z", n / 60, n % 60);
    let commits: Vec<Value> = (0..400).map(|n| github::commit(&github::sha(n), &format!("task #{n}"))).collect();
    let branch = |n: usize| {
        let own = github::commit(&github::sha(1_000 + n as u64), "task #1 on a branch");
        let main = commits[n * 5..].iter().cloned();
        (format!("branch-{n}"), if n == 0 { main.collect() } else { std::iter::once(own).chain(main).collect() })
    };
    let repo = Repo {
        branches: (0..6).map(branch).collect(),
        issues: (1..=60).map(|n| (n, github::issue(n, "opened", &at(n)))).collect(),
        pulls: (61..=100).map(|n| (n, github::pull_request(n, "closed", &at(n)))).collect(),
        ..Repo::default()
    };
    let stories: Vec<Value> = (1..=40).map(|id| taiga::userstory(id, &format!("Story {id}"))).collect();
    let mut board: Vec<Value> = stories.iter().map(|story| created("userstory", story.clone())).collect();
    for data in &mut board {
        data["data"]["custom_attributes_values"] = json!({ "Priority": "High" });
    }
    board.extend((100..250).map(|id| {
        let mut task = taiga::task(id, &format!("Task {id}"), stories[(id % 40) as usize].clone());
        task["custom_attributes_values"] = json!({ "Estimated hours": 8 });
        created("task", task)
    }));
    board.extend((300..320).map(|id| created("issue", taiga::issue(id, "It breaks"))));
    (board, repo)
}

/// That team in order, with its hooks.
async fn in_order(providers: &Providers, name: &str, options: Options) -> Stack {
    let (board, repo) = ordinary_team();
    providers.world().repos.insert(github::REPO.to_owned(), repo.clone());
    providers.world().knows_everything = true;
    let stack = start(providers, name, options).await;
    push_out(&stack, "Team", &repo).await;
    told(providers, &stack, &board).await;
    let ingress = stack.ingress.webhooks();
    let mut world = providers.world();
    let owner = format!("repos/{}", github::REPO);
    world.hook(&owner, github_hook(&endpoint(&ingress, Source::Github, "Team"), "s"));
    world.hook(&BOARD.to_string(), taiga_hook(BOARD, &endpoint(&ingress, Source::Taiga, "Team"), "s"));
    drop(world);
    stack
}

/// Whether a reconciliation makes it, and no look-up.
fn is_of_turn(path: &str) -> bool {
    path != "/auth" && path != "/graphql" && !path.ends_with("/stats")
}

/// How many of GitHub's calls the rate limit counts, and how many are free.
fn counted(calls: &[Call]) -> (usize, usize) {
    let free = calls.iter().filter(|call| call.status == 304).count();
    (calls.len() - free, free)
}

#[tokio::test]
async fn a_night_of_a_team_in_order_costs_the_requests_that_the_document_says() {
    let providers = Providers::start().unwrap();
    let stack = in_order(&providers, "reconcile-cost", often()).await;
    // A turn asks once for the deliveries of its hook.
    let turns = |provider: &str, once: &str| {
        let calls: Vec<_> = providers.calls().into_iter().filter(|call| call.provider == provider).collect();
        let calls: Vec<_> = calls.into_iter().filter(|call| is_of_turn(&call.path)).collect();
        let marks: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].path.contains(once)).collect();
        // The first turn may have begun before all was there.
        marks.windows(2).skip(1).map(|turn| calls[turn[0]..turn[1]].to_vec()).collect::<Vec<_>>()
    };
    let some_turns = async || {
        let (github, taiga) = (turns("github", "/deliveries"), turns("taiga", "/webhooklogs"));
        ensure!(github.len() >= 2 && taiga.len() >= 2, "{} and {} turns", github.len(), taiga.len());
        Ok((github, taiga))
    };
    let (github, taiga) = stack.eventually("it was compared some times", LONG, some_turns).await.unwrap();
    // Of objects that are read in turns, a seventh is one more or less.
    for (paid, free) in github.iter().map(|turn| counted(turn)) {
        assert!((9..=10).contains(&paid) && free == 17, "docs/truth.md says 10 and 17, it is {paid} and {free}");
    }
    for calls in taiga.iter().map(Vec::len) {
        assert!((43..=47).contains(&calls), "docs/truth.md says 46, it is {calls}");
    }
}

#[tokio::test]
async fn after_a_gap_a_team_in_order_costs_the_requests_that_the_document_says() {
    let providers = Providers::start().unwrap();
    let stack = in_order(&providers, "reconcile-gap-cost", Options::default().env("RECONCILE", "nightly")).await;
    // A night before, so that the pages of lists are kept.
    done(&stack, &["reconcile", "--prj", "Team"]).await;
    settled(&stack).await;
    let before = providers.calls().len();
    // As ingress does once NATS is back.
    let now = shared::time::now_ms();
    let missed = shared::beat::Missed { from: now - 60_000, to: now - 30_000, count: 3 };
    let subject = Topology::new(Some(&stack.prefix), StreamArgs::default()).missed_subject();
    let jetstream = stack.jetstream().await.unwrap();
    let published = jetstream.publish(subject, serde_json::to_vec(&missed).unwrap().into()).await.unwrap();
    published.await.unwrap();
    let recovered = async || {
        let events = stack.worker().process.log().events();
        let says = "documents show again what GitHub and Taiga show";
        ensure!(events.iter().any(|event| field(event, "message") == Some(says)), "it has not recovered");
        Ok(())
    };
    stack.eventually("the gap is closed", LONG, recovered).await.unwrap();
    let calls: Vec<_> = providers.calls()[before..].iter().filter(|call| is_of_turn(&call.path)).cloned().collect();
    let (github, taiga): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.provider == "github");
    assert_eq!((counted(&github), taiga.len()), ((45, 34), 267), "docs/truth.md says so: {github:#?}");
}
