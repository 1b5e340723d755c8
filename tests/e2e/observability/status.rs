//! The status page: whether all is well, for people in three languages and for programs.

use anyhow::ensure;
use futures::StreamExt as _;
use harness::eval::Reply;
use harness::paths::scratch;
use harness::providers::{Commit, Providers};
use harness::sender::{Delivery, Request, github};
use harness::stack::{Options, Service, Stack};
use serde_json::{Value, json};
use shared::envelope::{self, Envelope, header};
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::source::Source;

use crate::observe::{push, send};
use crate::pipeline::enrich;
use crate::{LONG, SOON};

/// `/status.json` of a worker.
async fn status(stack: &Stack, worker: &Service) -> anyhow::Result<Value> {
    let (code, body) = stack.sender.get(&format!("{}/status.json", worker.admin())).await?;
    ensure!(code == 200, "/status.json answered {code} {body}");
    Ok(serde_json::from_str(&body)?)
}

/// `/status.json` comes to fit; gives it.
async fn becomes(stack: &Stack, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let fact = async || {
        let status = status(stack, stack.worker()).await?;
        ensure!(fits(&status), "{status:#}");
        Ok(status)
    };
    stack.eventually(what, LONG, fact).await.unwrap()
}

fn row<'s>(status: &'s Value, prj: impl Into<Value>, source: &str) -> &'s Value {
    let prj = prj.into();
    let rows = status["rows"].as_array().unwrap();
    rows.iter().find(|row| row["prj"] == prj && row["source"] == source).unwrap_or(&Value::Null)
}

/// The kinds of findings, worst first.
fn findings(status: &Value) -> Vec<&str> {
    status["findings"].as_array().unwrap().iter().map(|finding| finding["what"].as_str().unwrap()).collect()
}

