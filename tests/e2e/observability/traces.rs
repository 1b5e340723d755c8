//! One delivery is one trace from the request to LD Eval and the providers, and in logs by its id.

use std::time::Duration;

use crate::observability::collector::{Collector, Span};
use anyhow::{Context as _, ensure};
use harness::process::log::field;
use harness::providers::{Commit, Providers};
use harness::sender::{Secrets, github};
use harness::stack::{Options, Service, Stack};
use serde_json::{Value, json};

use crate::LONG;
use crate::observe::{push, send};
use crate::pipeline::enrich;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// A stack whose one team has a token, at a provider that knows the first commit.
async fn stack(name: &str, providers: &Providers, options: Options) -> Stack {
    let courses = [("A", json!({ "github_token": "token-a" }))];
    let stack = enrich::stack(providers, name, &courses, options.env("LOG_LEVEL", "DEBUG")).await;
    let mut world = providers.world();
    world.tokens = vec!["token-a".into()];
    world.knows(github::REPO, &github::sha(1), Commit::plain(10, 5));
    drop(world);
    stack
}

/// Sends a push with that trace context; gives the delivery's id.
async fn send_traced(stack: &Stack) -> String {
    let delivery = push("A", 1);
    let request = delivery.request(stack.sender.secrets()).with("traceparent", &traceparent());
    let answer = stack.sender.request(&request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    delivery.id
}

/// The only span of this name.
fn one<'s>(spans: &'s [Span], name: &str) -> anyhow::Result<&'s Span> {
    spans.iter().find(|span| span.name == name).with_context(|| format!("no span {name:?} among {spans:#?}"))
}

#[tokio::test]
async fn a_trace_leads_from_the_request_to_the_write_the_look_up_and_ld_eval() {
    let (collector, providers) = (Collector::start().unwrap(), Providers::start().unwrap());
    let options =
        Options::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).env("OTEL_BSP_SCHEDULE_DELAY", "200");
    let stack = stack("traces", &providers, options).await;
    let id = send_traced(&stack).await;
    let complete = async || {
        let spans = collector.of(TRACE);
        let (webhook, look_up) = (one(&spans, "webhook")?, one(&spans, "look up")?);
        ensure!(webhook.parent == PARENT, "{webhook:?}");
        for (name, parent, service) in [
            ("webhook", PARENT, "ld-connect-ingress"),
            ("publish", &webhook.id, "ld-connect-ingress"),
            ("store", &webhook.id, "ld-connect-worker"),
            ("look up", &webhook.id, "ld-connect-worker"),
        ] {
            let span = one(&spans, name)?;
            ensure!(span.parent == parent && span.service == service && !span.failed, "{span:?}");
            ensure!(name == "publish" || span.delivery == id, "{span:?} is not of {id}");
        }
        // Notification of the event, and again of what was looked up.
        let notified: Vec<_> = spans.iter().filter(|span| span.name == "notify LD Eval").collect();
        for parent in [&webhook.id, &look_up.id] {
            ensure!(notified.iter().any(|span| span.parent == *parent && span.delivery == id), "{notified:#?}");
        }
        for notified in stack.eval.accepted("A") {
            let carried = notified.traceparent.unwrap_or_default();
            ensure!(spans.iter().any(|span| carried == format!("00-{TRACE}-{}-01", span.id)), "LD Eval got {carried}");
        }
        let asked = providers.calls_of("token-a");
        let carried = asked.first().and_then(|call| call.traceparent.clone());
        ensure!(carried == Some(format!("00-{TRACE}-{}-01", look_up.id)), "GitHub got {carried:?}");
        Ok(())
    };
    stack.eventually("the collector has the whole trace", LONG, complete).await.unwrap();

    // A refusal ends its trace, and says so.
    let wrong = Secrets { github: "nobody's".into(), ..Secrets::default() };
    let other = format!("00-{}-{PARENT}-01", TRACE.replace('4', "5"));
    let request = push("A", 9).request(&wrong).with("traceparent", &other);
    assert_eq!(stack.sender.request(&request).await.unwrap().status, 403);
    let refused = async || {
        let span = one(&collector.of(&TRACE.replace('4', "5")), "webhook")?.clone();
        ensure!(span.failed, "{span:?}");
        Ok(())
    };
    stack.eventually("the refusal is traced", LONG, refused).await.unwrap();
}

/// The sentences of a process's log about a delivery, in order.
fn story(service: &Service, id: &str) -> Vec<String> {
    let lines = service.process.log().events();
    let of: Vec<&Value> = lines.iter().filter(|line| field(line, "delivery.id") == Some(id)).collect();
    of.iter().filter_map(|line| field(line, "message")).map(str::to_owned).collect()
}

#[tokio::test]
async fn without_a_collector_the_trace_is_handed_on_and_the_logs_name_each_delivery() {
    let providers = Providers::start().unwrap();
    let stack = stack("logs", &providers, Options::default()).await;
    let id = send_traced(&stack).await;
    let notified = async || {
        ensure!(story(&stack.ingress, &id) == ["stored a webhook"], "{:?}", story(&stack.ingress, &id));
        let mut worker = story(stack.worker(), &id);
        worker.sort();
        worker.dedup();
        let all = [
            "looked up what a delivery left open",
            "notified LD Eval",
            "settled an event",
            "wrote its documents and queued its notifications",
        ];
        ensure!(worker == all, "{worker:?}");
        Ok(())
    };
    stack.eventually("the logs name the delivery", LONG, notified).await.unwrap();
    let carried = async || {
        let notified = stack.eval.accepted("A");
        ensure!(
            !notified.is_empty() && notified.iter().all(|notified| notified.traceparent == Some(traceparent())),
            "{notified:?}"
        );
        let calls = providers.calls_of("token-a");
        ensure!(!calls.is_empty() && calls.iter().all(|call| call.traceparent == Some(traceparent())), "{calls:?}");
        Ok(())
    };
    stack.eventually("LD Eval and GitHub got the trace context", LONG, carried).await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_away_delays_nothing_and_is_no_reason_to_complain() {
    let options = Options::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let stack = Stack::start_with(options).await.unwrap();
    for n in 0..20 {
        send(&stack, &push("Team", n)).await;
    }
    stack.eventually("all is settled", LONG, async || stack.nothing_pending().await).await.unwrap();
    for service in [&stack.ingress, stack.worker()] {
        let status = service.process.stop(Duration::from_secs(20)).await.unwrap();
        assert!(status.success(), "{} ended with {status}", service.process.name());
    }
}
