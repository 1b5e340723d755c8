//! What it costs: memory, CPU, start-up, size; and how that grows.

use std::time::Duration;

use harness::eval::Eval;
use harness::stack::{Binary, Service, build};
use serde_json::{Value, json};

use crate::Options;
use crate::bed::{self, Site};
use crate::drain::{self, Servers};
use crate::http::{self, Template};
use crate::ingest;
use crate::lag;
use crate::report::{Report, Spread, Table, millis, size, thousands};
use harness::process::usage;

/// How long a service rests before its memory counts as that of rest.
const REST: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    backlogs: Vec<usize>,
    starts: usize,
    load: Duration,
    rate: u64,
    watch: u64,
}

impl Plan {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Self {
        let backlogs = if options.quick { vec![5_000, 20_000] } else { vec![10_000, 100_000] };
        Self {
            backlogs: options.backlog.clone().unwrap_or(backlogs),
            starts: if options.quick { 3 } else { 7 },
            load: Duration::from_secs(if options.quick { 2 } else { 5 }),
            rate: options.rate,
            watch: if options.quick { 5 } else { 15 },
        }
    }
}

/// Measures and reports.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let servers = Servers::start(false).await?;
    processes(plan, &servers, report).await?;
    backlogs(plan, &servers, report).await?;
    projects(plan, &servers, report).await
}

/// Each process at rest and under load.
async fn processes(plan: &Plan, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let mut table =
        Table::new("Cost of each process", &["", "binary MB", "spawn to ready ms", "at rest MB", "peak MB", "under"]);
    let mut figures = Vec::new();
    for binary in [Binary::Ingress, Binary::Worker] {
        let site = Site::new(&servers.nats).await?;
        let eval = Eval::start()?;
        let env = site.env(&servers.mongo.uri(), &eval);
        let mut starts = Vec::new();
        for n in 1..plan.starts {
            let (service, ready) =
                bed::start(binary, &format!("start-{n}-{}", binary.name()), &servers.dir, env.clone()).await?;
            starts.push(ready.as_secs_f64() * 1000.0);
            bed::stop(&service).await?;
        }
        let (service, ready) = bed::start(binary, binary.name(), &servers.dir, env).await?;
        starts.push(ready.as_secs_f64() * 1000.0);
        tokio::time::sleep(REST).await;
        let rest = usage::memory_mb(&service.process)?;
        let starts = Spread::of(starts);
        let mb = std::fs::metadata(build::path(binary.name())?)?.len() as f64 / 1e6;
        let loads = match binary {
            Binary::Ingress => ingress_loads(plan, &site, &service).await?,
            Binary::Worker => worker_loads(&service)?,
        };
        for (index, (under, peak)) in loads.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            table.row(vec![
                first(binary.name().to_owned()),
                first(format!("{mb:.1}")),
                first(format!("{:.0} ({:.0}–{:.0})", starts.median, starts.least, starts.most)),
                first(format!("{rest:.0}")),
                peak.map_or_else(|| "see below".to_owned(), |peak| format!("{peak:.0}")),
                under.clone(),
            ]);
        }
        figures.push(json!({
            "process": binary.name(), "binary_mb": mb, "ready_ms": starts.json(), "rest_mb": rest,
            "peaks_mb": loads.iter().filter_map(|(under, peak)| Some((under.clone(), json!((*peak)?)))).collect::<serde_json::Map<_, _>>(),
        }));
        bed::stop(&service).await?;
        site.forget().await?;
    }
    table.note(
        "Memory is resident (VmRSS, VmHWM; the peak is reset before each load). Ready is the first 200 of /readyz, with both \
         servers up. The release profile keeps line tables; `strip` makes the binaries smaller.",
    );
    report.add("processes", &table, Value::Array(figures));
    Ok(())
}

type Loads = Vec<(String, Option<f64>)>;

async fn ingress_loads(plan: &Plan, site: &Site, service: &Service) -> anyhow::Result<Loads> {
    let mut loads = Loads::new();
    for (bytes, connections) in [(1 << 10, 32), (8 << 10, 256), (1 << 20, 32), (1 << 20, 256)] {
        usage::reset_peak(&service.process)?;
        let template = Template::new(&ingest::delivery(bytes));
        let round = http::load(service.webhooks_addr(), &template, connections, plan.load).await?;
        let under = format!(
            "{} × {connections} connections, {}/s, {} errors",
            size(bytes),
            thousands(round.rate()),
            round.errors
        );
        loads.push((under, Some(usage::peak_mb(&service.process)?)));
        site.purge().await?;
    }
    Ok(loads)
}

