//! `worker doctor`: what is wrong is named, with what to do.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bson::Document;
use harness::providers::Providers;
use harness::providers::board::Board;
use harness::providers::hub::Repo;
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::observe::{push, send, stored};
use crate::operators::commands::{command, done, settled};
use crate::pipeline::enrich;
use crate::{LONG, SOON};

/// Runs it; exit code and what it said, line by line.
async fn doctor(stack: &Stack, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let ingress = stack.ingress.webhooks();
    let mut all = [&["doctor", "--output", "json"], args].concat();
    if !args.contains(&"--ingress-url") {
        all.extend(["--ingress-url", &ingress]);
    }
    let output = command(stack, &all).await;
    let text = String::from_utf8(output.stdout).unwrap();
    for secret in ["github-secret", "taiga-secret", "token-a", "taiga-password"] {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    (output.status.code(), lines.collect())
}

/// The lines of one check.
fn of<'a>(said: &'a [Value], check: &str) -> Vec<&'a Value> {
    said.iter().filter(|line| line["check"] == check).collect()
}

/// One of them is not ok and says this.
fn is_bad(said: &[Value], check: &str, found: &str) {
    let bad = |line: &&Value| {
        line["state"] == "not_ok"
            && line["found"].as_str().unwrap().contains(found)
            && line["to_do"].as_str().is_some_and(|to_do| !to_do.is_empty())
    };
    assert!(of(said, check).iter().any(bad), "{check} should say {found:?}: {said:#?}");
}

/// A stack with a course of two teams that has a token, an account and a secret of its own.
async fn stack(providers: &Providers) -> Stack {
    let own = json!({ "github_token": "token-a", "taiga_user": "teacher", "taiga_password": "taiga-password" });
    let courses = [("Team", own)];
    enrich::stack(providers, "doctor", &courses, Options::default()).await
}

#[tokio::test]
async fn all_is_well_when_all_is_well() {
    let providers = Providers::start().unwrap();
    {
        let mut world = providers.world();
        world.tokens = vec!["token-a".into()];
        world.accounts.insert("teacher".into(), "taiga-password".into());
        world.knows_everything = true;
    }
    let stack = stack(&providers).await;
    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    settled(&stack).await;
    let before = stack.messages("LD_EVENTS").await.unwrap();
    for args in [&[][..], &["--prj", "Team"]] {
        let (code, said) = doctor(&stack, args).await;
        assert_eq!(code, Some(0), "{said:#?}");
        assert!(said.iter().all(|line| line["state"] != "not_ok"), "{said:#?}");
        for check in [
            "settings",
            "credentials file",
            "NATS",
            "streams",
            "MongoDB",
            "indexes",
            "LD Eval",
            "GitHub token",
            "Taiga account",
            "team",
            "backlog",
            "workers",
            "findings",
            "dead letters",
            "test delivery",
            "summary",
        ] {
            assert!(!of(&said, check).is_empty(), "{check} was not looked at: {said:#?}");
        }
        assert!(of(&said, "team")[0]["found"].as_str().unwrap().starts_with("Team: github push "), "{said:#?}");
        assert!(of(&said, "GitHub token")[0]["found"].as_str().unwrap().contains("of 5000 requests left"), "{said:#?}");
        let delivered = of(&said, "test delivery");
        assert!(delivered.iter().any(|line| line["found"].as_str().unwrap().contains("a signed ping passes")));
    }
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), before, "the test delivery is not published");
}

