//! A mixed load for a long time: does anything grow?
//!
//! All sources, duplicates, refusals, kinds that nobody stores, look-ups at both providers, and LD Eval slow, failing and
//! quick by turns. The entities are as many as in a term, so that the documents stop growing before the half. Judged is the
//! second half: a straight line through each series must not rise by more than its noise.

mod load;
mod plot;
mod series;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::eval::{Eval, Reply};
use harness::paths;
use harness::process::usage;
use harness::providers::Providers;
use harness::stack::{Binary, Service};
use serde_json::{Value, json};
use shared::topology::StreamName;

use self::load::Load;
use self::series::Series;
use crate::Options;
use crate::bed::{self, Site};
use crate::drain::Servers;
use crate::report::{Report, Table};

/// How many samples a run has at most.
const SAMPLES: u64 = 600;

/// How long LD Eval behaves in one way.
const TURN: Duration = Duration::from_secs(20);

/// How LD Eval behaves, by turns.
const REPLIES: [Reply; 4] =
    [Reply::Accepted, Reply::After(Duration::from_millis(500)), Reply::Status(503), Reply::Accepted];

/// How long what is left may take after the load.
const TAIL: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    time: Duration,
    rate: u64,
}

impl Plan {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Self {
        Self { time: Duration::from_secs(options.minutes * 60), rate: options.rate }
    }
}

/// What is watched.
struct Field {
    servers: Servers,
    site: Site,
    eval: Eval,
    ingress: Service,
    worker: Service,
    _providers: Providers,
}

impl Field {
    async fn new() -> anyhow::Result<Self> {
        let servers = Servers::start(false).await?;
        let site = Site::new(&servers.nats).await?;
        let (eval, providers) = (Eval::start()?, Providers::start()?);
        {
            // Look-ups with a refused token wait until it is replaced, so their queue would grow with the pushes.
            let mut world = providers.world();
            (world.knows_everything, world.public) = (true, true);
        }
        let mut env = site.env(&servers.mongo.uri(), &eval);
        env.insert("GITHUB_API_URL".into(), providers.github_url());
        env.insert("GITHUB_TOKEN".into(), "token".into());
        env.insert("TAIGA_API_URL".into(), providers.taiga_url());
        let (ingress, _) = bed::start(Binary::Ingress, "ingress", &servers.dir, env.clone()).await?;
        let (worker, _) = bed::start(Binary::Worker, "worker", &servers.dir, env).await?;
        Ok(Self { servers, site, eval, ingress, worker, _providers: providers })
    }

    /// One sample of each series, in their order.
    async fn sample(&self) -> anyhow::Result<Vec<f64>> {
        let (ingress, worker) = (&self.ingress.process, &self.worker.process);
        let mut values = vec![
            usage::memory_mb(ingress)?,
            usage::memory_mb(worker)?,
            usage::descriptors(ingress)? as f64,
            usage::descriptors(worker)? as f64,
            self.site.progress().await?.map_or(0, |(_, waiting)| waiting) as f64,
        ];
        for stream in QUEUES {
            values.push(self.site.messages(stream).await? as f64);
        }
        values.push(self.servers.nats.memory_mb()?);
        values.push(self.servers.mongo.memory_mb()?);
        Ok(values)
    }
}

/// Streams that must not grow; `LD_EVENTS` keeps what it has by age and bytes.
const QUEUES: [StreamName; 4] = [StreamName::Notify, StreamName::Enrich, StreamName::Dead, StreamName::Status];

/// The series: name, unit, the least growth that counts. The servers cache what there is, so theirs are shown and not
/// judged.
const SERIES: [(&str, &str, Option<f64>); 11] = [
    ("ingress, memory", "MB", Some(4.0)),
    ("worker, memory", "MB", Some(8.0)),
    ("ingress, descriptors", "", Some(4.0)),
    ("worker, descriptors", "", Some(4.0)),
    ("lag", "events", Some(50.0)),
    ("LD_NOTIFY", "messages", Some(100.0)),
    ("LD_ENRICH", "messages", Some(100.0)),
    ("LD_DEAD", "messages", Some(10.0)),
    ("LD_STATUS", "messages", Some(20.0)),
    ("nats-server, memory", "MB", None),
    ("mongod, memory", "MB", None),
];

/// Measures and reports; an error when something grew.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let field = Field::new().await?;
    let mut all: Vec<Series> = SERIES.iter().map(|(name, unit, bound)| Series::new(name, unit, *bound)).collect();
    let load = Load::start(&field.ingress.webhooks(), plan.rate)?;
    let every = (plan.time / u32::try_from(SAMPLES)?).max(Duration::from_secs(1));
    let begin = Instant::now();
    let mut turn = 0;
    while begin.elapsed() < plan.time {
        tokio::time::sleep(every).await;
        let now = (begin.elapsed().as_secs() / TURN.as_secs()) as usize;
        if now != turn {
            turn = now;
            field.eval.reply(REPLIES[turn % REPLIES.len()]);
        }
        let at = begin.elapsed().as_secs_f64() / 60.0;
        for (series, value) in all.iter_mut().zip(field.sample().await?) {
            series.push(at, value);
        }
    }
    field.eval.reply(Reply::Accepted);
    let answers = load.stop().await?;
    let (begin, minutes) = (Instant::now(), plan.time.as_secs() / 60);
    while field.site.progress().await?.is_none_or(|(_, waiting)| waiting > 0) {
        ensure!(begin.elapsed() < TAIL, "events still wait {TAIL:?} after the load has ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bed::all_told(&field.site, &field.worker).await?;
    bed::stop(&field.ingress).await?;
    bed::stop(&field.worker).await?;

    let mut table = Table::new(
        &format!("Soak: {minutes} minutes, {} requests/s", plan.rate),
        &["", "at the beginning", "at half time", "at the end", "most", "trend of the second half", "noise"],
    );
    all.iter().for_each(|series| table.row(series.row()));
    table.note(format!(
        "Answers by status: {answers}. Trend: how much a straight line through the second half rises; it must not be more \
         than the noise, three standard deviations around the line, and than a least amount."
    ));
    let svg = paths::target()?.join("perf").join(format!("{}-soak.svg", report.date()));
    std::fs::create_dir_all(svg.parent().context("it is in a folder")?)?;
    std::fs::write(&svg, plot::svg(&all, minutes))?;
    println!("plotted to {}", svg.display());
    let grew: Vec<&str> = all.iter().filter(|series| series.grew()).map(Series::name).collect();
    report.add(
        "soak",
        &table,
        json!({ "minutes": minutes, "rate": plan.rate, "grew": grew, "answers": answers,
        "series": all.iter().map(Series::json).collect::<Vec<Value>>() }),
    );
    ensure!(grew.is_empty(), "these grew in the second half: {}", grew.join(", "));
    Ok(())
}
