//! Webhooks a second, and how long each waits for its answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use harness::eval::Eval;
use harness::process::{Process, usage};
use harness::sender::{Delivery, Secrets, github};
use harness::stack::{Binary, Service};
use serde_json::{Value, json};
use shared::ids::Project;
use shared::source::Source;

use crate::Options;
use crate::bed::{self, Nats, Site, Sync};
use crate::http::{self, Round, Template};
use crate::reference::Reference;
use crate::report::{Report, Spread, Table, millis, size};

/// How many deliveries are sent again and again where duplicates are measured: more than are in flight.
const DUPLICATES: u64 = 5_000;

/// How long each service is loaded before its first round.
const WARM_UP: Duration = Duration::from_millis(500);

/// The project every delivery is of.
const PROJECT: &str = "TeamA";

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    sync: Vec<Sync>,
    sizes: Vec<usize>,
    connections: Vec<usize>,
    rounds: usize,
    time: Duration,
    cluster: bool,
}

impl Plan {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Self {
        let quick = options.quick;
        let or = |given: &Option<Vec<usize>>, all: &[usize], few: &[usize]| {
            given.clone().unwrap_or_else(|| if quick { few.to_vec() } else { all.to_vec() })
        };
        Self {
            sync: options.sync.clone().unwrap_or_else(|| vec![Sync::Always, Sync::Default]),
            sizes: or(&options.sizes, &[1 << 10, 8 << 10], &[1 << 10]),
            connections: or(&options.connections, &[1, 32, 256], &[1, 32, 256]),
            rounds: options.rounds.unwrap_or(if quick { 2 } else { 3 }),
            time: Duration::from_secs_f64(options.round_seconds.unwrap_or(if quick { 1.5 } else { 3.0 })),
            cluster: options.cluster,
        }
    }
}

/// A queue, an ingress on it and a plain one to compare with.
struct Field {
    site: Site,
    ingress: Service,
    reference: Reference,
    nats: Nats,
    _eval: Eval,
}

impl Field {
    async fn new(sync: Sync, cluster: bool) -> anyhow::Result<Self> {
        let dir = bed::scratch("ingest")?;
        let nats = Nats::start(sync, cluster, &dir).await?;
        let site = Site::new(&nats).await?;
        let eval = Eval::start()?;
        let env = site.env("mongodb://127.0.0.1:1", &eval);
        let (ingress, _) = bed::start(Binary::Ingress, "ingress", &dir, env).await?;
        let subject = site.topology.event_subject(Source::Github, &Project::new(PROJECT)?, "push");
        let reference = Reference::start(&site.nats_url, &subject, &Secrets::default().github, &dir).await?;
        Ok(Self { site, ingress, reference, nats, _eval: eval })
    }
}

/// Measures and reports.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Ingest: signed GitHub pushes, each answered 200 once JetStream has acknowledged it",
        &[
            "sync_interval",
            "body",
            "conns",
            "reference/s",
            "ingress/s",
            "ratio",
            "p50 ms: reference",
            "ingress",
            "p99 ms: reference",
            "ingress",
            "errors",
            "CPU µs each: reference + nats + load",
            "ingress + nats + load",
            "ratio by CPU",
        ],
    );
    let mut figures = Vec::new();
    for &sync in &plan.sync {
        let field = Field::new(sync, plan.cluster).await?;
        for &bytes in &plan.sizes {
            let template = Template::new(&delivery(bytes));
            for &connections in &plan.connections {
                let point = Point { sync, bytes, connections, again: false };
                figures.push(measure(plan, &field, point, &template, &mut table, report).await?);
            }
        }
        if let (Some(&bytes), Some(&connections)) = (plan.sizes.first(), plan.connections.last()) {
            let template = Template::new(&delivery(bytes)).repeating(DUPLICATES);
            let point = Point { sync, bytes, connections, again: true };
            figures.push(measure(plan, &field, point, &template, &mut table, report).await?);
        }
        field.reference.stop()?;
        bed::stop(&field.ingress).await?;
    }
    table.note(format!(
        "{} rounds of {:.1} s each, reference and ingress in turns, the stream purged between them; medians, ± half the \
         range of the rounds. Ratio: ingress / reference of neighbouring rounds. Reference: a plain axum service, one HMAC, \
         publish, await the acknowledgement. \"again\": the same {DUPLICATES} deliveries over and over.",
        plan.rounds,
        plan.time.as_secs_f64()
    ));
    report.add("ingest", &table, Value::Array(figures));
    Ok(())
}

/// One row.
#[derive(Debug, Clone, Copy)]
struct Point {
    sync: Sync,
    bytes: usize,
    connections: usize,
    again: bool,
}

impl Point {
    fn body(self) -> String {
        format!("{}{}", size(self.bytes), if self.again { " again" } else { "" })
    }
}