#[tokio::test]
async fn what_is_not_well_is_named_with_what_to_do() {
    let providers = Providers::start().unwrap();
    let stack = stack(&providers).await;
    send(&stack, &push("Old", 1)).await;
    stored(&stack, "Old", 1, SOON).await;
    let poison = json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "without an id" }] });
    send(&stack, &Delivery::github("push", &poison).project("Old")).await;
    let dead = async || {
        ensure!(stack.messages("LD_DEAD").await? == 1, "no dead letter yet");
        stack.nothing_pending().await
    };
    stack.eventually("it is dead", SOON, dead).await.unwrap();
    assert!(stack.worker().process.stop(LONG).await.unwrap().success());
    let commits = stack.db().await.unwrap().collection::<Document>("github_Old.commits");
    commits.drop_index("sha").await.unwrap();
    stack.eval.down();

    let (code, said) = doctor(&stack, &["--github-secret", "another"]).await;
    assert_eq!(code, Some(1), "{said:#?}");
    is_bad(&said, "indexes", "github_Old.commits");
    is_bad(&said, "LD Eval", "does not answer");
    is_bad(&said, "GitHub token", "401");
    is_bad(&said, "Taiga account", "401");
    let of_team = |line: &&&Value| line["found"].as_str().unwrap().starts_with("Team: no event");
    let team = of(&said, "team");
    assert_eq!(team.iter().find(of_team).unwrap()["state"], "note", "whether it is late is a finding: {said:#?}");
    is_bad(&said, "findings", "Nothing has come from one of 1 teams");
    is_bad(&said, "workers", "no worker takes events");
    is_bad(&said, "dead letters", "1");
    is_bad(&said, "test delivery", "refuses our signature");
    let summary = said.last().unwrap();
    assert!(summary["check"] == "summary" && summary["state"] == "not_ok", "{summary}");
    assert!(summary["found"].as_str().unwrap().contains("LD Eval, "), "it names what is not ok: {summary}");

    let (code, problems) = doctor(&stack, &["--github-secret", "another", "--problems"]).await;
    assert!(code == Some(1) && problems.iter().all(|line| line["state"] == "not_ok"), "{problems:#?}");
    assert_eq!(problems.len(), said.iter().filter(|line| line["state"] == "not_ok").count(), "{problems:#?}");

    // Of one project only what concerns it.
    let (code, said) = doctor(&stack, &["--prj", "Nobody", "--mongo-db", "empty"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(of(&said, "dead letters")[0]["state"], "ok", "{said:#?}");
    assert_eq!(of(&said, "indexes")[0]["state"], "ok", "{said:#?}");
    is_bad(&said, "team", "Nobody: no event");
}

#[tokio::test]
async fn nothing_that_is_away_makes_it_wait_long() {
    let stack = crate::only_ingress().await;
    let away = ["--nats-url", "nats://127.0.0.1:1", "--mongo-uri", "mongodb://127.0.0.1:1", "--eval-port", "1"];
    let broken = harness::paths::scratch("doctor-broken").unwrap().join("credentials.json");
    std::fs::write(&broken, r#"{ "amep": { "teams": "AMEP11Beats" } }"#).unwrap();
    let file = ["--credentials-file", broken.to_str().unwrap(), "--taiga-username", "half"];
    let began = Instant::now();
    let (code, said) = doctor(&stack, &[&away[..], &file].concat()).await;
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    assert_eq!(code, Some(1));
    is_bad(&said, "settings", "TAIGA_PASSWORD");
    is_bad(&said, "credentials file", "teams");
    is_bad(&said, "NATS", "does not answer");
    is_bad(&said, "MongoDB", "127.0.0.1:1");
    is_bad(&said, "LD Eval", "does not answer");
    let (_, said) = doctor(&stack, &["--ingress-url", "http://127.0.0.1:1"]).await;
    is_bad(&said, "test delivery", "does not answer");
}

#[tokio::test]
async fn what_was_read_through_an_api_is_no_teams_last_event_and_an_account_must_see_a_project() {
    let providers = Providers::start().unwrap();
    {
        let mut world = providers.world();
        world.tokens = vec!["token-a".into()];
        world.accounts.insert("teacher".into(), "taiga-password".into());
        world.repos.insert(
            github::REPO.to_owned(),
            Repo { issues: [(7, github::issue(7, "opened", "2026-11-23T17:00:00Z"))].into(), ..Repo::default() },
        );
    }
    let stack = stack(&providers).await;
    let backfill = ["backfill", "github", "--org", "upc-pes", "--prj", "Team"];
    done(&stack, &backfill).await;
    let (_, said) = doctor(&stack, &["--prj", "Team"]).await;
    is_bad(&said, "team", "Team: no event of a webhook");
    is_bad(&said, "Taiga account", "sees no project");

    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    let later = github::issue(8, "opened", "2026-11-23T18:00:00Z");
    providers.world().repos.get_mut(github::REPO).unwrap().issues.insert(8, later);
    providers.world().boards.insert("marmota".to_owned(), Board::new(31, "Marmota"));
    done(&stack, &backfill).await;
    let (_, said) = doctor(&stack, &["--prj", "Team"]).await;
    let found = |check: &str| of(&said, check)[0]["found"].as_str().unwrap().to_owned();
    assert!(found("team").starts_with("Team: github push "), "{said:#?}");
    assert!(found("Taiga account").ends_with("a member of 1 project"), "{said:#?}");
}

#[tokio::test]
async fn a_short_secret_from_which_keys_of_teams_are_derived_is_not_ok() {
    let stack = crate::only_ingress().await;
    let (_, said) = doctor(&stack, &["--team-secrets", "true", "--github-secret", "short"]).await;
    is_bad(&said, "team secrets", "GITHUB_SECRET has fewer than 32 characters");
    let long = "x".repeat(32);
    let (_, said) =
        doctor(&stack, &["--team-secrets", "true", "--github-secret", &long, "--taiga-secret", &long]).await;
    assert!(
        of(&said, "team secrets").iter().all(|line| !line["found"].as_str().unwrap().contains("GITHUB")),
        "{said:#?}"
    );
}
