//! How long after its answer a webhook is a document that others see, and LD Eval is notified.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bson::Document;
use futures::StreamExt as _;
use harness::eval::Eval;
use harness::sender::{Delivery, Sender, github, sheets, taiga};
use harness::servers::{ReplicaSet, mongo};
use harness::stack::{Binary, Service};
use hdrhistogram::Histogram;
use mongodb::Client;
use serde_json::{Value, json};

use crate::Options;
use crate::bed::{self, Nats, Site, Sync};
use crate::http::histogram;
use crate::report::{Report, Table, millis};

/// How long after the last request is waited for what is still to come.
const TAIL: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    rate: u64,
    seconds: u64,
}

impl Plan {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Self {
        Self { rate: options.rate, seconds: options.seconds.unwrap_or(if options.quick { 15 } else { 60 }) }
    }
}

/// Everything a webhook passes through; MongoDB is a replica set of one, which change streams need.
#[derive(Debug)]
pub(crate) struct Field {
    site: Site,
    client: Client,
    eval: Eval,
    pub(crate) ingress: Service,
    pub(crate) worker: Service,
    _servers: (Nats, ReplicaSet),
}

impl Field {
    /// Starts it.
    pub(crate) async fn new(dir: &Path) -> anyhow::Result<Self> {
        let nats = Nats::start(Sync::Always, false, dir).await?;
        let set = ReplicaSet::start_with(&dir.join("mongo"), 1, &mongo::FULL_JOURNAL).await?;
        let site = Site::new(&nats).await?;
        let eval = Eval::start()?;
        let env = site.env(&set.uri(), &eval);
        let (ingress, _) = bed::start(Binary::Ingress, "ingress", dir, env.clone()).await?;
        let (worker, _) = bed::start(Binary::Worker, "worker", dir, env).await?;
        let client = mongo::connect(&set.uri()).await?;
        Ok(Self { site, client, eval, ingress, worker, _servers: (nats, set) })
    }
}

/// What was found, in microseconds.
#[derive(Debug)]
pub(crate) struct Lag {
    /// From sending to the 200.
    pub(crate) answered: Histogram<u64>,
    /// From the 200 to the change stream's event.
    pub(crate) visible: Histogram<u64>,
    /// From the 200 to LD Eval's stand-in.
    pub(crate) notified: Histogram<u64>,
    /// What did not come, or was late by more than [`TAIL`].
    pub(crate) missing: Vec<&'static str>,
}

/// A request that was answered 200: the delivery, its quality model, when, and how long it took.
type Accepted = (String, String, Instant, Duration);

