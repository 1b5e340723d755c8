//! `worker backfill`: what the providers say becomes the same documents as their webhooks would have made, and
//! it does not matter which of the two came first.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use bson::Document;
use harness::process::{Process, Recipe};
use harness::providers::board::Board;
use harness::providers::hub::Repo;
use harness::providers::{Behaviour, Commit, Providers};
use harness::sender::{Delivery, github, taiga};
use harness::stack::build::path;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::operators::commands::{command, done};
use crate::pipeline::enrich::{send, stack};
use crate::{LONG, SOON};

const SLUG: &str = "mireia-marmota";

/// `Hooks` gets webhooks, `Late` what a backfill brings, `Both` either.
async fn start(providers: &Providers, name: &str) -> Stack {
    let course = json!({ "github_token": "t", "taiga_user": "teacher", "taiga_password": "hush-hush" });
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.accounts.insert("teacher".into(), "hush-hush".into());
    }
    let courses = [("Hooks", course.clone()), ("Late", course.clone()), ("Both", course)];
    stack(providers, name, &courses, Options::default()).await
}

/// What a collection shows, but for whose it is and what only webhooks know.
async fn shown(stack: &Stack, source: &str, project: &str, suffix: &str) -> anyhow::Result<Vec<Document>> {
    let mut all = stack.documents(&format!("{source}_{project}.{suffix}")).await?;
    for document in &mut all {
        for other in ["prj", "action", "sender_info", "action_type", "assigned_by"] {
            document.remove(other);
        }
        // In whatever order the fields stand.
        let fields: std::collections::BTreeMap<_, _> = std::mem::take(document).into_iter().collect();
        document.extend(fields);
    }
    all.sort_by_cached_key(ToString::to_string);
    Ok(all)
}

async fn settled(stack: &Stack) {
    stack.eventually("everything is settled", LONG, async || stack.nothing_pending().await).await.unwrap();
}

async fn looked_up(stack: &Stack) {
    let nothing = async || {
        let waiting = stack.messages("LD_ENRICH").await?;
        ensure!(waiting == 0, "{waiting} look-ups wait");
        stack.nothing_pending().await
    };
    stack.eventually("everything is settled and looked up", LONG, nothing).await.unwrap();
}

fn commits(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|n| github::commit(&github::sha(n), &format!("task #{n}"))).collect()
}

/// A repository with 250 commits, one on another branch, one that only a pull request still has; three issues and
/// two pull requests. And the same as webhooks.
fn repository(providers: &Providers) -> Vec<Delivery> {
    let at = |second: u32| format!("2026-11-23T17:00:{second:02}Z");
    let closed_by = |mut event: Value| {
        event["issue"]["closed_by"] = event["sender"].clone();
        event
    };
    let mut squashed = github::pull_request(8, "closed", &at(8));
    squashed["pull_request"]["head"] = json!({ "sha": github::sha(252), "ref": "gone" });
    let reopened = github::pull_request(9, "reopened", &at(9));
    let issues = [(1, "opened"), (2, "closed"), (3, "opened")];
    let issues = issues.map(|(n, action)| (u64::from(n), closed_by(github::issue(n.into(), action, &at(n)))));
    let mut side = commits(251..252);
    side.extend(commits(0..250));
    let repo = Repo {
        branches: [("main".to_owned(), commits(0..250)), ("side".to_owned(), side)].into(),
        pull_commits: [(8, commits(252..253))].into(),
        issues: issues.clone().into(),
        pulls: [(8, squashed.clone()), (9, reopened.clone())].into(),
        ..Repo::default()
    };
    let mut world = providers.world();
    world.repos.insert(github::REPO.to_owned(), repo);
    for n in 0..253 {
        world.knows(github::REPO, &github::sha(n), Commit::plain(i64::try_from(n).unwrap(), 1));
    }
    let mut all = vec![
        Delivery::github("push", &github::push(1_795_455_723, commits(0..200))),
        Delivery::github("push", &github::push(1_795_455_823, commits(200..250))),
        Delivery::github("push", &github::push(1_795_455_923, commits(251..253))),
        Delivery::github("pull_request", &squashed),
        Delivery::github("pull_request", &github::pull_request(9, "closed", &at(1))),
        Delivery::github("pull_request", &reopened),
    ];
    all.extend(issues.into_iter().map(|(_, event)| Delivery::github("issues", &event)));
    all
}

