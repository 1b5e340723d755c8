//! The "recover" buttons of the Learning Dashboard's administration tool, on the worker's admin address.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use harness::providers::board::Board;
use harness::providers::hub::Repo;
use harness::providers::{Behaviour, Providers};
use harness::sender::delivery::Request;
use harness::sender::{github, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::http::openapi::fits;
use crate::pipeline::enrich;
use crate::{LONG, SOON};

const TOKEN: &str = "recovery-token-of-the-test";
const GITHUB_TOKEN: &str = "github-token-typed-by-hand";

/// Asks, and checks the answer against the description that the worker serves.
struct Tool<'a> {
    stack: &'a Stack,
    description: Value,
    answers: BTreeSet<(String, String)>,
}

impl<'a> Tool<'a> {
    async fn new(stack: &'a Stack) -> Self {
        let (status, served) = stack.sender.get(&format!("{}/openapi.json", stack.worker().admin())).await.unwrap();
        assert_eq!(status, 200);
        Self { stack, description: serde_json::from_str(&served).unwrap(), answers: BTreeSet::new() }
    }

    async fn ask_as(&mut self, path: &str, token: &str, body: &str) -> (u16, Value) {
        let answer = post(self.stack, path, token, body).await.unwrap();
        let what = format!("{path} answered {} {}", answer.0, answer.1);
        let described = &self.description["paths"][path]["post"]["responses"][answer.0.to_string()];
        assert!(fits(&self.description, &described["content"]["application/json"]["schema"], &answer.1), "{what}");
        self.answers.insert((path.to_owned(), answer.0.to_string()));
        answer
    }

    async fn ask(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(path, TOKEN, &body.to_string()).await
    }
}

async fn post(stack: &Stack, path: &str, token: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let request = Request {
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("authorization".to_owned(), format!("Bearer {token}")),
        ],
        body: body.to_owned().into(),
    };
    let answer = stack.sender.to(&stack.worker().admin()).request(&request).await?;
    Ok((answer.status, answer.body))
}

/// The state at both providers of a team without webhooks; returns a token of Taiga.
fn world(providers: &Providers) -> String {
    let mut world = providers.world();
    world.tokens = vec![GITHUB_TOKEN.into()];
    let commits = vec![github::commit(&github::sha(1), "task #1")];
    world
        .repos
        .insert(github::REPO.to_owned(), Repo { branches: [("main".to_owned(), commits)].into(), ..Repo::default() });
    let mut board = Board::new(31, "Marmota");
    board.tell(&taiga::event("userstory", "create", "2026-11-23T17:00:00Z", taiga::userstory(1, "x")));
    world.boards.insert("mireia-marmota".to_owned(), board);
    world.log_in("teacher")
}

