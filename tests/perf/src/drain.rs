//! Waiting events a second into documents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bson::{Document, doc};
use futures::TryStreamExt as _;
use harness::eval::Eval;
use harness::eventually::Alive as _;
use harness::servers::mongo;
use harness::stack::Binary;
use harness::stack::build::path;
use mongodb::Database;
use serde_json::{Value, json};

use crate::Options;
use crate::bed::{self, Mongo, Nats, Site, Sync};
use crate::ceiling::{self, Batch};
use crate::events::{Event, Mix};
use crate::report::{Report, Spread, Table, thousands};
use harness::process::usage;

/// Over how many projects the events are spread.
const PROJECTS: usize = 40;

/// The ceiling's: events a batch (more than the worker takes, which suits a bare loop best), batches at once, and commands at
/// once as the worker has them.
const BATCH: usize = 8_000;
const LANES: usize = 2;
const COMMANDS: usize = 16;

/// How often it is looked how far the workers are.
const LOOK: Duration = Duration::from_millis(20);

/// How long a drain may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    events: usize,
    workers: Vec<usize>,
    rounds: usize,
    cluster: bool,
    projects: usize,
}

impl Plan {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            events: options.events.unwrap_or(if options.quick { 30_000 } else { 100_000 }),
            workers: options.workers.clone().unwrap_or_else(|| vec![1, 2]),
            rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 3 }),
            cluster: options.cluster,
            projects: options.projects.unwrap_or(PROJECTS),
        }
    }
}

/// The servers that drains share.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) nats: Nats,
    pub(crate) mongo: Mongo,
    pub(crate) dir: std::path::PathBuf,
}

impl Servers {
    /// Starts them: one of each, or three.
    pub(crate) async fn start(cluster: bool) -> anyhow::Result<Self> {
        let dir = bed::scratch("drain")?;
        let nats = Nats::start(Sync::Always, cluster, &dir).await?;
        let mongo = Mongo::start(cluster, &dir).await?;
        Ok(Self { nats, mongo, dir })
    }

    fn cpu_seconds(&self) -> anyhow::Result<[f64; 2]> {
        Ok([self.nats.cpu_seconds()?, self.mongo.cpu_seconds()?])
    }
}

/// What one drain came to.
#[derive(Debug)]
pub(crate) struct Drained {
    /// Events a second, from the first to the last acknowledged.
    pub(crate) rate: f64,
    /// From spawn to the last acknowledged.
    pub(crate) seconds: f64,
    /// Peak memory of the largest worker, in MB.
    pub(crate) worker_mb: f64,
    /// Memory of nats-server at the end, in MB.
    pub(crate) nats_mb: f64,
    /// CPU seconds of all workers, of NATS and of MongoDB.
    pub(crate) cpu: [f64; 3],
    /// From spawn to ready of the slowest worker.
    pub(crate) ready: Duration,
}

/// Lets `events` of the mixture over `projects` wait on a fresh site.
pub(crate) async fn fill(servers: &Servers, events: usize, projects: usize) -> anyhow::Result<Site> {
    let site = Site::new(&servers.nats).await?;
    let mut mix = Mix::new(projects).take(events).peekable();
    while mix.peek().is_some() {
        let group = mix.by_ref().take(BATCH).map(|event| event.outgoing(&site.topology)).collect();
        site.publisher.publish_all(group).await?;
    }
    Ok(site)
}

/// Drains what waits on a site with this many workers.
pub(crate) async fn drain(servers: &Servers, site: &Site, events: usize, workers: usize) -> anyhow::Result<Drained> {
    let eval = Eval::start()?;
    let env = site.env(&servers.mongo.uri(), &eval);
    let (begin, before) = (Instant::now(), servers.cpu_seconds()?);
    let names: Vec<String> = (0..workers).map(|n| format!("{}-worker-{n}", site.name)).collect();
    let started = names.iter().map(|name| bed::start(Binary::Worker, name, &servers.dir, env.clone()));
    let (started, finished) = tokio::join!(futures::future::try_join_all(started), finished(site, events as u64));
    let (started, (rate, end)) = (started?, finished?);
    let seconds = end.duration_since(begin).as_secs_f64();
    let after = servers.cpu_seconds()?;
    let mut drained = Drained {
        rate,
        seconds,
        worker_mb: 0.0,
        nats_mb: servers.nats.memory_mb()?,
        cpu: [0.0, after[0] - before[0], after[1] - before[1]],
        ready: Duration::ZERO,
    };
    for (worker, ready) in &started {
        worker.check()?;
        drained.ready = drained.ready.max(*ready);
        drained.worker_mb = drained.worker_mb.max(usage::peak_mb(&worker.process)?);
        drained.cpu[0] += usage::cpu_seconds(&worker.process)?;
    }
    bed::all_told(site, &started[0].0).await?;
    for (worker, _) in &started {
        bed::stop(worker).await?;
    }
    Ok(drained)
}

