//! JetStream down, frozen or full: 503 in time and never a 4xx, and back by itself. And the ways a
//! process is watched and stopped.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use harness::raw::head;
use harness::sender::{Answer, Delivery, github, sheets};
use harness::stack::{Options, Stack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{LONG, SOON, only_ingress};

/// The deadline of an answer, and what a loaded test machine may add to it.
const DEADLINE: Duration = Duration::from_millis(8_000 + 1_000);

fn delivery(n: u64) -> Delivery {
    Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(n), "task #1")]))
}

fn is_503(answer: &Answer) -> anyhow::Result<()> {
    ensure!(answer.status == 503, "answered {} {}", answer.status, answer.body);
    let after = answer.retry_after.as_deref().unwrap_or_default();
    ensure!(after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "Retry-After is {after:?}");
    ensure!(answer.body["error"].is_string(), "no error in {}", answer.body);
    Ok(())
}

async fn with_own_nats() -> Stack {
    let options = Options { own_nats: true, no_worker: true, ..Options::default() };
    Stack::start_with(options).await.unwrap()
}

async fn refuses_in_time(stack: &Stack, n: u64) {
    let begin = Instant::now();
    is_503(&stack.sender.send(&delivery(n)).await.unwrap()).unwrap();
    assert!(begin.elapsed() < DEADLINE, "the 503 took {:?}", begin.elapsed());
}

async fn recovers(stack: &Stack, n: u64) {
    stack
        .eventually("ingress accepts again by itself", LONG, async || match stack.sender.send(&delivery(n)).await? {
            Answer { status: 200, .. } => Ok(()),
            other => {
                is_503(&other)?;
                bail!("still 503")
            }
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn nats_stopped_is_503_with_retry_after_within_8_s_and_it_recovers_by_itself() {
    let stack = with_own_nats().await;
    assert_eq!(stack.sender.send(&delivery(1)).await.unwrap().status, 200);
    let nats = stack.nats.as_ref().unwrap();
    nats.process.kill().unwrap();
    // Several at once: a permit that is held for ever would show in the second.
    tokio::join!(refuses_in_time(&stack, 2), refuses_in_time(&stack, 3), refuses_in_time(&stack, 4));
    nats.start_again().await.unwrap();
    recovers(&stack, 5).await;
    let stored = stack.messages("LD_EVENTS").await.unwrap();
    assert!(stored >= 2, "what was acknowledged before and after is there, but only {stored} messages are");
}

#[tokio::test]
async fn nats_frozen_is_503_within_8_s_and_it_recovers_by_itself() {
    let stack = with_own_nats().await;
    let nats = stack.nats.as_ref().unwrap();
    nats.process.freeze().unwrap();
    refuses_in_time(&stack, 1).await;
    nats.process.thaw().unwrap();
    recovers(&stack, 2).await;
}

#[tokio::test]
async fn a_full_stream_is_503_and_keeps_what_it_has() {
    let options = Options { no_worker: true, ..Options::default() }.env("LD_EVENTS_MAX_BYTES", "100000");
    let stack = Stack::start_with(options).await.unwrap();
    let mut accepted = 0;
    let refused = loop {
        let answer = stack.sender.send(&delivery(accepted)).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 500, "100,000 bytes hold {accepted} pushes");
    };
    is_503(&refused).unwrap();
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), accepted);
}

#[tokio::test]
async fn a_deleted_stream_is_made_again_by_ingress() {
    let stack = only_ingress().await;
    let name = format!("{}_LD_EVENTS", stack.prefix);
    stack.jetstream().await.unwrap().delete_stream(&name).await.unwrap();
    recovers(&stack, 1).await;
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 1);
}

#[tokio::test]
async fn the_admin_port_serves_health_readiness_and_metrics_and_the_public_one_does_not() {
    let stack = Stack::start().await.unwrap();
    stack.sender.send(&Delivery::sheets(&sheets::row(1))).await.unwrap();
    for service in [&stack.ingress, stack.worker()] {
        let get = async |path: &str| stack.sender.get(&format!("{}{path}", service.admin())).await;
        assert_eq!(get("/healthz").await.unwrap().0, 200);
        stack
            .eventually("it is ready", SOON, async || {
                let (status, body) = get("/readyz").await?;
                ensure!(status == 200, "/readyz answered {status} {body}");
                Ok(())
            })
            .await
            .unwrap();
        let (status, metrics) = get("/metrics").await.unwrap();
        assert_eq!(status, 200);
        assert!(metrics.contains("# TYPE"), "{metrics}");
        for secret in ["github-secret", "taiga-secret"] {
            assert!(!metrics.contains(secret));
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (status, _) = stack.sender.get(&format!("{}{path}", stack.ingress.webhooks())).await.unwrap();
        assert_eq!(status, 404, "{path} on the public port");
    }
}

#[tokio::test]
async fn a_stopping_ingress_finishes_the_request_in_flight_takes_no_new_one_and_exits_0() {
    let stack = only_ingress().await;
    let address = stack.ingress.webhooks_addr();
    let request = delivery(1).request(stack.sender.secrets());
    let mut lines = vec![format!("POST {} HTTP/1.1", request.path), "Host: x".to_owned()];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(format!("Content-Length: {}", request.body.len()));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(&head(&lines)).await.unwrap();
    let (first, rest) = request.body.split_at(request.body.len() / 2);
    connection.write_all(first).await.unwrap();
    // It is in ingress's hands once another request has come and gone on a newer connection.
    assert_eq!(stack.sender.send(&delivery(2)).await.unwrap().status, 200);
    stack.ingress.process.signal(harness::process::Signal::Stop).unwrap();
    harness::eventually::eventually("new connections are refused", SOON, &(), async || {
        ensure!(TcpStream::connect(address).await.is_err(), "it still listens");
        Ok(())
    })
    .await
    .unwrap();
    connection.write_all(rest).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(stack.ingress.process.ended(SOON).await.unwrap().success());
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 2);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_a_stop() {
    let stack = only_ingress().await;
    let _idle = TcpStream::connect(stack.ingress.webhooks_addr()).await.unwrap();
    // The sender's own connection is kept alive too.
    assert_eq!(stack.sender.send(&delivery(1)).await.unwrap().status, 200);
    assert!(stack.ingress.process.stop(SOON).await.unwrap().success());
}