const GITHUB: [&str; 3] = ["commits", "issues", "pull_requests"];

#[tokio::test]
async fn a_backfill_of_github_makes_the_documents_that_webhooks_would_have_made() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-github").await;
    for webhook in repository(&providers) {
        send(&stack, "Hooks", webhook).await;
    }
    // Three pages of commits, and the second fails once.
    providers.world().stumbles.push(("page=2".to_owned(), 502));
    let args = ["backfill", "github", "--org", "upc-pes", "--prj", "Late", "--quality-model", "AMEP"];

    let before = stack.messages("LD_EVENTS").await.unwrap();
    let would = done(&stack, &[&args[..], &["--dry-run", "--output", "json"]].concat()).await;
    let counts: Vec<Value> = would.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |what: &str| counts.iter().find(|line| line["kind"] == what).unwrap()["repaired"].clone();
    assert_eq!((count("commits"), count("issues"), count("pull_requests")), (json!(252), json!(3), json!(1)));
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), before, "a dry run publishes nothing");
    let calls = providers.calls();
    assert!(calls.iter().any(|call| call.status == 502), "nothing failed: this run proves nothing");
    assert!(calls.iter().any(|call| call.path.contains("page=3")), "{calls:?}");

    done(&stack, &args).await;
    let events = stack.stream("LD_EVENTS").await.unwrap();
    let last = events.get_raw_message(events.cached_info().state.last_sequence).await.unwrap();
    let header = |name: &str| last.headers.get(name).map_or("", |value| value.as_str());
    assert!(
        header("LD-Backfill").starts_with("20") && header("LD-Delivery").starts_with("backfill-"),
        "{:?}",
        last.headers
    );
    looked_up(&stack).await;
    for suffix in GITHUB {
        let [hooks, late] =
            ["Hooks", "Late"].map(async |project| shown(&stack, "github", project, suffix).await.unwrap());
        let (hooks, late) = (hooks.await, late.await);
        assert!(!hooks.is_empty());
        assert_eq!(hooks, late, "{suffix}");
    }
    assert_eq!(shown(&stack, "github", "Late", "commits").await.unwrap().len(), 252);
    let notified = stack.eval.accepted("Late");
    assert!(
        notified.iter().all(|notified| notified.triple().1 == "backfill" && notified.triple().2 == Some("AMEP")),
        "{notified:?}"
    );
    let times = |event_type: &str| notified.iter().filter(|notified| notified.text("event_type") == event_type).count();
    assert_eq!((times("issues"), times("pull_request")), (1, 1), "one notification a type");
    // One at the end, and one for each look-up of a hundred commits at most.
    assert!((1..=7).contains(&times("push")), "{notified:?}");

    let newest = ["backfill", "github", "--org", "upc-pes", "--repo", "marmota", "--prj", "Late", "--events", "issues"];
    let range = ["--from-date", "2026-11-23T17:00:02Z", "--to-date", "2026-11-23T17:00:03Z", "--output", "json"];
    let would = done(&stack, &[&newest[..], &range[..]].concat()).await;
    let line: Value = serde_json::from_str(would.trim()).unwrap();
    assert_eq!((&line["kind"], &line["checked"], &line["same"]), (&json!("issues"), &json!(1), &json!(1)), "{line}");

    // What came of a backfill is in the stream like anything else, and a replay notifies LD Eval of it.
    stack.db().await.unwrap().drop().await.unwrap();
    done(&stack, &["replay"]).await;
    looked_up(&stack).await;
    for suffix in GITHUB {
        let late = shown(&stack, "github", "Late", suffix).await.unwrap();
        assert_eq!(late, shown(&stack, "github", "Hooks", suffix).await.unwrap(), "{suffix}, replayed");
    }
    let again = stack.eval.accepted("Late").iter().filter(|notified| notified.text("event_type") == "issues").count();
    assert!(again >= 2, "LD Eval was notified {again} times");
}

