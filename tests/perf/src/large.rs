//! The largest events that ingress accepts: the worker's memory, and how long small events beside them wait.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bson::{Document, doc};
use bytes::Bytes;
use harness::eval::Eval;
use harness::process::usage;
use harness::sender::{github, taiga};
use harness::servers::mongo;
use harness::stack::Binary;
use serde_json::{Value, json};
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::publish::Outgoing;
use shared::source::Source;
use shared::topology::StreamName;

use crate::bed::{self, Site};
use crate::drain::Servers;
use crate::http::{histogram, unique_id};
use crate::report::{Report, Table, millis};

/// As large as a body may be, with room for the rest of the event.
const LARGEST: usize = 25 * 1024 * 1024 - 64 * 1024;

/// The project of the large events, and that of the small ones.
const LARGE: &str = "Large";
const SMALL: &str = "Small";

/// How often a small event is published.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long all events of a load may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A kind of large event.
#[derive(Debug)]
struct Load {
    name: &'static str,
    events: u64,
    make: fn(u64) -> (Source, &'static str, Value),
}

const LOADS: [Load; 5] = [
    Load { name: "texts of 14 MiB, which compress well", events: 60, make: text },
    Load { name: "trees of 25 MiB in what is stored", events: 10, make: stored_tree },
    Load { name: "trees of 25 MiB in what is not", events: 20, make: other_tree },
    Load { name: "pushes of 2,000 commits, 25 MiB", events: 8, make: push },
    Load { name: "pushes of 2,000 commits, a login of 300 KB", events: 8, make: login },
];

const AT: &str = "2026-11-23T17:42:03.511Z";

fn text(n: u64) -> (Source, &'static str, Value) {
    let mut issue = taiga::issue(n as i64, "x");
    issue["description"] = json!("large ".repeat(14 * 1024 * 1024 / 6));
    (Source::Taiga, "issue", taiga::event("issue", "create", AT, issue))
}

/// A list of the smallest objects, this many bytes of JSON.
fn tree(bytes: usize) -> Value {
    Value::Array(vec![json!({ "a": 1 }); bytes / r#"{"a":1},"#.len()])
}

fn stored_tree(n: u64) -> (Source, &'static str, Value) {
    let mut story = taiga::userstory(n as i64, "x");
    story["custom_attributes_values"] = json!({ "tree": tree(LARGEST) });
    (Source::Taiga, "userstory", taiga::event("userstory", "create", AT, story))
}

fn other_tree(n: u64) -> (Source, &'static str, Value) {
    let mut issue = taiga::issue(n as i64, "x");
    issue["unknown"] = tree(LARGEST);
    (Source::Taiga, "issue", taiga::event("issue", "create", AT, issue))
}

fn commits(n: u64, message: &str) -> Value {
    let commits = (0..2_000).map(|i| github::commit(&github::sha(n * 10_000 + i), message));
    github::push(1_795_455_723, commits)
}

fn push(n: u64) -> (Source, &'static str, Value) {
    (Source::Github, "push", commits(n, &"Task #7: a long message. ".repeat((LARGEST / 2_000 - 1_000) / 25)))
}

fn login(n: u64) -> (Source, &'static str, Value) {
    let mut push = commits(n, "Task #7");
    push["sender"]["login"] = json!("x".repeat(300_000));
    (Source::Github, "push", push)
}

/// Measures and reports.
pub(crate) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Large events, and small ones beside them",
        &[
            "",
            "events",
            "MB of JSON",
            "MB in the stream",
            "done in s",
            "dead letters",
            "worker peak MB",
            "small: p50 ms",
            "most ms",
        ],
    );
    let mut figures = Vec::new();
    for load in &LOADS {
        // Servers of its own: MongoDB keeps what it has for a while.
        let servers = Servers::start(false).await?;
        figures.push(measure(&servers, load, &mut table).await?);
    }
    table.note(
        "One worker. The large events wait before it starts; a small one of another project is published every 100 ms until \
         all are done, and waits from then until its document is visible. Dead letters: what does not fit into a document.",
    );
    report.add("large", &table, Value::Array(figures));
    Ok(())
}

async fn measure(servers: &Servers, load: &Load, table: &mut Table) -> anyhow::Result<Value> {
    let site = Site::new(&servers.nats).await?;
    let mut json = 0;
    let mut stream = 0;
    for n in 0..load.events {
        let (source, event, payload) = (load.make)(n);
        let (outgoing, bytes) = outgoing(&site, LARGE, source, event, &payload)?;
        (json, stream) = (json + bytes, stream + outgoing.payload.len());
        site.publisher.publish(outgoing).await?;
    }
    let eval = Eval::start()?;
    let (worker, _) = bed::start(Binary::Worker, "worker", &servers.dir, site.env(&servers.mongo.uri(), &eval)).await?;
    let begin = Instant::now();
    let documents = mongo::connect(&servers.mongo.uri()).await?.database(&site.name);
    let documents = documents.collection::<Document>(&format!("taiga_{SMALL}.issues"));
    let mut published: Vec<Instant> = Vec::new();
    let mut waits = histogram()?;
    let (mut seen, mut done) = (0, None);
    while done.is_none() || seen < published.len() {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "{} were not done within {PATIENCE:?}", load.name);
        if done.is_none() && published.last().is_none_or(|last| last.elapsed() >= INTERVAL) {
            let issue = taiga::issue(published.len() as i64, "small");
            let event = taiga::event("issue", "create", AT, issue);
            site.publisher.publish(outgoing(&site, SMALL, Source::Taiga, "issue", &event)?.0).await?;
            published.push(Instant::now());
        }
        while seen < published.len() && documents.find_one(doc! { "issue_id": seen as i64 }).await?.is_some() {
            waits.saturating_record(u64::try_from(published[seen].elapsed().as_micros())?);
            seen += 1;
        }
        if done.is_none()
            && let Some((settled, _)) = site.progress().await?
            && settled >= load.events + seen as u64
            && seen > 0
        {
            done = Some(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = done.context("it ended when it was done")?.as_secs_f64();
    let peak = usage::peak_mb(&worker.process)?;
    let dead = site.messages(StreamName::Dead).await?;
    bed::stop(&worker).await?;
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    table.row(vec![
        load.name.to_owned(),
        load.events.to_string(),
        format!("{:.0}", megabytes(json)),
        format!("{:.1}", megabytes(stream)),
        format!("{took:.1}"),
        dead.to_string(),
        format!("{peak:.0}"),
        millis(waits.value_at_quantile(0.5)),
        millis(waits.max()),
    ]);
    Ok(json!({
        "load": load.name, "events": load.events, "json_mb": megabytes(json), "seconds": took, "dead_letters": dead,
        "worker_peak_mb": peak, "small_p50_us": waits.value_at_quantile(0.5), "small_max_us": waits.max(),
    }))
}

/// As ingress would publish it, and the bytes of its JSON.
fn outgoing(site: &Site, prj: &str, source: Source, event: &str, payload: &Value) -> anyhow::Result<(Outgoing, usize)> {
    let payload = Bytes::from(payload.to_string());
    let bytes = payload.len();
    let envelope = Envelope {
        source,
        project: Project::new(prj)?,
        event: event.to_owned(),
        delivery: unique_id(),
        quality_model: None,
        received_at: shared::time::now_ms(),
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload,
    };
    let (headers, payload) = envelope::encode(&envelope);
    let subject = site.topology.event_subject(source, &envelope.project, event);
    Ok((Outgoing { subject, headers, payload }, bytes))
}
