//! Webhooks a second, and how long each waits for its answer.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use harness::eval::Eval;
use harness::sender::{Delivery, github};
use harness::servers::NatsServer;
use harness::stack::{Binary, Service};
use serde_json::{Value, json};
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::source::Source;

use crate::Options;
use crate::bed::{self, Site, Sync};
use crate::ceiling::{self, Message};
use crate::http::{self, Round, Template};
use crate::report::{Report, Spread, Table, millis, size};
use harness::process::usage;

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
            sizes: or(&options.sizes, &[1 << 10, 8 << 10, 1 << 20], &[1 << 10]),
            connections: or(&options.connections, &[1, 32, 256], &[1, 32, 256]),
            rounds: options.rounds.unwrap_or(if quick { 2 } else { 3 }),
            time: Duration::from_secs_f64(options.round_seconds.unwrap_or(if quick { 1.5 } else { 3.0 })),
        }
    }
}

/// A server and an ingress on it.
struct Field {
    site: Site,
    ingress: Service,
    nats: NatsServer,
    _eval: Eval,
}

impl Field {
    async fn new(sync: Sync) -> anyhow::Result<Self> {
        let dir = bed::scratch("ingest")?;
        let nats = sync.nats(&dir.join("nats")).await?;
        let site = Site::new(&nats).await?;
        let eval = Eval::start()?;
        let env = site.env("mongodb://127.0.0.1:1", &eval);
        let (ingress, _) = bed::start(Binary::Ingress, "ingress", &dir, env).await?;
        Ok(Self { site, ingress, nats, _eval: eval })
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
            "bare/s",
            "ingress/s",
            "ratio",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "errors",
            "bare p50 ms",
            "bare p99 ms",
            "CPU µs each: ingress",
            "nats",
            "load",
        ],
    );
    let mut figures = Vec::new();
    for &sync in &plan.sync {
        let field = Field::new(sync).await?;
        for &bytes in &plan.sizes {
            let delivery = delivery(bytes);
            for &connections in &plan.connections {
                let (row, figure) = measure(plan, &field, sync, &delivery, bytes, connections).await?;
                table.row(row);
                figures.push(figure);
            }
        }
        bed::stop(&field.ingress).await?;
    }
    table.note(format!(
        "{} rounds of {:.1} s each, bare and ingress in turns, the stream purged between them; medians, ± half the range \
         of the rounds. Ratio: ingress / bare of neighbouring rounds. Bare: one message at a time per task, the same \
         headers and bytes (of 1 MiB: already compressed), async-nats, without HTTP and signatures.",
        plan.rounds,
        plan.time.as_secs_f64()
    ));
    report.add("ingest", &table, Value::Array(figures));
    Ok(())
}

async fn measure(
    plan: &Plan,
    field: &Field,
    sync: Sync,
    delivery: &Delivery,
    bytes: usize,
    connections: usize,
) -> anyhow::Result<(Vec<String>, Value)> {
    let (template, message) = (Template::new(delivery), message(&field.site, delivery)?);
    let (ingress, nats) = (&field.ingress.process, &field.nats.process);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    let mut cpu = [0.0; 3];
    let address = field.ingress.webhooks_addr();
    // Sockets, allocator and server warm up outside the rounds.
    http::load(address, &template, connections, Duration::from_millis(300)).await?;
    for _ in 0..plan.rounds {
        bare.push(ceiling::one_by_one(&field.site.jetstream, &message, connections, plan.time).await?);
        field.site.purge().await?;
        let used = || anyhow::Ok([usage::cpu_seconds(ingress)?, usage::cpu_seconds(nats)?, usage::own_cpu_seconds()?]);
        let before = used()?;
        ours.push(http::load(address, &template, connections, plan.time).await?);
        for (sum, (after, before)) in cpu.iter_mut().zip(used()?.into_iter().zip(before)) {
            *sum += after - before;
        }
        field.site.purge().await?;
    }
    let ratio = Spread::of(ours.iter().zip(&bare).map(|(ours, bare)| ours.rate() / bare.rate()));
    let done: u64 = ours.iter().map(|round| round.done).sum();
    let each = cpu.map(|seconds| seconds * 1e6 / done.max(1) as f64);
    let (bare_rate, our_rate) = (Spread::of(bare.iter().map(Round::rate)), Spread::of(ours.iter().map(Round::rate)));
    let (bare, ours) = (Latencies::of(&bare)?, Latencies::of(&ours)?);
    let row = vec![
        sync.name().to_owned(),
        size(bytes),
        connections.to_string(),
        bare_rate.rate(),
        our_rate.rate(),
        ratio.ratio(),
        millis(ours.p50),
        millis(ours.p99),
        millis(ours.p999),
        ours.errors.to_string(),
        millis(bare.p50),
        millis(bare.p99),
        format!("{:.0}", each[0]),
        format!("{:.0}", each[1]),
        format!("{:.0}", each[2]),
    ];
    let figure = json!({
        "sync_interval": sync.name(), "bytes": bytes, "connections": connections, "ratio": ratio.json(),
        "bare": { "per_second": bare_rate.json(), "latency": bare.json() },
        "ingress": { "per_second": our_rate.json(), "latency": ours.json() },
        "cpu_micros_each": { "ingress": each[0], "nats": each[1], "load": each[2] },
    });
    Ok((row, figure))
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

/// What ingress makes of it.
fn message(site: &Site, delivery: &Delivery) -> anyhow::Result<Message> {
    let project = Project::new(PROJECT)?;
    let envelope = Envelope {
        source: Source::Github,
        project: project.clone(),
        event: "push".to_owned(),
        delivery: http::unique_id(),
        quality_model: None,
        received_at: shared::time::now_ms(),
        traceparent: None,
        origin_sequence: None,
        read_at: None,
        payload: delivery.json.clone(),
    };
    let subject = site.topology.event_subject(Source::Github, &project, "push");
    let (headers, payload): (HeaderMap, Bytes) = envelope::encode(&envelope);
    Ok(Message { subject, headers, payload })
}