/// The worker's loads are drains, which have tables of their own.
fn worker_loads(service: &Service) -> anyhow::Result<Loads> {
    usage::peak_mb(&service.process)?;
    Ok(vec![("drain".to_owned(), None)])
}

/// More events wait: what grows?
async fn backlogs(plan: &Plan, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Growth with the backlog: one worker, 40 projects",
        &[
            "waiting",
            "events/s",
            "worked off in s",
            "worker peak MB",
            "spawn to ready ms",
            "nats-server MB",
            "ingress MB",
        ],
    );
    let mut figures = Vec::new();
    for &waiting in &plan.backlogs {
        let site = drain::fill(servers, waiting, 40).await?;
        let eval = Eval::start()?;
        let name = format!("{}-ingress", site.name);
        let (ingress, _) =
            bed::start(Binary::Ingress, &name, &servers.dir, site.env(&servers.mongo.uri(), &eval)).await?;
        let drained = drain::drain(servers, &site, waiting, 1).await?;
        let ingress_mb = usage::peak_mb(&ingress.process)?;
        bed::stop(&ingress).await?;
        table.row(vec![
            thousands(waiting as f64),
            thousands(drained.rate),
            format!("{:.1}", drained.seconds),
            format!("{:.0}", drained.worker_mb),
            millis(u64::try_from(drained.ready.as_micros())?),
            format!("{:.0}", drained.nats_mb),
            format!("{ingress_mb:.0}"),
        ]);
        figures.push(json!({
            "waiting": waiting, "per_second": drained.rate, "seconds": drained.seconds, "worker_peak_mb": drained.worker_mb,
            "nats_mb": drained.nats_mb, "ingress_peak_mb": ingress_mb, "ready_ms": drained.ready.as_millis() as u64,
        }));
        forget(servers, &site).await?;
    }
    table.note("The lag of an event behind a backlog is the time it takes to work that off. Ready is measured while the backlog is worked off.");
    report.add("backlog", &table, Value::Array(figures));
    Ok(())
}

/// More projects: what grows?
async fn projects(plan: &Plan, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let waiting = plan.backlogs.iter().copied().max().unwrap_or(0).min(50_000);
    let mut table = Table::new(
        "Growth with the projects",
        &[
            "collections",
            "drain events/s",
            "worker peak MB",
            "lag collections",
            "→ document p50 ms",
            "p99 ms",
            "→ LD Eval p50 ms",
            "p99 ms",
            "missing",
        ],
    );
    let mut figures = Vec::new();
    // Of eight collections each in a drain, of four in the lag's mixture.
    for (drained, watched) in [(1_usize, 2_u64), (125, 250)] {
        let site = drain::fill(servers, waiting, drained).await?;
        let run = drain::drain(servers, &site, waiting, 1).await?;
        forget(servers, &site).await?;
        let field = lag::Field::new(&bed::scratch("projects")?).await?;
        // Every collection is there before it is measured.
        lag::watch(&field, plan.rate, (watched * 4).div_ceil(plan.rate).max(2), watched).await?;
        let lag = lag::watch(&field, plan.rate, plan.watch, watched).await?;
        bed::stop(&field.ingress).await?;
        bed::stop(&field.worker).await?;
        let at = |of: &hdrhistogram::Histogram<u64>, quantile| millis(of.value_at_quantile(quantile));
        table.row(vec![
            (drained * 8).to_string(),
            thousands(run.rate),
            format!("{:.0}", run.worker_mb),
            (watched * 4).to_string(),
            at(&lag.visible, 0.5),
            at(&lag.visible, 0.99),
            at(&lag.notified, 0.5),
            at(&lag.notified, 0.99),
            lag.missing.len().to_string(),
        ]);
        figures.push(json!({
            "collections": drained * 8, "per_second": run.rate, "worker_peak_mb": run.worker_mb, "lag_collections": watched * 4,
            "visible_p99_us": lag.visible.value_at_quantile(0.99), "notified_p99_us": lag.notified.value_at_quantile(0.99),
        }));
    }
    table.note(format!(
        "{} events drained by one worker; the lag at {} requests/s for {} s.",
        thousands(waiting as f64),
        plan.rate,
        plan.watch
    ));
    report.add("projects", &table, Value::Array(figures));
    Ok(())
}

async fn forget(servers: &Servers, site: &Site) -> anyhow::Result<()> {
    let client = harness::servers::mongo::connect(&servers.mongo.uri()).await?;
    client.database(&site.name).drop().await?;
    site.forget().await
}