#[tokio::test]
async fn a_backfill_and_webhooks_converge_whichever_comes_first() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-order").await;
    let at = |second: u32| format!("2026-11-23T17:00:{second:02}Z");
    let mut pushed = commits(1..2);
    // GitHub knows another name for the author by now: the webhook's view stays.
    pushed[0]["author"]["username"] = json!("rtorrents");
    let repo = Repo {
        branches: [("main".to_owned(), commits(1..3))].into(),
        issues: [
            (1, github::issue(1, "opened", &at(5))),
            (2, github::issue(2, "opened", &at(5))),
            (3, github::issue(3, "opened", &at(5))),
            (4, github::issue(4, "opened", &at(5))),
        ]
        .into(),
        pulls: [(5, github::pull_request(5, "reopened", &at(5)))].into(),
        ..Repo::default()
    };
    {
        let mut world = providers.world();
        world.repos.insert(github::REPO.to_owned(), repo);
        (1..3).for_each(|n| world.knows(github::REPO, &github::sha(n), Commit::plain(1, 1)));
    }
    let webhooks = [
        // Of the same instant: a webhook knows more than the list.
        Delivery::github("issues", &github::issue(1, "labeled", &at(5))),
        // Older, newer, and the end of one that the list still had.
        Delivery::github("issues", &github::issue(2, "pinned", &at(4))),
        Delivery::github("issues", &github::issue(3, "closed", &at(6))),
        Delivery::github("issues", &github::issue(4, "deleted", &at(5))),
        // Its reopening was missed.
        Delivery::github("pull_request", &github::pull_request(5, "closed", &at(4))),
        Delivery::github("push", &github::push(1_795_455_723, pushed)),
    ];
    let backfill = async |project: &str| {
        done(&stack, &["backfill", "github", "--org", "upc-pes", "--prj", project]).await;
        looked_up(&stack).await;
    };
    backfill("Late").await;
    for webhook in &webhooks {
        send(&stack, "Late", webhook.clone()).await;
        send(&stack, "Both", webhook.clone()).await;
    }
    looked_up(&stack).await;
    // What is deleted, the list does not have.
    providers.world().repos.get_mut(github::REPO).unwrap().issues.remove(&4);
    backfill("Both").await;
    for suffix in ["commits", "issues"] {
        let late = shown(&stack, "github", "Late", suffix).await.unwrap();
        assert_eq!(late, shown(&stack, "github", "Both", suffix).await.unwrap(), "{suffix}");
    }
    let issues = stack.documents("github_Both.issues").await.unwrap();
    let mut actions: Vec<_> =
        issues.iter().map(|i| (i.get_i32("issue_id").unwrap(), i.get_str("action").unwrap())).collect();
    actions.sort_unstable();
    assert_eq!(actions, [(1, "labeled"), (2, "pinned"), (3, "closed")], "and the deleted one stays away");
    assert!(shown(&stack, "github", "Both", "pull_requests").await.unwrap().is_empty(), "it is open again");
    let commits = shown(&stack, "github", "Both", "commits").await.unwrap();
    let logins: Vec<_> = commits.iter().map(|c| c.get_document("user").unwrap().get_str("login").unwrap()).collect();
    assert!(commits.len() == 2 && logins.contains(&"rtorrents") && logins.contains(&"mduran"), "{logins:?}");
}

