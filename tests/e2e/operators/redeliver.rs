//! `worker redeliver`: lost deliveries are requested again, others are not.

use anyhow::ensure;
use harness::providers::Providers;
use harness::providers::board::Board;
use harness::providers::hooks::{endpoint, github_hook, taiga_hook};
use harness::providers::hub::Repo;
use harness::sender::{Delivery, Source, github, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::time::now_ms;

use crate::SOON;
use crate::operators::commands::{command, done};
use crate::pipeline::enrich;

async fn start(providers: &Providers, name: &str) -> Stack {
    let course = json!({ "github_token": "t", "taiga_user": "teacher", "taiga_password": "hush-hush" });
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.accounts.insert("teacher".into(), "hush-hush".into());
        world.repos.insert(github::REPO.to_owned(), Repo::default());
        world.boards.insert("marmota".to_owned(), Board::new(31, "Marmota"));
    }
    enrich::stack(providers, name, &[("Team", course)], Options::default()).await
}

/// What a command says of a hook: sent, delivered, asked again.
fn tally(output: &str) -> Vec<(u64, u64, u64)> {
    let numbers = |line: Value| {
        let number = |name: &str| line[name].as_u64().unwrap();
        (number("sent"), number("delivered"), number("asked_again"))
    };
    output.lines().map(|line| numbers(serde_json::from_str(line).unwrap())).collect()
}

#[tokio::test]
async fn github_is_asked_for_what_never_arrived_and_for_nothing_else() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "redeliver-github").await;
    let ingress = stack.ingress.webhooks();
    let secret = &stack.sender.secrets().github;
    let issue = |n: u64| Delivery::github("issues", &github::issue(n, "opened", "2026-11-23T17:00:00Z"));
    let hour = 3_600_000;
    {
        let mut world = providers.world();
        let ours =
            world.hook("repos/upc-pes/marmota", github_hook(&endpoint(&ingress, Source::Github, "Team"), secret));
        let other = world.hook("repos/upc-pes/marmota", github_hook("https://ci.example/hook", "x"));
        let org = world.hook("orgs/upc-pes", github_hook(&endpoint(&ingress, Source::Github, "Team"), secret));
        world.sent(other, issue(90), 502, now_ms() - hour, false);
        // Before the three days.
        world.sent(ours, issue(91), 502, now_ms() - 100 * hour, false);
        // Three pages of what arrived, and among it what did not.
        for n in 1..=250 {
            world.sent(ours, issue(n), if n % 50 == 0 { 503 } else { 200 }, now_ms() - 2 * hour, false);
        }
        // Arrived when it was sent again.
        let late = issue(251);
        world.sent(ours, late.clone(), 0, now_ms() - hour, false);
        world.sent(ours, late, 200, now_ms() - hour / 2, true);
        world.sent(org, issue(252), 503, now_ms() - hour, false);
        world.stumbles.push(("page=2".to_owned(), 502));
    }
    let args = ["redeliver", "github", "--org", "upc-pes", "--prj", "Team", "--output", "json"];
    let would = done(&stack, &[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!(tally(&would), [(1, 0, 1), (251, 246, 5)], "{would}");
    assert!(providers.calls().iter().all(|call| call.method == "GET"), "a dry run asks for nothing");
    assert!(providers.calls().iter().any(|call| call.status == 502), "nothing failed: this run proves nothing");
    assert_eq!(tally(&done(&stack, &args).await), tally(&would));
    let stored = async || {
        let mut ids: Vec<_> =
            stack.documents("github_Team.issues").await?.iter().map(|i| i.get_i32("issue_id").unwrap()).collect();
        ids.sort_unstable();
        ensure!(ids == [50, 100, 150, 200, 250, 252], "{ids:?}");
        Ok(())
    };
    stack.eventually("what was lost is stored", SOON, stored).await.unwrap();
    let changes: Vec<_> = providers.calls().into_iter().filter(|call| call.method == "POST").collect();
    let apart = changes.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
    assert!(
        apart.clone().all(|time| time.as_millis() >= 900),
        "GitHub wants a second: {:?}",
        apart.collect::<Vec<_>>()
    );
    // Now all of it has arrived.
    assert_eq!(tally(&done(&stack, &args).await), [(1, 1, 0), (251, 251, 0)]);
    assert_eq!(tally(&done(&stack, &[&args[..], &["--since", "90m"]].concat()).await), [(1, 1, 0), (6, 6, 0)]);
    let table = done(&stack, &["redeliver", "github", "--org", "upc-pes", "--repo", "marmota"]).await;
    assert!(table.contains("repos/upc-pes/marmota#1") && table.contains("251"), "{table}");
}

#[tokio::test]
async fn taiga_resends_what_never_arrived_oldest_first() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "redeliver-taiga").await;
    let ingress = stack.ingress.webhooks();
    let story = |n: i64| {
        let date = format!("2026-11-23T17:00:{n:02}Z");
        Delivery::taiga(&taiga::event("userstory", "create", &date, taiga::userstory(n, "x")))
    };
    let hook = {
        let mut world = providers.world();
        let url = endpoint(&ingress, Source::Taiga, "Team");
        let hook = world.hook("31", taiga_hook(31, &url, &stack.sender.secrets().taiga));
        world.hook("31", taiga_hook(31, "https://chat.example/hook", "x"));
        (1..=10).for_each(|n| world.sent(hook, story(n), if n % 2 == 0 { 200 } else { 0 }, now_ms(), false));
        hook
    };
    let args = ["redeliver", "taiga", "--slug", "marmota", "--prj", "Team", "--output", "json"];
    assert_eq!(tally(&done(&stack, &[&args[..], &["--dry-run"]].concat()).await), [(10, 5, 5)]);
    assert_eq!(tally(&done(&stack, &args).await), [(10, 5, 5)]);
    let stored = async || {
        let stories = stack.documents("taiga_Team.userstories").await?.len();
        ensure!(stories == 5, "{stories} stories");
        Ok(())
    };
    stack.eventually("what was lost is stored", SOON, stored).await.unwrap();
    // The five that were resent pushed the five oldest out, and what is left has all arrived.
    let left = tally(&done(&stack, &args).await);
    assert!(left.iter().all(|(sent, delivered, again)| sent == delivered && *again == 0), "{left:?}");

    // Ingress still refuses: then it is not "asked again", and the command fails.
    {
        let mut world = providers.world();
        world.sent(hook, story(11), 403, now_ms(), false);
        world.hooks.iter_mut().find(|one| one.id == hook).unwrap().shown["key"] = json!("another key");
    }
    let output = command(&stack, &args).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("403"));
}

