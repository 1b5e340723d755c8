//! The OpenAPI description is served, and every answer in it is one that is really given, in that shape.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::raw::{exchange, head};
use harness::sender::delivery::Request;
use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Map, Value, json};

use crate::{LONG, SOON};

/// What `$ref` points at, or the value itself.
fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            description.pointer(pointer).unwrap_or_else(|| panic!("{reference} points nowhere"))
        }
        None => value,
    }
}

/// Whether a value has a schema's shape; knows the words that the description uses, and insists on knowing all.
pub(crate) fn fits(description: &Value, schema: &Value, value: &Value) -> bool {
    let schema = resolve(description, schema).as_object().unwrap();
    let empty = Map::new();
    schema.iter().all(|(word, says)| match word.as_str() {
        "description" => true,
        "type" => match says.as_str().unwrap() {
            "object" => value.is_object(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("the type {other} is not known here"),
        },
        "const" => value == says,
        "enum" => says.as_array().unwrap().contains(value),
        "oneOf" => says.as_array().unwrap().iter().filter(|one| fits(description, one, value)).count() == 1,
        "items" => value.as_array().is_none_or(|all| all.iter().all(|one| fits(description, says, one))),
        "required" => says.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "properties" => says
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, one)| value.get(name).is_none_or(|field| fits(description, one, field))),
        "additionalProperties" => {
            let named = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
            says != &json!(false)
                || value.as_object().is_some_and(|all| all.keys().all(|name| named.contains_key(name)))
        }
        other => panic!("the word {other} is not known here"),
    })
}

/// What was answered, checked against the description.
struct Seen<'a> {
    description: &'a Value,
    answers: BTreeSet<(String, String)>,
}

impl Seen<'_> {
    fn check(&mut self, path: &str, status: u16, body: &Value, retry_after: Option<&str>) {
        let what = format!("{path} answered {status} {body}");
        let status = status.to_string();
        let described = &self.description["paths"][path]["post"]["responses"][&status];
        assert!(described.is_object(), "{what}, which is not described");
        assert!(fits(self.description, &described["content"]["application/json"]["schema"], body), "{what}");
        let required = described.pointer("/headers/Retry-After").is_some();
        assert_eq!(required, retry_after.is_some_and(|text| text.parse::<u32>().is_ok()), "{what}: Retry-After");
        self.answers.insert((path.to_owned(), status));
    }

    async fn send(&mut self, stack: &Stack, request: &Request, status: u16) {
        let path = request.path.split('?').next().unwrap().to_owned();
        let answer = stack.sender.request(request).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        self.check(&path, answer.status, &answer.body, answer.retry_after.as_deref());
    }
}

/// A body that stops coming.
async fn paused(stack: &Stack, request: &Request) -> (u16, Value) {
    let (path, length) = (&request.path, format!("Content-Length: {}", request.body.len() + 1));
    let mut lines = vec![format!("POST {path} HTTP/1.1"), "Host: test".to_owned(), length];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (status, body) = exchange(stack.ingress.webhooks_addr(), [head(&lines), request.body.to_vec()]).await.unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn every_described_answer_is_given_and_every_given_answer_is_described() {
    let options = Options { own_nats: true, no_worker: true, ..Options::default() };
    let stack = Stack::start_with(options.env("EXCEL_SECRET", "rows")).await.unwrap();
    let (status, served) = stack.sender.get(&format!("{}/openapi.json", stack.ingress.admin())).await.unwrap();
    assert_eq!(status, 200);
    let description: Value = serde_json::from_str(&served).unwrap();
    let mut seen = Seen { description: &description, answers: BTreeSet::new() };

    let sheet = Delivery::sheets(&sheets::row(1)).request(stack.sender.secrets());
    let signature = format!("sha256={}", harness::sender::sign::hmac_sha256("rows", &sheet.body));
    let sources: [(Request, Option<Request>, &str); 3] = [
        (
            Delivery::github("issues", &github::issue(1, "opened", "2026-11-23T17:00:00Z"))
                .request(stack.sender.secrets()),
            Some(Delivery::github("ping", &github::ping()).request(stack.sender.secrets())),
            "x-hub-signature-256",
        ),
        (
            Delivery::taiga(&taiga::event("epic", "create", "2026-11-23T17:00:00Z", taiga::epic(1, "x")))
                .request(stack.sender.secrets()),
            Some(Delivery::taiga(&taiga::test()).request(stack.sender.secrets())),
            "x-taiga-webhook-signature",
        ),
        (sheet.with("x-sheets-signature", &signature), None, "x-sheets-signature"),
    ];
    for (good, ignored, signature) in &sources {
        let path = good.path.split('?').next().unwrap().to_owned();
        seen.send(&stack, good, 200).await;
        if let Some(ignored) = ignored {
            seen.send(&stack, ignored, 200).await;
        }
        seen.send(&stack, &good.clone().path(&path), 400).await;
        seen.send(&stack, &good.clone().without(signature), 403).await;
        seen.send(&stack, &good.clone().method("PUT"), 405).await;
        seen.send(&stack, &good.clone().with("Content-Encoding", "gzip"), 400).await;
        let mut large = good.clone();
        large.body = vec![b' '; 25 * 1024 * 1024 + 1].into();
        seen.send(&stack, &large, 413).await;
    }
    let [github, taiga, sheet] = &sources;
    let pauses = tokio::time::timeout(LONG, async {
        tokio::join!(paused(&stack, &github.0), paused(&stack, &taiga.0), paused(&stack, &sheet.0))
    });
    let (one, two, three) = pauses.await.unwrap();
    for ((good, ..), (status, body)) in sources.iter().zip([one, two, three]) {
        seen.check(good.path.split('?').next().unwrap(), status, &body, None);
    }

    let nats = stack.nats.as_ref().unwrap();
    assert!(nats.process.stop(Duration::from_secs(20)).await.is_ok());
    let noticed = async || {
        let (status, _) = stack.sender.get(&format!("{}/readyz", stack.ingress.admin())).await?;
        anyhow::ensure!(status == 503, "it is still ready");
        Ok(())
    };
    harness::eventually::eventually("ingress has noticed", SOON, &stack.ingress, noticed).await.unwrap();
    // Each waits for JetStream as long as it may; so all at once.
    let refused = futures::future::join_all(sources.iter().map(|(good, ..)| stack.sender.request(good))).await;
    for ((good, ..), answer) in sources.iter().zip(refused) {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.body);
        seen.check(good.path.split('?').next().unwrap(), answer.status, &answer.body, answer.retry_after.as_deref());
    }

    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let responses = item["post"]["responses"].as_object().unwrap();
            responses.keys().map(|status| (path.clone(), status.clone())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(seen.answers, described, "what was seen, and what is described");
}