/// Sends `rate` requests a second, whatever becomes of them, and watches where they arrive.
pub(crate) async fn watch(field: &Field, rate: u64, seconds: u64, projects: u64) -> anyhow::Result<Lag> {
    // Entities that no earlier run has made, so that every document is an insert.
    let run = shared::time::now_ms().unsigned_abs() % 1_000_000_000 * 1_000;
    let requests = rate * seconds;
    let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let db = field.client.database(&field.site.name);
    // The stream must be open before the first document, and it opens with the first look.
    let mut changes = db.watch().await?;
    let arrivals = Arc::clone(&seen);
    let watcher = tokio::spawn(async move {
        while let Some(Ok(change)) = changes.next().await {
            let at = Instant::now();
            let delivery = change.full_document.as_ref().and_then(delivery_of);
            if let Some(delivery) = delivery {
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery, at);
            }
        }
    });
    let sender = Sender::new(&field.ingress.webhooks(), harness::sender::Secrets::default())?;
    let begin = tokio::time::Instant::now();
    let mut sent = Vec::new();
    for n in 0..requests {
        tokio::time::sleep_until(begin + Duration::from_secs(1) * u32::try_from(n)? / u32::try_from(rate)?).await;
        let (sender, delivery) = (sender.clone(), delivery(n, run, projects));
        sent.push(tokio::spawn(async move {
            let begin = Instant::now();
            let answer = sender.send(&delivery).await?;
            let (at, took) = (Instant::now(), begin.elapsed());
            ensure!(answer.status == 200, "answered {}", answer.status);
            let id = answer.body.get("delivery").and_then(Value::as_str).context("no delivery in the answer")?;
            anyhow::Ok((id.to_owned(), delivery.quality_model.unwrap_or_default(), at, took))
        }));
    }
    let mut accepted: Vec<Accepted> = Vec::new();
    for one in sent {
        accepted.extend(one.await?);
    }
    let mut lag = Lag { answered: histogram()?, visible: histogram()?, notified: histogram()?, missing: Vec::new() };
    lag.missing.resize(usize::try_from(requests)? - accepted.len(), "answer");
    let deadline = Instant::now() + TAIL;
    let (seen, notified) = loop {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let notified: HashMap<String, Instant> =
            field.eval.received().iter().map(|one| (one.text("quality_model").to_owned(), one.at)).collect();
        let arrived = |(id, model, ..): &Accepted| seen.contains_key(id) && notified.contains_key(model);
        if accepted.iter().all(arrived) || Instant::now() > deadline {
            break (seen, notified);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    watcher.abort();
    for (id, model, at, took) in &accepted {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        lag.answered.saturating_record(micros(*took));
        // The document may be there before the answer has crossed the loopback.
        for (arrived, histogram, what) in
            [(seen.get(id), &mut lag.visible, "document"), (notified.get(model), &mut lag.notified, "notification")]
        {
            match arrived {
                Some(arrived) => histogram.saturating_record(micros(arrived.saturating_duration_since(*at))),
                None => lag.missing.push(what),
            }
        }
    }
    Ok(lag)
}

/// Every document names the delivery that it came from.
fn delivery_of(document: &Document) -> Option<String> {
    Some(document.get_document("_ld").ok()?.get_str("delivery").ok()?.to_owned())
}

/// A new entity each time, with a quality model of its own by which its notification is known.
fn delivery(n: u64, run: u64, projects: u64) -> Delivery {
    let id = i64::try_from(run + n).unwrap_or(0);
    let at = shared::time::rfc3339(shared::time::now_ms());
    let delivery = match n % 4 {
        0 => Delivery::github(
            "push",
            &github::push(1_795_455_723, [github::commit(&github::sha(run + n), "Task #1: it works")]),
        ),
        1 => Delivery::github("issues", &github::issue(run + n, "opened", &at)),
        2 => Delivery::taiga(&taiga::event("userstory", "create", &at, taiga::userstory(id, "A story"))),
        _ => {
            let mut row = sheets::row(n);
            row["comment"] = json!(format!("{run}-{n}"));
            Delivery::sheets(&row)
        }
    };
    delivery.project(&format!("Lag{:04}", n / 4 % projects)).quality_model(&format!("{run}-{n}"))
}

/// Measures and reports.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let field = Field::new(&bed::scratch("lag")?).await?;
    // Collections and indexes of the ten projects are there afterwards.
    watch(&field, 50, 2, 10).await?;
    let lag = watch(&field, plan.rate, plan.seconds, 10).await?;
    let mut table = Table::new(
        &format!("Lag at {} requests/s for {} s", plan.rate, plan.seconds),
        &["", "p50 ms", "p99 ms", "p99.9 ms", "most ms"],
    );
    let mut figures = serde_json::Map::new();
    for (name, of) in [
        ("request → 200", &lag.answered),
        ("200 → document visible", &lag.visible),
        ("200 → LD Eval notified", &lag.notified),
    ] {
        let at = |quantile| of.value_at_quantile(quantile);
        table.row([name.to_owned(), millis(at(0.5)), millis(at(0.99)), millis(at(0.999)), millis(of.max())].into());
        figures.insert(
            name.into(),
            json!({ "p50_us": at(0.5), "p99_us": at(0.99), "p99.9_us": at(0.999), "max_us": of.max() }),
        );
    }
    figures.insert("missing".into(), json!(lag.missing));
    table.note(format!(
        "Missing: {:?}. Sent at fixed times, whatever the answers; commits, issues, user stories and rows in turns, each a \
         new document and a notification of its own. NATS sync_interval: always; MongoDB w: majority, j: true, a replica \
         set of one because a change stream tells when a document is visible to others.",
        lag.missing
    ));
    report.add("lag", &table, Value::Object(figures));
    bed::stop(&field.ingress).await?;
    bed::stop(&field.worker).await
}