/// What a replay of a site's whole stream came to.
#[derive(Debug)]
struct Replayed {
    /// Events a second, as `worker replay` says.
    rate: f64,
    /// From spawn to its end.
    seconds: f64,
    /// CPU seconds of NATS and of MongoDB.
    cpu: [f64; 2],
}

/// Processes what a site's stream holds once more, by `worker replay`, into this empty database.
async fn replay(servers: &Servers, site: &Site, db: &Database, events: usize) -> anyhow::Result<Replayed> {
    let mut env = site.env(&servers.mongo.uri(), &Eval::start()?);
    env.insert("MONGO_DB".to_owned(), db.name().to_owned());
    let mut command = tokio::process::Command::new(path("worker")?);
    command.args(["replay", "--output", "json"]).env_clear().envs(env).kill_on_drop(true);
    let (begin, before) = (Instant::now(), servers.cpu_seconds()?);
    let output = tokio::time::timeout(PATIENCE, command.output()).await??;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), servers.cpu_seconds()?);
    ensure!(output.status.success(), "worker replay: {}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(said["processed"] == json!(events), "worker replay says {said}");
    let took = said["seconds"].as_f64().context("it says how long it took")?;
    Ok(Replayed { rate: events as f64 / took, seconds, cpu: [after[0] - before[0], after[1] - before[1]] })
}