/// The page as a browser that likes this language gets it.
async fn page(stack: &Stack, language: &str) -> String {
    let request = Request {
        method: "GET".into(),
        path: "/status".into(),
        headers: vec![("accept-language".into(), language.into())],
        body: Default::default(),
    };
    let answer = stack.sender.to(&stack.worker().admin()).request(&request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body.as_str().unwrap().to_owned()
}

/// Correct but for its signature.
fn forged(stack: &Stack, delivery: &Delivery) -> Request {
    delivery.request(stack.sender.secrets()).with("x-hub-signature", &format!("sha1={}", "0".repeat(40)))
}

async fn refused(stack: &Stack, delivery: &Delivery) {
    assert_eq!(stack.sender.request(&forged(stack, delivery)).await.unwrap().status, 403);
}

#[tokio::test]
async fn every_worker_shows_the_last_events_refusals_and_notifications() {
    let file = scratch("status-teams").unwrap().join("credentials.json");
    std::fs::write(&file, json!({ "amep": { "teams": ["Quiet", "Loud"] } }).to_string()).unwrap();
    let options = Options::default().env("CREDENTIALS_FILE", file.to_str().unwrap());
    let mut stack = Stack::start_with(options).await.unwrap();
    stack.add_worker().await.unwrap();
    let nothing = |status: &Value| findings(status) == ["never_heard"];
    let empty = becomes(&stack, "nothing has come from the two teams", nothing).await;
    assert_eq!((&empty["level"], &empty["findings"][0]["teams"]), (&json!("look"), &json!(["Loud", "Quiet"])));
    assert_eq!(empty["rows"].as_array().unwrap().len(), 6, "each listed team has its three sources: {empty:#}");
    assert!(row(&empty, "Quiet", "taiga")["last_accepted"].is_null());

    let before = shared::time::now_ms();
    for n in 0..3 {
        send(&stack, &push("Loud", n)).await;
    }
    refused(&stack, &push("Quiet", 9)).await;
    let spoke = |status: &Value| {
        let notified = status["last_notified"]["prj"] == "Loud" && status["notifications_waiting"] == 0;
        let hours =
            row(status, "Loud", "github")["hours"].as_array().map(|hours| hours.iter().filter_map(Value::as_u64).sum());
        notified && hours == Some(3_u64) && row(status, "Quiet", "github")["last_unverified"]["reason"] == "signature"
    };
    let found = becomes(&stack, "the page shows it", spoke).await;
    let at = row(&found, "Loud", "github")["last_accepted"].as_i64().unwrap();
    assert!((before..before + 90_000).contains(&at), "{at} is not just after {before}");
    assert_eq!((found["level"].as_str(), findings(&found)), (Some("look"), vec!["never_heard", "unverified"]));
    assert_eq!(found["findings"][0]["teams"], json!(["Quiet"]));
    assert_eq!(found["rows"][0]["prj"], "Quiet", "trouble comes first");
    let everywhere = async || {
        for worker in &stack.workers {
            ensure!(spoke(&status(&stack, worker).await?), "{} shows something else", worker.process.name());
        }
        Ok(())
    };
    stack.eventually("every worker shows the same", SOON, everywhere).await.unwrap();

    // A webhook with the right signature ends both findings.
    send(&stack, &push("Quiet", 9)).await;
    let fixed = becomes(&stack, "all is well again", |status| findings(status).is_empty()).await;
    assert_eq!(fixed["level"], "well");
    assert_eq!(row(&fixed, "Quiet", "github")["last_unverified"]["reason"], "signature");
}

/// A stack whose credentials file lists these teams.
async fn listing(name: &str, teams: &[&str]) -> Stack {
    let file = scratch(name).unwrap().join("credentials.json");
    std::fs::write(&file, json!({ "amep": { "teams": teams } }).to_string()).unwrap();
    Stack::start_with(Options::default().env("CREDENTIALS_FILE", file.to_str().unwrap())).await.unwrap()
}

#[tokio::test]
async fn a_forged_request_says_nothing_against_a_team_and_hides_nothing_that_it_sent() {
    let stack = listing("status-forged", &["Team"]).await;
    send(&stack, &push("Team", 1)).await;
    becomes(&stack, "it was heard", |status| findings(status).is_empty()).await;
    refused(&stack, &push("Team", 2)).await;
    let noted = becomes(&stack, "the forged request is noted", |status| findings(status) == ["unverified"]).await;
    assert_eq!((&noted["level"], &row(&noted, "Team", "github")["level"]), (&json!("well"), &json!("well")));

    // Signed, so the team's own; what is forged after it does not take its place.
    let broken = Delivery::github("push", &json!([])).project("Team");
    assert_eq!(stack.sender.request(&broken.request(stack.sender.secrets())).await.unwrap().status, 400);
    refused(&stack, &push("Team", 3)).await;
    let both = |status: &Value| findings(status) == ["refused", "unverified"];
    let found = becomes(&stack, "the signed request is a finding", both).await;
    assert_eq!((&found["level"], &found["findings"][0]["reason"]), (&json!("look"), &json!("json")));
}

#[tokio::test]
async fn three_thousand_invented_projects_take_no_place_of_a_listed_team() {
    let file = scratch("status-invented").unwrap().join("credentials.json");
    std::fs::write(&file, json!({ "amep": { "teams": ["Listed"] } }).to_string()).unwrap();
    let options = Options::default().env("CREDENTIALS_FILE", file.to_str().unwrap());
    let mut stack = Stack::start_with(Options { no_worker: true, ..options }).await.unwrap();
    let sheet = |n: u64| {
        let message = event(&stack, Source::Excel, "sheets_activity", &format!("Invented{n}"), n, json!({}));
        let mut headers = message.headers;
        headers.insert(header::UNSIGNED, "1");
        Outgoing { headers, ..message }
    };
    let publisher = Publisher::new(stack.jetstream().await.unwrap().client());
    publisher.publish_all((0..3_100).map(sheet).collect()).await.unwrap();
    send(&stack, &push("Listed", 1)).await;
    stack.add_worker().await.unwrap();
    let heard = |status: &Value| row(status, "Listed", "github")["last_accepted"].is_i64();
    let found = becomes(&stack, "the listed team was heard", heard).await;
    assert_eq!(found["rows"][0]["prj"], "Listed");
    assert!(found["rows"].as_array().unwrap().len() < 400, "invented projects have a bounded number of rows");
}

#[tokio::test]
async fn the_page_is_filtered_without_a_script_and_found_at_the_root() {
    let stack = listing("status-filter", &["L10", "L2"]).await;
    let get = async |path: &str| {
        let (headers, body) = (Vec::new(), Default::default());
        let request = Request { method: "GET".into(), path: path.into(), headers, body };
        stack.sender.to(&stack.worker().admin()).request(&request).await.unwrap()
    };
    let found = get("/status?q=l10").await.body.as_str().unwrap().to_owned();
    assert!(found.contains(">L10<") && !found.contains(">L2<") && found.contains("value=\"l10\""), "{found}");
    assert!(get("/").await.body.as_str().unwrap().contains("<title>"), "the root leads to the page");
    let all = page(&stack, "en").await;
    assert!(all.find(">L2<").unwrap() < all.find(">L10<").unwrap(), "in the order in which people count: {all}");
}

#[tokio::test]
async fn unauthenticated_requests_for_invented_projects_share_one_note_and_no_metric() {
    let stack = Stack::start().await.unwrap();
    for n in 0..300 {
        refused(&stack, &push(&format!("invented{n}"), n)).await;
    }
    let refused = |status: &Value| status["unknown_projects"]["github"]["prj"] == "invented299";
    let found = becomes(&stack, "the last one is shown", refused).await;
    assert_eq!((found["level"].as_str(), findings(&found)), (Some("well"), vec!["unknown_project"]));
    assert_eq!(stack.messages("LD_STATUS").await.unwrap(), 1, "all unknown projects share one message");
    let metrics = stack.sender.get(&format!("{}/metrics", stack.ingress.admin())).await.unwrap().1;
    assert!(!metrics.contains("invented"), "unknown projects make no time series");
}

#[tokio::test]
async fn dead_letters_and_an_absent_ld_eval_are_reported_with_what_to_do() {
    let stack = Stack::start().await.unwrap();
    stack.eval.reply(Reply::Status(503));
    send(&stack, &push("Team", 1)).await;
    let mut nameless = github::issue(1, "opened", "2026-11-23T17:42:03Z");
    nameless["issue"]["number"] = Value::Null;
    send(&stack, &Delivery::github("issues", &nameless)).await;
    let both = |status: &Value| findings(status) == ["eval_away", "dead_letters"];
    let found = becomes(&stack, "both are found", both).await;
    assert_eq!((found["level"].as_str(), &found["dead"]), (Some("look"), &json!({ "no_identity": 1 })));
    assert_eq!(row(&found, "Team", "github")["dead"], 1);
    assert!(found["last_notification_failure"]["error"].as_str().unwrap().contains("503"));
    for (language, sentence, todo) in [
        ("en", "LD Eval does not accept notifications", "worker dead-letters list"),
        ("ca-ES,ca;q=0.9", "LD Eval no accepta notificacions", "worker dead-letters list"),
        ("es", "LD Eval no acepta notificaciones", "worker dead-letters list"),
    ] {
        let page = page(&stack, language).await;
        assert!(page.contains(&format!("<html lang=\"{}\"", &language[..2])), "{page}");
        let top = page.split("id=\"sentence\"").nth(1).unwrap().split("</p>").next().unwrap();
        assert!(top.contains(sentence), "{top}");
        assert!(page.contains(todo) && !page.contains("<script"), "{page}");
    }
    stack.eval.reply(Reply::Accepted);
    becomes(&stack, "LD Eval is back", |status| findings(status) == ["dead_letters"]).await;
}

#[tokio::test]
async fn a_tokens_budget_is_shown_by_its_course_and_never_itself() {
    let providers = Providers::start().unwrap();
    let courses = [("A", json!({ "github_token": "token-a" }))];
    let stack = enrich::stack(&providers, "status", &courses, Options::default()).await;
    {
        let mut world = providers.world();
        world.tokens = vec!["token-a".into()];
        world.knows(github::REPO, &github::sha(1), Commit::plain(10, 5));
    }
    send(&stack, &push("A", 1)).await;
    let shown = |status: &Value| {
        let token = &status["tokens"][0];
        token["label"] == "course-of-A" && token["provider"] == "github" && token["remaining"].as_u64() > Some(0)
    };
    becomes(&stack, "the budget is shown", shown).await;
    assert!(!page(&stack, "en").await.contains("token-a"));
}

#[tokio::test]
async fn without_nats_the_page_says_so_and_keeps_what_it_knew() {
    let stack = Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap();
    send(&stack, &push("Team", 1)).await;
    let known = |status: &Value| row(status, "Team", "github")["last_accepted"].is_i64();
    becomes(&stack, "the team is shown", known).await;
    stack.nats.as_ref().unwrap().process.kill().unwrap();
    let nats = |status: &Value| status["level"] == "broken" && findings(status)[0] == "nats";
    let found = becomes(&stack, "NATS is blamed", nats).await;
    assert!(known(&found), "{found:#}");
    stack.nats.as_ref().unwrap().start_again().await.unwrap();
    becomes(&stack, "all is well again", |status| status["level"] == "well").await;
}

#[tokio::test]
async fn what_an_operator_sends_again_is_no_activity_of_the_project() {
    let stack = Stack::start().await.unwrap();
    let first = push("Team", 1);
    send(&stack, &first).await;
    let hours = |status: &Value| {
        let row = row(status, "Team", "github");
        (
            row["last_accepted"].as_i64(),
            row["hours"].as_array().map(|hours| hours.iter().filter_map(Value::as_u64).sum::<u64>()),
        )
    };
    let before = hours(&becomes(&stack, "it is counted", |status| hours(status).1 == Some(1)).await);
    // As `worker dead-letters redrive` does, and what a backfill publishes.
    let again = Envelope {
        source: Source::Github,
        project: Project::new("Team").unwrap(),
        event: "push".into(),
        delivery: "again".into(),
        quality_model: None,
        received_at: shared::time::now_ms(),
        traceparent: None,
        origin_sequence: Some(1),
        read_at: None,
        payload: first.json.clone(),
    };
    let (headers, payload) = envelope::encode(&again);
    let subject = format!("{}.ld.events.github.Team.push", stack.prefix);
    let jetstream = stack.jetstream().await.unwrap();
    jetstream.publish_with_headers(subject, headers, payload).await.unwrap().await.unwrap();
    send(&stack, &push("Other", 2)).await;
    let later =
        becomes(&stack, "what came after it is counted", |status| !row(status, "Other", "github").is_null()).await;
    assert_eq!(hours(&later), before);
}

#[tokio::test]
async fn a_deleted_stream_of_facts_is_made_again() {
    let stack = Stack::start().await.unwrap();
    stack.eventually("there is one", SOON, async || stack.stream("LD_STATUS").await).await.unwrap();
    let name = format!("{}_LD_STATUS", stack.prefix);
    stack.jetstream().await.unwrap().delete_stream(&name).await.unwrap();
    refused(&stack, &push("Team", 1)).await;
    let refused = |status: &Value| status["unknown_projects"]["github"]["reason"] == "signature";
    let found = becomes(&stack, "the refusal is shown", refused).await;
    assert_eq!(found["level"], "well");
}

#[tokio::test]
async fn looking_costs_the_same_however_many_look_and_leaves_nothing_behind() {
    let stack = Stack::start().await.unwrap();
    send(&stack, &push("Team", 1)).await;
    stack.eventually("it is settled", SOON, async || stack.nothing_pending().await).await.unwrap();
    let looks = (0..100).map(|_| page(&stack, "en"));
    futures::future::join_all(looks).await;
    for stream in ["LD_EVENTS", "LD_STATUS"] {
        let consumers = stack.stream(stream).await.unwrap().consumers().count().await;
        let durable = usize::from(stream == "LD_EVENTS");
        assert_eq!(consumers, durable, "a look leaves a consumer on {stream}");
    }
}

/// What ingress publishes of an event that it just accepted.
fn event(stack: &Stack, source: Source, event: &str, prj: &str, n: u64, payload: Value) -> Outgoing {
    let project = Project::new(prj).unwrap();
    let subject = format!("{}.ld.events.{source}.{prj}.{event}", stack.prefix);
    let envelope = Envelope {
        source,
        project,
        event: event.into(),
        delivery: format!("{prj}-{n}"),
        quality_model: None,
        received_at: shared::time::now_ms(),
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload: payload.to_string().into(),
    };
    let (headers, payload) = envelope::encode(&envelope);
    Outgoing { subject, headers, payload }
}

#[tokio::test]
async fn more_events_than_one_portion_are_all_counted_once() {
    let mut stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    let publisher = Publisher::new(stack.jetstream().await.unwrap().client());
    let payload = github::push(1, [github::commit(&github::sha(1), "task #1")]);
    let event = |n: u64| event(&stack, Source::Github, "push", &format!("T{}", n % 7), n, payload.clone());
    publisher.publish_all((0..2_500).map(event).collect()).await.unwrap();
    stack.add_worker().await.unwrap();
    let counted = |status: &Value| -> u64 {
        let rows = status["rows"].as_array().unwrap().iter();
        rows.flat_map(|row| row["hours"].as_array().unwrap()).filter_map(Value::as_u64).sum()
    };
    let all = |status: &Value| status["events_not_counted"] == 0 && counted(status) > 0;
    assert_eq!(counted(&becomes(&stack, "all are counted", all).await), 2_500);
    send(&stack, &push("T0", 9_999)).await;
    becomes(&stack, "only what is new is counted then", |status| counted(status) == 2_501).await;
}