async fn measure(
    plan: &Plan,
    field: &Field,
    point: Point,
    template: &Template,
    table: &mut Table,
    report: &mut Report,
) -> anyhow::Result<Value> {
    let (ingress, reference) = (&field.ingress.process, &field.reference.process);
    let (to_plain, to_ours) = (field.reference.address, field.ingress.webhooks_addr());
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    let (mut plain_cpu, mut our_cpu) = (Cpu::default(), Cpu::default());
    // Sockets, allocator and server warm up outside the rounds.
    for address in [to_plain, to_ours] {
        http::load(address, template, point.connections, WARM_UP).await?;
    }
    for _ in 0..plan.rounds {
        for (process, to, rounds, cpu) in
            [(reference, to_plain, &mut plain, &mut plain_cpu), (ingress, to_ours, &mut ours, &mut our_cpu)]
        {
            let before = Cpu::so_far(process, &field.nats)?;
            rounds.push(http::load(to, template, point.connections, plan.time).await?);
            cpu.add(Cpu::so_far(process, &field.nats)?, before);
            field.purge(point).await?;
        }
    }
    let ratio = Spread::of(ours.iter().zip(&plain).map(|(ours, plain)| ours.rate() / plain.rate()));
    let (plain_cpu, our_cpu) = (plain_cpu.micros_each(&plain), our_cpu.micros_each(&ours));
    // What both cores can do, where nothing else runs: less noisy than the rates where something does.
    let by_cpu = plain_cpu.sum() / our_cpu.sum();
    let (plain_rate, our_rate) = (Spread::of(plain.iter().map(Round::rate)), Spread::of(ours.iter().map(Round::rate)));
    let (plain, ours) = (Latencies::of(&plain)?, Latencies::of(&ours)?);
    let Point { sync, connections, .. } = point;
    let cluster = if plan.cluster { "3 servers, " } else { "" };
    report.ratio(&format!("ingest, {cluster}{}, {}, {connections} connections", sync.name(), point.body()), ratio);
    table.row(vec![
        format!("{cluster}{}", sync.name()),
        point.body(),
        connections.to_string(),
        plain_rate.rate(),
        our_rate.rate(),
        ratio.ratio(),
        millis(plain.p50),
        millis(ours.p50),
        millis(plain.p99),
        millis(ours.p99),
        ours.errors.to_string(),
        plain_cpu.to_string(),
        our_cpu.to_string(),
        format!("{by_cpu:.2}"),
    ]);
    Ok(json!({
        "sync_interval": sync.name(), "bytes": point.bytes, "connections": connections, "again": point.again,
        "cluster": plan.cluster, "ratio": ratio.json(),
        "reference": { "per_second": plain_rate.json(), "latency": plain.json(), "cpu_micros_each": plain_cpu },
        "ingress": { "per_second": our_rate.json(), "latency": ours.json(), "cpu_micros_each": our_cpu },
        "ratio_by_cpu": by_cpu,
    }))
}

/// CPU seconds, or microseconds a webhook.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
struct Cpu {
    service: f64,
    nats: f64,
    load: f64,
}

impl Cpu {
    fn so_far(service: &Process, nats: &Nats) -> anyhow::Result<Self> {
        let (service, load) = (usage::cpu_seconds(service)?, usage::own_cpu_seconds()?);
        Ok(Self { service, nats: nats.cpu_seconds()?, load })
    }

    fn add(&mut self, now: Self, before: Self) {
        self.service += now.service - before.service;
        self.nats += now.nats - before.nats;
        self.load += now.load - before.load;
    }

    fn micros_each(self, rounds: &[Round]) -> Self {
        let factor = 1e6 / rounds.iter().map(|round| round.done).sum::<u64>().max(1) as f64;
        Self { service: self.service * factor, nats: self.nats * factor, load: self.load * factor }
    }

    fn sum(self) -> f64 {
        self.service + self.nats + self.load
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} + {:.0} + {:.0}", self.service, self.nats, self.load)
    }
}

impl Field {
    /// Empties the stream. Not of duplicates: they would be news again.
    async fn purge(&self, point: Point) -> anyhow::Result<()> {
        if point.again { Ok(()) } else { self.site.purge().await }
    }
}

/// Latencies of all rounds together, in microseconds.
#[derive(Debug)]
struct Latencies {
    p50: u64,
    p99: u64,
    p999: u64,
    errors: u64,
}

impl Latencies {
    fn of(rounds: &[Round]) -> anyhow::Result<Self> {
        let mut all = http::histogram()?;
        for round in rounds {
            all.add(&round.micros)?;
        }
        let at = |quantile| all.value_at_quantile(quantile);
        let errors = rounds.iter().map(|round| round.errors).sum();
        Ok(Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), errors })
    }

    fn json(&self) -> Value {
        json!({ "p50_us": self.p50, "p99_us": self.p99, "p99.9_us": self.p999, "errors": self.errors })
    }
}

/// A push whose body has about this many bytes: commits as GitHub writes them, the last message as filler.
pub(crate) fn delivery(bytes: usize) -> Delivery {
    let mut commits = Vec::new();
    let length = |commits: &Vec<Value>| github::push(1_795_455_723, commits.clone()).to_string().len();
    let (empty, one) =
        (length(&commits), github::commit(&github::sha(0), "Task #7: validate the form").to_string().len());
    // The last commit stands in the body twice, as head_commit too.
    for n in 0..(bytes.saturating_sub(empty) / (one + 1)).saturating_sub(1) {
        commits.push(github::commit(&github::sha(n as u64), "Task #7: validate the form"));
    }
    let mut body = github::push(1_795_455_723, commits).to_string();
    // Space is what JSON allows anywhere; it brings the body to its size.
    body.insert_str(1, &" ".repeat(bytes.saturating_sub(body.len())));
    Delivery::github("push", &Value::Null).project(PROJECT).bytes(Bytes::from(body))
}