#[tokio::test]
async fn a_delivery_that_github_always_fails_at_stops_no_other() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "redeliver-failing").await;
    let ingress = stack.ingress.webhooks();
    let secret = &stack.sender.secrets().github;
    let issue = |n: u64| Delivery::github("issues", &github::issue(n, "opened", "2026-11-23T17:00:00Z"));
    {
        let mut world = providers.world();
        let ours =
            world.hook("repos/upc-pes/marmota", github_hook(&endpoint(&ingress, Source::Github, "Team"), secret));
        for n in 1..=3 {
            world.sent(ours, issue(n), 503, now_ms() - 3_600_000 + n as i64, false);
        }
        let second = world.hooks.iter().find(|hook| hook.id == ours).unwrap().sent[1].id;
        world.refusals.push((format!("/deliveries/{second}/attempts"), 500));
    }
    let args = ["redeliver", "github", "--org", "upc-pes", "--prj", "Team", "--output", "json"];
    let output = command(&stack, &args).await;
    let notices = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{notices}");
    assert!(notices.contains("1 of 3 deliveries failed") && notices.contains("/attempts"), "{notices}");
    assert_eq!(tally(&String::from_utf8(output.stdout).unwrap()), [(3, 0, 2)]);
    providers.world().refusals.clear();
    assert_eq!(tally(&done(&stack, &args).await), [(3, 2, 1)], "the same command requests the rest");
}

#[tokio::test]
async fn what_a_provider_no_longer_remembers_is_said_and_who_closes_it() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "redeliver-forgotten").await;
    let ingress = stack.ingress.webhooks();
    let hour = 3_600_000;
    let story = |n: i64| {
        let date = format!("2026-11-23T17:00:{n:02}Z");
        Delivery::taiga(&taiga::event("userstory", "create", &date, taiga::userstory(n, "x")))
    };
    let issue = |n: u64| Delivery::github("issues", &github::issue(n, "opened", "2026-11-23T17:00:00Z"));
    let (old, new) = {
        let mut world = providers.world();
        let url = endpoint(&ingress, Source::Taiga, "Team");
        let hook = world.hook("31", taiga_hook(31, &url, &stack.sender.secrets().taiga));
        (1..=12).for_each(|n| world.sent(hook, story(n), 0, now_ms(), false));
        let secret = &stack.sender.secrets().github;
        let url = endpoint(&ingress, Source::Github, "Team");
        let old = world.hook("orgs/upc-pes", github_hook(&url, secret));
        let mut made_today = github_hook(&url, secret);
        made_today["created_at"] = json!(harness::time::rfc3339(now_ms() - 10 * hour));
        let new = world.hook("repos/upc-pes/marmota", made_today);
        for hook in [old, new] {
            world.sent(hook, issue(1), 503, now_ms() - hour, false);
        }
        (old, new)
    };
    let ran = async |args: &[&str]| {
        let output = command(&stack, &[&["redeliver"], args, &["--prj", "Team", "--dry-run"]].concat()).await;
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = ran(&["taiga", "--slug", "marmota"]).await;
    assert!(said.contains("last ten deliveries") && said.contains("worker reconcile --prj Team"), "{said}");
    let github = ["github", "--org", "upc-pes"];
    let forgotten = async |more: &[&str], hook: i64| {
        let said = ran(&[&github[..], more].concat()).await;
        said.contains(&format!("#{hook}: earlier deliveries may have failed too")) && said.contains("worker reconcile")
    };
    assert!(!forgotten(&["--since", "2h"], old).await, "GitHub remembers that");
    assert!(!forgotten(&[], old).await, "its outage began an hour ago");
    assert!(forgotten(&["--since", "5d"], old).await, "GitHub does not remember so much");
    assert!(!forgotten(&["--since", "5d"], new).await, "it has sent nothing earlier");
    // The outage is as long as GitHub's memory.
    providers.world().sent(old, issue(2), 503, now_ms() - 71 * hour, false);
    assert!(forgotten(&[], old).await);
}