#[tokio::test]
async fn the_three_buttons_recover_a_team_and_the_tokens_appear_nowhere() {
    let providers = Providers::start().unwrap();
    let taiga_token = world(&providers);
    let options = Options::default().env("RECOVERY_API", "true").env("RECOVERY_TOKEN", TOKEN);
    let stack = enrich::stack(&providers, "recovery", &[("Other", json!({}))], options).await;
    let mut tool = Tool::new(&stack).await;
    let team = json!({ "prj": "Team", "github_url": format!("https://github.com/{}.git", github::REPO), "taiga_url": "mireia-marmota",
        "github_token": GITHUB_TOKEN, "taiga_token": taiga_token, "quality_model": "", "from_date": "" });
    let paths = ["/admin/recovery/team", "/admin/recovery/github", "/admin/recovery/taiga"];

    // Unauthenticated clients, and wrong requests.
    for path in paths {
        assert_eq!(tool.ask_as(path, "another", &team.to_string()).await.0, 401);
        let (status, answer) = tool.ask(path, &json!({})).await;
        assert_eq!((status, answer), (400, json!({ "error": "prj is required" })));
    }
    assert_eq!(tool.ask_as("/data-recovery/run", "another", "{}").await.0, 401);
    assert_eq!(tool.ask_as("/data-recovery/run", TOKEN, "[]").await.0, 400);
    let mut elsewhere = team.clone();
    elsewhere["github_url"] = json!("https://github.com.evil.example/o/r");
    let (status, answer) = tool.ask(paths[0], &elsewhere).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("because tokens go there"), "{answer}");
    assert!(providers.calls().is_empty(), "{:?}", providers.calls());

    let (status, answer) = tool.ask(paths[0], &team).await;
    assert_eq!((status, &answer["status"]), (200, &json!("ok")), "{answer}");
    assert_eq!(
        (&answer["steps"][0]["repaired"], &answer["steps"][1]["source"]),
        (&json!(1), &json!("taiga")),
        "{answer}"
    );
    // The answer comes when all is stored.
    assert_eq!(stack.documents("github_Team.commits").await.unwrap().len(), 1);
    assert_eq!(stack.documents("taiga_Team.userstories").await.unwrap().len(), 1);
    let notified = async || stack.eval.has_accepted("Team", ("push", "backfill", None));
    stack.eventually("LD Eval is notified", SOON, notified).await.unwrap();
    for path in &paths[1..] {
        assert_eq!(tool.ask(path, &team).await.0, 200, "{path}");
    }

    // A step that fails does not stop the other.
    let mut nowhere = team.clone();
    nowhere["github_url"] = json!("no-such-organisation");
    let (status, answer) = tool.ask(paths[0], &nowhere).await;
    assert_eq!(
        (status, &answer["steps"][0]["status"], &answer["steps"][1]["status"]),
        (500, &json!("error"), &json!("ok")),
        "{answer}"
    );

    for (path, method) in [("/admin/recovery/team", "post"), ("/data-recovery/run", "post")] {
        assert!(tool.description["paths"][path][method].is_object());
    }
    let (status, answer) = tool.ask("/data-recovery/run", &json!({ "since_hours": 1, "dry_run": true })).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
    assert_eq!(
        tool.ask("/data-recovery/run", &json!({ "run_async": true })).await,
        (202, json!({ "status": "accepted" }))
    );
    let log = stack.worker().process.log().lines().join("\n");
    for secret in [GITHUB_TOKEN, taiga_token.as_str(), TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_recovery_goes_on_when_its_client_hangs_up_and_a_second_one_of_the_team_is_refused() {
    let providers = Providers::start().unwrap();
    world(&providers);
    providers.world().behaves(GITHUB_TOKEN, Behaviour::Slow(Duration::from_secs(3)));
    let options = Options::default().env("RECOVERY_API", "true").env("RECOVERY_TOKEN", TOKEN);
    let stack = enrich::stack(&providers, "recovery-goes-on", &[("Other", json!({}))], options).await;
    let mut tool = Tool::new(&stack).await;
    let team = json!({ "prj": "Team", "github_url": github::REPO, "github_token": GITHUB_TOKEN });
    let asked = async || {
        ensure!(!providers.calls_of(GITHUB_TOKEN).is_empty(), "GitHub is not asked yet");
        Ok(())
    };
    let body = team.to_string();
    tokio::select! {
        _ = post(&stack, "/admin/recovery/github", TOKEN, &body) => panic!("it was answered before GitHub did"),
        begun = stack.eventually("GitHub is asked", SOON, asked) => begun.unwrap(),
    }
    // The first client is gone.
    let (status, answer) = tool.ask("/admin/recovery/github", &team).await;
    assert_eq!((status, &answer["status"]), (409, &json!("busy")), "{answer}");
    providers.world().behaves(GITHUB_TOKEN, Behaviour::Normal);
    let stored = async || {
        ensure!(stack.documents("github_Team.commits").await?.len() == 1, "the commit is not stored yet");
        Ok(())
    };
    stack.eventually("the commit is stored", LONG, stored).await.unwrap();
    let free = async || {
        let (status, answer) = post(&stack, "/admin/recovery/github", TOKEN, &team.to_string()).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
    };
    stack.eventually("the team may be recovered again", LONG, free).await.unwrap();
}

#[tokio::test]
async fn all_teams_are_recovered_once_at_a_time_and_an_outage_of_nats_is_said() {
    let providers = Providers::start().unwrap();
    world(&providers);
    providers.world().behaves(GITHUB_TOKEN, Behaviour::Slow(Duration::from_secs(3)));
    let options =
        Options { own_nats: true, ..Options::default() }.env("RECOVERY_API", "true").env("RECOVERY_TOKEN", TOKEN);
    let course = json!({ "github_token": GITHUB_TOKEN, "github": { "Team": github::REPO } });
    let stack = enrich::stack(&providers, "recovery-of-all", &[("Team", course)], options).await;
    let mut tool = Tool::new(&stack).await;
    let all = json!({ "run_async": true });
    assert_eq!(tool.ask("/data-recovery/run", &all).await.0, 202);
    assert_eq!(tool.ask("/data-recovery/run", &all).await, (409, json!({ "status": "busy" })));
    providers.world().behaves(GITHUB_TOKEN, Behaviour::Normal);
    let free = async || {
        let (status, answer) = post(&stack, "/data-recovery/run", TOKEN, "{}").await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
    };
    stack.eventually("all teams may be recovered again", LONG, free).await.unwrap();
    assert_eq!(stack.documents("github_Team.commits").await.unwrap().len(), 1);

    stack.nats.as_ref().unwrap().process.kill().unwrap();
    let mut tool = Tool::new(&stack).await;
    let (status, answer) = tool.ask("/data-recovery/run", &json!({})).await;
    assert_eq!((status, &answer["status"]), (500, &json!("error")), "{answer}");
}

#[tokio::test]
async fn without_the_setting_there_is_no_such_path() {
    let stack = Stack::start().await.unwrap();
    for path in ["/admin/recovery/team", "/data-recovery/run"] {
        assert_eq!(post(&stack, path, "", "{}").await.unwrap().0, 404, "{path}");
    }
}
