//! What several modules look at while something is away: readiness, health, the length of the log.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::eventually::throughout;
use harness::process::Process;
use harness::sender::{Delivery, github};
use harness::stack::{Service, Stack};
use serde_json::Value;

use crate::{LONG, SOON};

/// How many warnings and errors one process may log about one outage. A line a message or a line a
/// second would be far more.
const COMPLAINTS: usize = 5;

/// A push of one commit, different for each number.
pub(crate) fn push(project: &str, n: u64) -> Delivery {
    let commit = github::commit(&github::sha(n), "task #1");
    Delivery::github("push", &github::push(1_795_455_723, [commit])).project(project)
}

/// Sends until it is answered 200, as a patient sender would.
pub(crate) async fn send(stack: &Stack, delivery: &Delivery) {
    let accepted = async || {
        let answer = stack.sender.send(delivery).await?;
        ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
        Ok(())
    };
    stack.eventually("the event is accepted", LONG, accepted).await.unwrap();
}

/// That many commits of a project are stored.
pub(crate) async fn stored(stack: &Stack, project: &str, commits: usize, within: Duration) {
    let collection = format!("github_{project}.commits");
    let all_there = async || {
        let found = stack.documents(&collection).await?.len();
        ensure!(found == commits, "{found} of {commits} commits are stored");
        Ok(())
    };
    stack.eventually("the commits are stored", within, all_there).await.unwrap();
}

/// Everything works: both processes are ready, and an event of a new project (whose number this is) goes
/// all the way to LD Eval.
pub(crate) async fn flows(stack: &Stack, project: u64) {
    let name = format!("Flows{project}");
    send(stack, &push(&name, project)).await;
    stored(stack, &name, 1, LONG).await;
    let notified = async || stack.eval.has_accepted(&name, ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified", LONG, notified).await.unwrap();
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    becomes_ready(stack, &stack.ingress).await;
    for worker in &stack.workers {
        becomes_ready(stack, worker).await;
    }
}

/// Status and body of `/readyz`.
pub(crate) async fn readyz(stack: &Stack, service: &Service) -> anyhow::Result<(u16, Value)> {
    let (status, body) = stack.sender.get(&format!("{}/readyz", service.admin())).await?;
    Ok((status, serde_json::from_str(&body).with_context(|| format!("/readyz said {body}"))?))
}

/// `/readyz` comes to say 200; gives the body.
pub(crate) async fn becomes_ready(stack: &Stack, service: &Service) -> Value {
    let ready = async || {
        let (status, body) = readyz(stack, service).await?;
        ensure!(status == 200 && body["status"] == "ready", "{status} {body}");
        Ok(body)
    };
    stack.eventually(&format!("{} is ready", service.process.name()), LONG, ready).await.unwrap()
}

/// `/readyz` comes to say 503 and names what is missing; gives the body.
pub(crate) async fn becomes_unready(stack: &Stack, service: &Service, culprit: &str) -> Value {
    let unready = async || {
        let (status, body) = readyz(stack, service).await?;
        ensure!(status == 503 && body["status"] == "not ready", "{status} {body}");
        ensure!(body["problems"].to_string().contains(culprit), "{culprit} is not blamed: {body}");
        Ok(body)
    };
    stack.eventually(&format!("{} is not ready", service.process.name()), SOON, unready).await.unwrap()
}

/// `/healthz` says 200: nothing of the process itself is broken.
pub(crate) async fn is_healthy(stack: &Stack, service: &Service) -> anyhow::Result<()> {
    let (status, body) = stack.sender.get(&format!("{}/healthz", service.admin())).await?;
    ensure!(status == 200, "{}: /healthz answered {status} {body}", service.process.name());
    Ok(())
}

/// For this long both processes are healthy and neither fills its log.
pub(crate) async fn stays_calm(stack: &Stack, lasting: Duration) {
    let services: Vec<_> = stack.workers.iter().chain([&stack.ingress]).collect();
    let before: Vec<_> = services.iter().map(|service| complaints(&service.process).len()).collect();
    let calm = async || {
        for (service, before) in services.iter().zip(&before) {
            is_healthy(stack, service).await?;
            let new = complaints(&service.process).split_off(*before);
            ensure!(new.len() <= COMPLAINTS, "{} complains too much: {new:#?}", service.process.name());
        }
        Ok(())
    };
    throughout("both processes are healthy and quiet", lasting, stack, calm).await.unwrap();
}

/// The lines of a process's log at WARN or ERROR, and those that are no log lines at all (a panic's).
pub(crate) fn complaints(process: &Process) -> Vec<String> {
    let is_calm = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        matches!(event["level"].as_str(), Some("INFO" | "DEBUG" | "TRACE"))
    };
    let mut lines = process.log().lines();
    lines.retain(|line| !is_calm(line));
    lines
}