/// A team's board, as webhooks.
fn board() -> Vec<Value> {
    let at = |second: u32| format!("2026-11-23T17:00:{second:02}.500Z");
    let event = |kind: &str, action: &str, second: u32, data: Value| taiga::event(kind, action, &at(second), data);
    let milestone = taiga::milestone(5, "Sprint 1");
    let mut story = taiga::userstory(1, "Entrar");
    story["milestone"] = milestone.clone();
    story["description"] = json!("Com a alumna vull entrar per veure les notes.");
    story["custom_attributes_values"] = json!({ "Priority": "High", "Hores. $reals": 2.5 });
    story["points"] =
        json!([{ "role": "Back", "name": "3", "value": 3.0 }, { "role": "Front", "name": "1/2", "value": 0.5 }]);
    let mut task = taiga::task(11, "Formulari", story.clone());
    task["milestone"] = milestone.clone();
    task["custom_attributes_values"] = json!({ "Estimated hours": 8 });
    let mut changed = story.clone();
    changed["subject"] = json!("Entrar i sortir");
    changed["modified_date"] = json!("2026-11-23T17:00:06.100Z");
    let epic = taiga::epic(7, "Accés");
    let mut link = taiga::related(changed.clone(), epic.clone());
    link["order"] = json!(shared::time::parse_instant(&at(7)).unwrap());
    let mut all = vec![
        event("milestone", "create", 1, milestone),
        event("epic", "create", 2, epic),
        event("userstory", "create", 3, story),
        event("task", "create", 4, task),
        event("issue", "create", 5, taiga::issue(21, "Es trenca")),
        event("userstory", "change", 6, changed),
        event("relateduserstory", "create", 7, link),
    ];
    // Enough for three pages.
    all.extend((100..170).map(|n| event("task", "create", 8, taiga::task(n, "Tasca", taiga::userstory(2, "Segona")))));
    all.push(event("userstory", "create", 9, taiga::userstory(2, "Segona")));
    all
}

const TAIGA: [&str; 4] = ["userstories", "tasks", "issues", "epics"];

#[tokio::test]
async fn a_backfill_of_taiga_makes_the_documents_that_webhooks_would_have_made() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-taiga").await;
    {
        let mut world = providers.world();
        let mut project = Board::new(31, "Marmota – Pràctica");
        board().iter().for_each(|webhook| project.tell(webhook));
        world.boards.insert(SLUG.to_owned(), project);
        world.always_pages = true;
        world.stumbles.push(("page=2".to_owned(), 502));
    }
    for webhook in board() {
        send(&stack, "Hooks", Delivery::taiga(&webhook)).await;
    }
    done(&stack, &["backfill", "taiga", "--slug", SLUG, "--prj", "Late"]).await;
    settled(&stack).await;
    assert!(
        providers.calls().iter().any(|call| call.path.contains("/tasks?project=31") && call.path.contains("page=3"))
    );
    assert!(providers.calls().iter().any(|call| call.status == 502));
    for suffix in TAIGA {
        let hooks = shown(&stack, "taiga", "Hooks", suffix).await.unwrap();
        assert!(!hooks.is_empty());
        assert_eq!(hooks, shown(&stack, "taiga", "Late", suffix).await.unwrap(), "{suffix}");
    }
    let notified = stack.eval.accepted("Late");
    let times = |event_type: &str| notified.iter().filter(|notified| notified.text("event_type") == event_type).count();
    assert!(notified.iter().all(|notified| notified.text("author_login") == "backfill"), "{notified:?}");
    assert_eq!((times("epic"), times("issue")), (1, 1), "one notification a type");
    // One at the end, and one for each look-up of the milestone; not one for each of 71 tasks.
    assert!((1..=8).contains(&times("task")) && (1..=8).contains(&times("userstory")), "{notified:?}");
}

