//! What each request is answered, and that only a 200 "ok" is published.

use harness::paths::scratch;
use harness::raw::{chunk, exchange, head};
use harness::sender::delivery::Request;
use harness::sender::sign::{hmac_sha1, hmac_sha256, sha256};
use harness::sender::{Delivery, Secrets, github, sheets, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::only_ingress;

/// A word that must never come back in an answer.
const MARK: &str = "s3ntinel";

const LIMIT: usize = 25 * 1024 * 1024;

fn push() -> Value {
    github::push(1_795_455_723, [github::commit(&github::sha(1), "task #1")])
}

fn story() -> Value {
    taiga::event("userstory", "create", "2026-11-23T17:42:03.511Z", taiga::userstory(1, "A story"))
}

/// Sends, and insists on this answer.
async fn answers(stack: &Stack, what: &str, request: &Request, status: u16, body: Value) {
    let answer = stack.sender.request(request).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!((answer.status, &answer.body), (status, &body), "{what}");
}

/// Sends, and insists on 400 with an error that says one of these words and repeats nothing.
async fn is_400(stack: &Stack, what: &str, request: &Request, word: &str) {
    let answer = stack.sender.request(request).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!(answer.status, 400, "{what}: {}", answer.body);
    let error = answer.body["error"].as_str().unwrap_or_else(|| panic!("{what}: no error in {}", answer.body));
    assert!(error.to_lowercase().contains(&word.to_lowercase()), "{what}: {error:?} does not say {word:?}");
    assert!(!error.contains(MARK), "{what}: the answer repeats the request: {error}");
    assert_eq!(answer.body.as_object().map(serde_json::Map::len), Some(1), "{what}: {}", answer.body);
}

fn forbidden() -> Value {
    json!({ "error": "Invalid Signature" })
}

async fn nothing_was_published(stack: &Stack) {
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 0);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_405() {
    let stack = only_ingress().await;
    let good = Delivery::github("push", &push()).request(stack.sender.secrets());
    for path in ["/", "/webhook", "/webhook/", "/webhook/gitlab?prj=Team", "/webhook/github/x?prj=Team", "/metrics"] {
        assert_eq!(stack.sender.request(&good.clone().path(path)).await.unwrap().status, 404, "POST {path}");
    }
    for source in ["github", "taiga", "excel"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let request = good.clone().method(method).path(&format!("/webhook/{source}?prj=Team"));
            assert_eq!(stack.sender.request(&request).await.unwrap().status, 405, "{method} {source}");
        }
    }
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn a_body_over_25_mib_is_413_declared_or_streamed_before_its_signature_is_looked_at() {
    let stack = only_ingress().await;
    let address = stack.ingress.webhooks_addr();
    let too_large = (413, r#"{"error":"Payload too large"}"#.to_owned());
    for source in ["github", "taiga", "excel"] {
        let line = format!("POST /webhook/{source}?prj=Team HTTP/1.1");
        let length = format!("Content-Length: {}", LIMIT + 1);
        let declared = [head(&[&line, "Host: x", "Content-Type: application/json", &length])];
        assert_eq!(exchange(address, declared).await.unwrap(), too_large, "{source}, declared");
    }
    let begin = head(&["POST /webhook/taiga?prj=Team HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]);
    let parts = std::iter::once(begin).chain(std::iter::repeat_n(chunk(&[b' '; 1 << 20]), 26)).chain([chunk(b"")]);
    assert_eq!(exchange(address, parts).await.unwrap(), too_large, "streamed");
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn a_github_signature_that_is_missing_malformed_or_wrong_is_403() {
    let stack = only_ingress().await;
    let good = Delivery::github("push", &push()).request(stack.sender.secrets());
    let (one, two) = ("x-hub-signature", "x-hub-signature-256");
    let other = |body: &[u8]| (hmac_sha1("other", body), hmac_sha256("other", body));
    let (wrong_one, wrong_two) = other(&good.body);
    let bare = |header: &str| good.header(header).split_once('=').unwrap().1.to_owned();
    let mut spoiled = vec![
        ("no signature", good.clone().without(one).without(two)),
        ("only SHA-256", good.clone().without(one)),
        ("only SHA-1", good.clone().without(two)),
        ("a wrong SHA-1", good.clone().with(one, &format!("sha1={wrong_one}"))),
        ("a wrong SHA-256", good.clone().with(two, &format!("sha256={wrong_two}"))),
        ("SHA-1 without its prefix", good.clone().with(one, &bare(one))),
        ("SHA-256 without its prefix", good.clone().with(two, &bare(two))),
        ("SHA-256 as SHA-1", good.clone().with(one, good.header(two))),
        ("a digit too few", good.clone().with(two, &good.header(two)[..70])),
        ("a digit too many", good.clone().with(two, &format!("{}0", good.header(two)))),
        ("no hex", good.clone().with(two, &format!("sha256={}", "é".repeat(32)))),
        ("empty", good.clone().with(one, "").with(two, "")),
        ("only prefixes", good.clone().with(one, "sha1=").with(two, "sha256=")),
    ];
    let mut changed = good.clone();
    changed.body = [&good.body[..], b" "].concat().into();
    spoiled.push(("a byte more than was signed", changed));
    for (what, request) in &spoiled {
        answers(&stack, what, request, 403, forbidden()).await;
    }
    nothing_was_published(&stack).await;
    assert_eq!(stack.sender.request(&good).await.unwrap().status, 200, "the unspoiled one");
}

#[tokio::test]
async fn a_taiga_signature_that_is_missing_malformed_or_wrong_is_403() {
    let stack = only_ingress().await;
    let good = Delivery::taiga(&story()).request(stack.sender.secrets());
    let name = "x-taiga-webhook-signature";
    let right = good.header(name).to_owned();
    for (what, request) in [
        ("only X-Hub-Signature, which means nothing here", good.clone().without(name)),
        ("wrong", good.clone().with(name, &hmac_sha1("other", &good.body))),
        ("GitHub's form of it", good.clone().with(name, &format!("sha1={right}"))),
        ("too short", good.clone().with(name, &right[..39])),
        ("empty", good.clone().with(name, "")),
        ("SHA-256", good.clone().with(name, &hmac_sha256(&stack.sender.secrets().taiga, &good.body))),
    ] {
        answers(&stack, what, &request, 403, forbidden()).await;
    }
    nothing_was_published(&stack).await;
    let without_githubs = good.without("x-hub-signature");
    assert_eq!(stack.sender.request(&without_githubs).await.unwrap().status, 200, "X-Hub-Signature is not needed");
}

#[tokio::test]
async fn a_sheet_is_signed_where_a_secret_is_set() {
    let stack = only_ingress().await;
    let good = Delivery::sheets(&sheets::row(1)).request(stack.sender.secrets());
    let name = "x-sheets-signature";
    for (what, request) in [
        ("unsigned", good.clone().without(name)),
        ("wrong", good.clone().with(name, &format!("sha256={}", hmac_sha256("other", &good.body)))),
        ("without its prefix", good.clone().with(name, &good.header(name)[7..])),
    ] {
        answers(&stack, what, &request, 403, forbidden()).await;
    }
    nothing_was_published(&stack).await;
    assert_eq!(stack.sender.request(&good).await.unwrap().status, 200);
}

#[tokio::test]
async fn without_a_secret_the_sheets_of_listed_teams_are_accepted_unsigned_and_those_of_invented_projects_are_not() {
    let file = scratch("unsigned_sheets").unwrap().join("credentials.json");
    std::fs::write(&file, json!({ "c": { "teams": ["Listed"] } }).to_string()).unwrap();
    let options = Options { no_worker: true, ..Options::default() }.env("EXCEL_SECRET", "");
    let stack = Stack::start_with(options.env("CREDENTIALS_FILE", file.to_str().unwrap())).await.unwrap();
    let unsigned = Secrets { excel: None, ..Secrets::default() };
    let of = |prj: &str| Delivery::sheets(&sheets::row(1)).project(prj).request(&unsigned);
    let refused = json!({ "error": "Unsigned sheets are not accepted for this project" });
    answers(&stack, "an invented project", &of("Invented"), 403, refused).await;
    nothing_was_published(&stack).await;
    assert_eq!(stack.sender.request(&of("Listed")).await.unwrap().status, 200);
    let events = stack.stream("LD_EVENTS").await.unwrap();
    let message = events.get_raw_message(events.cached_info().state.last_sequence).await.unwrap();
    assert_eq!(message.headers.get("LD-Unsigned").map(|value| value.as_str()), Some("1"));
}

#[tokio::test]
async fn a_teams_own_secret_signs_for_that_team_only_and_what_signed_is_counted() {
    let file = scratch("team_secrets").unwrap().join("credentials.json");
    let course = |mode: Value, team: &str| json!({ "teams": [team], "github_secret": format!("{team}-secret"), "team_secrets": mode });
    let courses = json!({ "new": course(json!(true), "New"), "moving": course(json!("both"), "Moving") });
    std::fs::write(&file, courses.to_string()).unwrap();
    let options = Options { no_worker: true, ..Options::default() }.env("CREDENTIALS_FILE", file.to_str().unwrap());
    let stack = Stack::start_with(options).await.unwrap();
    let key = |team: &str| hmac_sha256(&format!("{team}-secret"), format!("ld-connect/1/github/{team}").as_bytes());
    for (prj, github, status) in [
        ("New", key("New"), 200),
        ("New", "New-secret".to_owned(), 403),
        ("New", key("Moving"), 403),
        ("Moving", key("Moving"), 200),
        ("Moving", "Moving-secret".to_owned(), 200),
        ("Moving", key("New"), 403),
        ("Other", key("New"), 403),
    ] {
        let secrets = Secrets { github: github.clone(), ..Secrets::default() };
        let answer =
            stack.sender.request(&Delivery::github("push", &push()).project(prj).request(&secrets)).await.unwrap();
        assert_eq!(answer.status, status, "{prj} with {github}: {}", answer.body);
    }
    let (_, metrics) = stack.sender.get(&format!("{}/metrics", stack.ingress.admin())).await.unwrap();
    for (key, times) in [("team", 2), ("course", 1), ("previous", 0)] {
        let line = format!(r#"ldconnect_ingest_signed_total{{source="github",key="{key}"}} {times}"#);
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_source_without_a_secret_refuses_everything() {
    let options = Options { no_worker: true, ..Options::default() }.env("GITHUB_SECRET", "").env("TAIGA_SECRET", "");
    let stack = Stack::start_with(options).await.unwrap();
    let empty = Secrets { github: String::new(), taiga: String::new(), excel: None };
    for secrets in [&empty, &Secrets::default()] {
        answers(&stack, "GitHub", &Delivery::github("push", &push()).request(secrets), 403, forbidden()).await;
        answers(&stack, "Taiga", &Delivery::taiga(&story()).request(secrets), 403, forbidden()).await;
    }
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn the_previous_secret_is_accepted_while_a_key_is_being_changed() {
    let options = Options { no_worker: true, ..Options::default() }.env("GITHUB_SECRET_PREVIOUS", "the-secret-before");
    let stack = Stack::start_with(options).await.unwrap();
    let before = Secrets { github: "the-secret-before".to_owned(), ..Secrets::default() };
    for secrets in [&before, stack.sender.secrets()] {
        let request = Delivery::github("push", &push()).request(secrets);
        assert_eq!(stack.sender.request(&request).await.unwrap().status, 200);
    }
    let mixed = Delivery::github("push", &push()).request(&before);
    let mixed = mixed.clone().with("x-hub-signature", &format!("sha1={}", hmac_sha1("neither", &mixed.body)));
    answers(&stack, "one of two wrong", &mixed, 403, forbidden()).await;
}

#[tokio::test]
async fn the_documented_sign_of_life_is_403() {
    let stack = only_ingress().await;
    let request = Request {
        method: "POST".to_owned(),
        path: "/webhook/github?ping=1".to_owned(),
        headers: Vec::new(),
        body: Default::default(),
    };
    answers(&stack, "the sign of life", &request, 403, forbidden()).await;
}

#[tokio::test]
async fn a_project_that_is_absent_or_outside_its_alphabet_is_400() {
    let stack = only_ingress().await;
    let good = Delivery::github("push", &push()).request(stack.sender.secrets());
    let absent = json!({ "error": "prj is required as query parameter" });
    for path in ["/webhook/github", "/webhook/github?quality_model=AMEP", "/webhook/github?project=Team"] {
        answers(&stack, path, &good.clone().path(path), 400, absent.clone()).await;
    }
    let long = "p".repeat(65);
    for project in ["a.b", "a%20b", "a+b", "a*", "a%3E", "%E9", "%C3%A9", "a%00", "a/b", &format!("{MARK}!"), &long] {
        let request = good.clone().path(&format!("/webhook/github?prj={project}"));
        is_400(&stack, project, &request, "A-Z").await;
    }
    nothing_was_published(&stack).await;
    let fits = good.clone().path(&format!("/webhook/github?utm_source=x&prj={}&y", &long[..64]));
    assert_eq!(stack.sender.request(&fits).await.unwrap().status, 200, "64 characters, and parameters of no meaning");
}

#[tokio::test]
async fn a_body_that_is_not_one_json_object_is_400() {
    let stack = only_ingress().await;
    let of = |bytes: &[u8]| {
        [
            Delivery::github("push", &Value::Null).bytes(bytes.to_vec()),
            Delivery::taiga(&Value::Null).bytes(bytes.to_vec()),
            Delivery::sheets(&Value::Null).bytes(bytes.to_vec()),
        ]
    };
    for delivery in of(b"") {
        let request = delivery.request(stack.sender.secrets());
        let source = delivery.source.as_str();
        answers(&stack, source, &request, 400, json!({ "error": "No JSON received" })).await;
    }
    let bad: [&[u8]; 11] = [
        b"[]",
        b"[{\"s3ntinel\":1}]",
        b"\"s3ntinel\"",
        b"42",
        b"null",
        b"{\"s3ntinel\":",
        b"{\"s3ntinel\":1}{}",
        b"{\"s3ntinel\":1} x",
        b"s3ntinel",
        b"{\"s3ntinel\":\"\xff\"}",
        b"{'s3ntinel':1}",
    ];
    for bytes in bad {
        for delivery in of(bytes) {
            let what = format!("{} {}", delivery.source, String::from_utf8_lossy(bytes));
            is_400(&stack, &what, &delivery.request(stack.sender.secrets()), "").await;
        }
    }
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn a_form_without_its_payload_is_400() {
    let stack = only_ingress().await;
    let secrets = stack.sender.secrets();
    for body in ["a=b", "payload=", "payload", "payload=%7B", "payload=s3ntinel", "payload=%FF", "{}"] {
        // Signed as it is, then declared to be a form.
        let request = Delivery::github("push", &Value::Null).bytes(body).request(secrets);
        let request = request.with("content-type", "application/x-www-form-urlencoded");
        is_400(&stack, body, &request, "").await;
    }
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn github_without_its_event_header_is_400() {
    let stack = only_ingress().await;
    let good = Delivery::github("push", &push()).request(stack.sender.secrets());
    is_400(&stack, "no event", &good.without("x-github-event"), "X-GitHub-Event").await;
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn the_checks_come_in_the_contracts_order() {
    let stack = only_ingress().await;
    let secrets = stack.sender.secrets();
    // Each request is wrong in everything from its own check on.
    let nothing_right = Delivery::github("push", &Value::Null).bytes("").request(secrets).without("x-github-event");
    let nowhere = nothing_right.clone().path("/webhook/github");
    let unsigned = nowhere.clone().without("x-hub-signature");
    answers(&stack, "signature before prj", &unsigned, 403, forbidden()).await;
    let no_project = json!({ "error": "prj is required as query parameter" });
    answers(&stack, "prj before body", &nowhere, 400, no_project).await;
    let no_json = json!({ "error": "No JSON received" });
    answers(&stack, "body before event", &nothing_right, 400, no_json).await;
    let ignored_but_broken = Delivery::github("ping", &Value::Null).bytes("[]").request(secrets);
    is_400(&stack, "body before an ignored event", &ignored_but_broken, "").await;
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn events_that_are_not_stored_are_answered_ignored_and_not_published() {
    let stack = only_ingress().await;
    let ignored = |event: &str| json!({ "status": "ignored", "event": event });
    for event in ["ping", "star", "workflow_run", "issue_comment"] {
        let request = Delivery::github(event, &github::ping()).request(stack.sender.secrets());
        answers(&stack, event, &request, 200, ignored(event)).await;
    }
    let page = taiga::event("wikipage", "create", "2026-11-23T17:42:03.511Z", json!({ "id": 1, "slug": "home" }));
    for (event, body) in [("test", taiga::test()), ("wikipage", page)] {
        let request = Delivery::taiga(&body).request(stack.sender.secrets());
        answers(&stack, event, &request, 200, ignored(event)).await;
    }
    nothing_was_published(&stack).await;
}

#[tokio::test]
async fn a_redelivery_is_answered_like_the_first_and_published_once() {
    let stack = only_ingress().await;
    let pushed = Delivery::github("push", &push());
    let nameless = Delivery::github("push", &push()).request(stack.sender.secrets()).without("x-github-delivery");
    let row = Delivery::sheets(&sheets::row(7)).request(stack.sender.secrets());
    let ok = |delivery: &str| json!({ "status": "ok", "delivery": delivery });
    for _ in 0..2 {
        answers(&stack, "GitHub", &pushed.request(stack.sender.secrets()), 200, ok(&pushed.id)).await;
        answers(&stack, "GitHub without an id", &nameless, 200, ok(&sha256(&nameless.body))).await;
        answers(&stack, "a sheet", &row, 200, ok(&sha256(&row.body))).await;
    }
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 3);
}

#[tokio::test]
async fn taigas_resend_has_other_bytes_and_the_same_identity() {
    let stack = only_ingress().await;
    let first = story();
    let text = first.to_string();
    // The UI's "resend": the same fields in another order, so with another signature.
    let fields = first.as_object().unwrap().iter().rev().map(|(name, value)| format!("\"{name}\": {value}"));
    let resent = format!("{{{}}}", fields.collect::<Vec<_>>().join(", "));
    assert_ne!(text, resent);
    let one = stack.sender.send(&Delivery::taiga(&first)).await.unwrap();
    let two = stack.sender.send(&Delivery::taiga(&first).bytes(resent)).await.unwrap();
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(one.body, two.body);
    assert!(one.body["delivery"].as_str().is_some_and(|id| !id.is_empty()), "{}", one.body);
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 1);
    // Any part of the identity makes it another event, and so does another project.
    let later = taiga::event("userstory", "create", "2026-11-23T17:42:03.512Z", taiga::userstory(1, "A story"));
    let other = taiga::event("userstory", "create", "2026-11-23T17:42:03.511Z", taiga::userstory(2, "A story"));
    let changed = taiga::event("userstory", "change", "2026-11-23T17:42:03.511Z", taiga::userstory(1, "A story"));
    for body in [&later, &other, &changed] {
        assert_eq!(stack.sender.send(&Delivery::taiga(body)).await.unwrap().status, 200);
    }
    stack.sender.send(&Delivery::taiga(&first).project("Another")).await.unwrap();
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 5);
}

#[tokio::test]
async fn refusals_of_a_known_team_leave_one_line_and_those_of_invented_projects_one_for_all() {
    let file = scratch("refusals").unwrap().join("credentials.json");
    std::fs::write(&file, json!({ "c": { "teams": ["Listed"] } }).to_string()).unwrap();
    let options = Options { no_worker: true, ..Options::default() }.env("CREDENTIALS_FILE", file.to_str().unwrap());
    let stack = Stack::start_with(options).await.unwrap();
    let wrong = Secrets { github: "guessed".to_owned(), ..Secrets::default() };
    for n in 0..5 {
        for prj in ["Listed".to_owned(), format!("Invented{n}")] {
            let request = Delivery::github("push", &push()).project(&prj).request(&wrong);
            let request = request.with("x-github-delivery", &format!("{prj}-{n}"));
            answers(&stack, &prj, &request, 403, forbidden()).await;
        }
    }
    let logged = async || {
        let lines: Vec<_> = stack.ingress.process.log().events().iter().map(Value::to_string).collect();
        let of = |level: &str, words: &str| {
            let level = format!(r#""level":"{level}""#);
            lines.iter().filter(|line| line.contains(&level) && line.contains(words)).cloned().collect::<Vec<_>>()
        };
        anyhow::ensure!(of("DEBUG", "refused a webhook").len() == 10, "{lines:?}");
        Ok((of("INFO", "refused a webhook"), of("WARN", "refused a webhook")))
    };
    let (known, unknown) = stack.eventually("each is there at DEBUG", crate::SOON, logged).await.unwrap();
    assert_eq!((known.len(), unknown.len()), (1, 1), "{known:?} {unknown:?}");
    for word in ["Listed", "github", "signature", "Listed-0"] {
        assert!(known[0].contains(word), "{word} in {}", known[0]);
    }
    assert!(!unknown[0].contains("Invented"), "{}", unknown[0]);
}