/// Waits until everything is acknowledged. Gives the rate since the first acknowledgement, and the end.
async fn finished(site: &Site, events: u64) -> anyhow::Result<(f64, Instant)> {
    let begin = Instant::now();
    let mut first: Option<(Instant, u64)> = None;
    while begin.elapsed() < PATIENCE {
        if let Some((settled, waiting)) = site.progress().await? {
            let now = Instant::now();
            let settled = settled.min(events);
            let (since, had) = *first.get_or_insert((now, settled));
            if had == 0 && settled > 0 {
                first = Some((now, settled));
            }
            if waiting == 0 && settled > 0 {
                return Ok(((events - had) as f64 / now.duration_since(since).as_secs_f64(), now));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("the events were not drained within {PATIENCE:?}")
}

/// Measures and reports.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let servers = Servers::start(plan.cluster).await?;
    let client = mongo::connect(&servers.mongo.uri()).await?;
    let events: Vec<Event> = Mix::new(plan.projects).take(plan.events).collect();
    let mut ours: BTreeMap<usize, Vec<Drained>> = BTreeMap::new();
    let (mut bare, mut bare_cpu, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        for &workers in &plan.workers {
            let site = fill(&servers, plan.events, plan.projects).await?;
            // Into a database beside the workers' and not into theirs, dropped: MongoDB removes files while it goes on.
            // By turns before and after them, because the later of two finds more collections.
            let again = client.database(&format!("{}_again", site.name));
            let mut replays = async || {
                replayed.push(replay(&servers, &site, &again, plan.events).await?);
                eprintln!("  replay: {}/s", thousands(replayed[replayed.len() - 1].rate));
                anyhow::Ok(())
            };
            let (replays_too, first) = (workers == plan.workers[0], round % 2 == 1);
            if replays_too && first {
                replays().await?;
            }
            let drained = drain(&servers, &site, plan.events, workers).await?;
            eprintln!("  {workers} worker(s): {}/s", thousands(drained.rate));
            ours.entry(workers).or_default().push(drained);
            let written = client.database(&site.name);
            if replays_too {
                if !first {
                    replays().await?;
                }
                again.drop().await?;
                let batches = batches(&events, &written).await?;
                let before = servers.mongo.cpu_seconds()?;
                bare.push(bare_round(&client.database(&format!("{}_bare", site.name)), &events, batches).await?);
                bare_cpu.push(servers.mongo.cpu_seconds()? - before);
                eprintln!("  bare: {}/s", thousands(bare[bare.len() - 1]));
            }
            written.drop().await?;
            site.forget().await?;
        }
    }
    let bare = Spread::of(bare);
    let mut table = Table::new(
        &format!(
            "Drain: {} waiting events over {} projects, half of them updates{}",
            thousands(plan.events as f64),
            plan.projects,
            if plan.cluster { "; three servers of NATS and of MongoDB" } else { "" }
        ),
        &[
            "",
            "events/s",
            "ratio to bare",
            "worker peak MB",
            "CPU s per 10,000: workers",
            "nats",
            "mongod",
            "spawn to last, s",
        ],
    );
    let each = 10_000.0 / plan.events as f64;
    let bare_cpu = format!("{:.2}", Spread::of(bare_cpu).median * each);
    let empty = String::new;
    table.row(
        ["bare bulk upserts".to_owned(), bare.rate(), "1".to_owned(), empty(), empty(), empty(), bare_cpu.clone()]
            .into(),
    );
    let mut figures = vec![json!({ "bare": bare.json(), "mongod_cpu_seconds_per_10000": bare_cpu })];
    for (workers, rounds) in &ours {
        let of = |value: fn(&Drained) -> f64| Spread::of(rounds.iter().map(value));
        let (rate, peak, seconds) = (of(|run| run.rate), of(|run| run.worker_mb), of(|run| run.seconds));
        let cpu = [of(|run| run.cpu[0]), of(|run| run.cpu[1]), of(|run| run.cpu[2])].map(|cpu| cpu.median * each);
        let cluster = if plan.cluster { ", 3 servers" } else { "" };
        let ratio =
            Spread { median: rate.median / bare.median, least: rate.least / bare.most, most: rate.most / bare.least };
        report.ratio(&format!("drain, {} projects{cluster}, {workers} worker(s)", plan.projects), ratio);
        let mut row = vec![format!("{workers} worker(s)"), rate.rate(), format!("{:.2}", rate.median / bare.median)];
        row.push(format!("{:.0}", peak.most));
        row.extend(cpu.map(|seconds| format!("{seconds:.2}")));
        row.push(format!("{:.1}", seconds.median));
        table.row(row);
        figures.push(json!({
            "workers": workers, "per_second": rate.json(), "ratio": rate.median / bare.median, "worker_peak_mb": peak.most,
            "cpu_seconds_per_10000": { "workers": cpu[0], "nats": cpu[1], "mongod": cpu[2] }, "seconds": seconds.json(),
        }));
    }
    let of = |value: fn(&Replayed) -> f64| Spread::of(replayed.iter().map(value));
    let (rate, seconds) = (of(|run| run.rate), of(|run| run.seconds));
    let cpu = [of(|run| run.cpu[0]), of(|run| run.cpu[1])].map(|cpu| cpu.median * each);
    let mut row = vec!["worker replay".to_owned(), rate.rate(), format!("{:.2}", rate.median / bare.median)];
    row.extend([empty(), empty()]);
    row.extend(cpu.map(|seconds| format!("{seconds:.2}")));
    row.push(format!("{:.1}", seconds.median));
    table.row(row);
    figures.push(json!({
        "replay": rate.json(), "ratio": rate.median / bare.median, "seconds": seconds.json(),
        "cpu_seconds_per_10000": { "nats": cpu[0], "mongod": cpu[1] },
    }));
    table.note(format!(
        "{} round(s) each, in turns; MongoDB w: majority, j: true; NATS sync_interval: always. From the first to the last \
         acknowledgement; spawn to last includes start-up and eight unique indexes a project. Bare: `update` commands of the same \
         documents, encoded beforehand, in batches of {BATCH}, {LANES} batches and {COMMANDS} commands of each at once, \
         indexes made beforehand; no stream, no JSON, no notifications. Replay: the same events once more, into an \
         empty database; its events/s include the indexes.",
        plan.rounds
    ));
    report.add("drain", &table, Value::Array(figures));
    Ok(())
}

/// The documents that the workers wrote, as bare upserts: one an event, in the events' order.
async fn batches(events: &[Event], written: &Database) -> anyhow::Result<Vec<Batch>> {
    let mut documents: HashMap<(String, String), Document> = HashMap::new();
    let collections: BTreeSet<&str> = events.iter().map(|event| event.collection.as_str()).collect();
    let fields: HashMap<&str, Vec<&String>> =
        events.iter().map(|event| (event.collection.as_str(), event.key.keys().collect())).collect();
    for collection in collections {
        let mut all = written.collection::<Document>(collection).find(doc! {}).projection(doc! { "_id": 0 }).await?;
        while let Some(document) = all.try_next().await? {
            let key: Document = fields[collection]
                .iter()
                .filter_map(|field| Some(((*field).clone(), document.get(field)?.clone())))
                .collect();
            documents.insert((collection.to_owned(), text(&key)), document);
        }
    }
    let of_event = |event: &Event| {
        let document = documents.get(&(event.collection.clone(), text(&event.key)));
        let document = document.with_context(|| format!("{} lacks the document {}", event.collection, event.key))?;
        anyhow::Ok((event.collection.clone(), ceiling::upsert(&event.key, document)?))
    };
    let mut batches = Vec::new();
    for events in events.chunks(BATCH) {
        let mut batch = Batch::new();
        for event in events {
            let (collection, statement) = of_event(event)?;
            batch.entry(collection).or_default().push(statement);
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// A key as text, the same for a number of 32 and of 64 bits.
fn text(key: &Document) -> String {
    key.iter().map(|(name, value)| format!("{name}={};", value)).collect()
}

/// One round of the ceiling, in a database of its own.
async fn bare_round(db: &Database, events: &[Event], batches: Vec<Batch>) -> anyhow::Result<f64> {
    let keys: BTreeMap<&str, &Document> = events.iter().map(|event| (event.collection.as_str(), &event.key)).collect();
    for (collection, key) in keys {
        let key: Document = key.keys().map(|field| (field.clone(), 1.into())).collect();
        let index = doc! { "key": key, "name": "key", "unique": true };
        db.run_command(doc! { "createIndexes": collection, "indexes": [index] }).await?;
    }
    let took = ceiling::bulk(db, batches, LANES, COMMANDS).await?;
    db.drop().await?;
    ensure!(!took.is_zero(), "nothing was written");
    Ok(events.len() as f64 / took.as_secs_f64())
}