#[tokio::test]
async fn a_backfill_repairs_what_was_missed_and_is_overruled_by_a_newer_webhook() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-taiga-order").await;
    let mut project = Board::new(31, "Marmota – Pràctica");
    board().iter().for_each(|webhook| project.tell(webhook));
    project.remove("task", 100);
    providers.world().boards.insert(SLUG.to_owned(), project);
    // Missed: the story's change, the link, and the end of a task.
    let missed =
        |webhook: &&Value| webhook["type"] != "relateduserstory" && webhook["data"]["subject"] != "Entrar i sortir";
    for webhook in board().iter().filter(missed) {
        send(&stack, "Both", Delivery::taiga(webhook)).await;
    }
    settled(&stack).await;
    let backfill = async || {
        done(&stack, &["backfill", "taiga", "--slug", SLUG, "--prj", "Both"]).await;
        settled(&stack).await;
    };
    backfill().await;
    let story = async || {
        let all = stack.documents("taiga_Both.userstories").await.unwrap();
        all.into_iter().find(|story| story.get_i32("userstory_id").unwrap() == 1).unwrap()
    };
    let repaired = story().await;
    let text = |story: &Document, name: &str| story.get_str(name).unwrap().to_owned();
    assert_eq!((text(&repaired, "subject"), text(&repaired, "epic_name")), ("Entrar i sortir".into(), "Accés".into()));
    assert_eq!(text(&repaired, "action_type"), "create", "that is the newest webhook's");
    let tasks = stack.documents("taiga_Both.tasks").await.unwrap();
    assert!(tasks.len() == 70 && tasks.iter().all(|task| task.get_i32("task_id").unwrap() != 100), "it is gone");

    let newer = shared::time::rfc3339(shared::time::now_ms() + 60_000);
    let mut data = board()[5]["data"].clone();
    data["subject"] = json!("Newer than the reading");
    send(&stack, "Both", Delivery::taiga(&taiga::event("userstory", "change", &newer, data))).await;
    settled(&stack).await;
    backfill().await;
    let newest = story().await;
    assert_eq!(text(&newest, "subject"), "Newer than the reading");
    assert_eq!(text(&newest, "action_type"), "change");
}

#[tokio::test]
async fn an_interrupted_backfill_says_so_and_the_same_command_ends_it() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-stop").await;
    repository(&providers);
    providers.world().behaves("t", Behaviour::Slow(Duration::from_secs(5)));
    let args = ["backfill", "github", "--org", "upc-pes", "--prj", "Late", "--events", "issues"];
    let recipe = Recipe {
        name: "backfill".to_owned(),
        program: path("worker").unwrap(),
        args: args.map(Into::into).into(),
        env: stack.env.clone().into_iter().collect(),
        dir: harness::paths::scratch("backfill-stop-log").unwrap(),
    };
    let process = Process::start(recipe).unwrap();
    let asked = async || {
        ensure!(!providers.calls().is_empty(), "GitHub was not asked yet");
        Ok(())
    };
    stack.eventually("GitHub is asked", SOON, asked).await.unwrap();
    process.signal(harness::process::Signal::Interrupt).unwrap();
    let status = process.ended(SOON).await.unwrap();
    assert_eq!(status.code(), Some(130), "{}", process.log().tail());
    assert!(process.log().tail().contains("the same command"), "{}", process.log().tail());
    providers.world().behaves("t", Behaviour::Normal);
    done(&stack, &args).await;
    assert_eq!(shown(&stack, "github", "Late", "issues").await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_with_what_to_do() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-wrong").await;
    repository(&providers);
    providers.world().boards.insert(SLUG.to_owned(), Board::new(31, "x"));
    let github = |more: &[&'static str]| [&["backfill", "github", "--prj", "Late"], more].concat();
    let taiga = |more: &[&'static str]| [&["backfill", "taiga", "--prj", "Late"], more].concat();
    for (args, code, said) in [
        (github(&["--org", "nobody"]), 1, "--org"),
        (github(&["--org", "upc-pes", "--repo", "nothing"]), 1, "--repo"),
        (github(&["--org", "https://github.com/upc-pes"]), 2, "such as upc-pes"),
        (github(&["--org", "upc-pes", "--events", "stars"]), 2, "pull_requests"),
        (github(&["--org", "upc-pes", "--from-date", "yesterday"]), 2, "2026-11-23"),
        (github(&["--org", "upc-pes", "--from-date", "2026-11-02", "--to-date", "2026-11-01"]), 2, "--to-date"),
        (taiga(&["--slug", "nothing"]), 1, "--slug"),
        (taiga(&["--slug", SLUG, "--events", "wiki"]), 2, "userstory"),
    ] {
        let output = command(&stack, &args).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
    providers.world().tokens.clear();
    let output = command(&stack, &github(&["--org", "upc-pes"])).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && text.contains("course-of-Late") && text.contains("replace it"),
        "{text}"
    );
}

#[tokio::test]
async fn a_backfill_rests_while_its_token_is_at_a_limit() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-limit").await;
    repository(&providers);
    let reset = providers.world().limit("t", 1, Duration::from_secs(10));
    let reset_at = Instant::now() + reset.duration_since(SystemTime::now()).unwrap();
    let output =
        command(&stack, &["backfill", "github", "--org", "upc-pes", "--prj", "Late", "--events", "issues"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("rate limit"), "{said}");
    let calls = providers.calls_of("t");
    assert_eq!(calls.iter().filter(|call| call.at < reset_at).count(), 1, "{calls:?}");
    assert!(calls.len() > 1 && calls.iter().all(|call| call.status == 200), "{calls:?}");
    assert_eq!(shown(&stack, "github", "Late", "issues").await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_github_refuses_of_one_repository_stops_no_other() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "backfill-refused").await;
    {
        let mut world = providers.world();
        for (name, sha) in [("a", 1), ("blocked", 2), ("hidden", 3), ("locked", 4), ("z", 5)] {
            let repo = Repo { branches: [("main".to_owned(), commits(sha..sha + 1))].into(), ..Repo::default() };
            world.repos.insert(format!("upc-pes/{name}"), repo);
        }
        for (path, status) in
            [("/repos/upc-pes/blocked/", 451), ("/repos/upc-pes/hidden/", 404), ("/repos/upc-pes/locked/", 403)]
        {
            world.refusals.push((path.to_owned(), status));
        }
    }
    let args = ["backfill", "github", "--org", "upc-pes", "--prj", "Late", "--events", "commits"];
    let output = command(&stack, &args).await;
    let notices = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{notices}");
    for (name, status) in [("blocked", "451"), ("hidden", "shows no"), ("locked", "403")] {
        let said = notices.lines().any(|line| line.contains(&format!("upc-pes/{name}")) && line.contains(status));
        assert!(said, "{name}: {notices}");
    }
    settled(&stack).await;
    assert_eq!(shown(&stack, "github", "Late", "commits").await.unwrap().len(), 2, "those of a and z");
    providers.world().refusals.clear();
    done(&stack, &args).await;
    assert_eq!(shown(&stack, "github", "Late", "commits").await.unwrap().len(), 5, "the same command reads the rest");
}

/// A GitHub whose lists lead back to their first page.
async fn circle() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let base = address.clone();
    let page = move |uri: axum::http::Uri| {
        let next = format!("<{base}{uri}>; rel=\"next\"");
        async move { ([("link", next)], axum::Json(json!([]))) }
    };
    let server = axum::Router::new().fallback(page);
    tokio::spawn(async move { axum::serve(listener, server).await });
    address
}

#[tokio::test]
async fn a_list_that_leads_back_to_its_first_page_ends_the_backfill_with_an_error() {
    let mut stack = Stack::start().await.unwrap();
    stack.env.insert("GITHUB_API_URL".into(), circle().await);
    stack.env.insert("GITHUB_TOKEN".into(), "t".into());
    let output = command(&stack, &["backfill", "github", "--prj", "Late", "--org", "upc"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("lead in a circle"), "{said}");
}
