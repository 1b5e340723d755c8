//! `cargo perf`: how fast LD Connect is, beside what the servers under it can do at most. Real servers,
//! release binaries, one table a part, and the same as JSON. See docs/performance.md for how to read it.
//!
//! Contender and ceiling take turns in short rounds, so that noise hits both; what is printed are medians,
//! with the range of the rounds beside them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal: printing is its work")]

mod bed;
mod ceiling;
mod cost;
mod drain;
mod events;
mod http;
mod ingest;
mod lag;
mod large;
mod ratios;
mod reference;
mod report;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use harness::paths;
use harness::stack::build::{Voice, build, use_binaries_in};
use tokio::runtime::Builder;

use report::Report;

/// Measures LD Connect on real servers on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo perf")]
struct Options {
    /// Which parts to measure; without any: all.
    parts: Vec<Part>,
    /// A run of about two minutes: fewer sizes, shorter rounds, smaller backlogs.
    #[arg(long)]
    quick: bool,
    /// Where the JSON goes; otherwise `target/perf/DATE.json`.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds of each, contender and ceiling.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of an ingest round, in seconds.
    #[arg(long)]
    round_seconds: Option<f64>,
    /// Body sizes of ingest, in bytes.
    #[arg(long, value_delimiter = ',')]
    sizes: Option<Vec<usize>>,
    /// Connections of ingest.
    #[arg(long, value_delimiter = ',')]
    connections: Option<Vec<usize>>,
    /// NATS' sync_interval: always, default.
    #[arg(long, value_delimiter = ',')]
    sync: Option<Vec<bed::Sync>>,
    /// Events that wait for the drain.
    #[arg(long)]
    events: Option<usize>,
    /// How many workers drain.
    #[arg(long, value_delimiter = ',')]
    workers: Option<Vec<usize>>,
    /// How long the lag is watched, in seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Requests a second while the lag is watched.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// A setting of both binaries that is to be tried, such as WORKER_BATCH=2000; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Backlogs of the cost part.
    #[arg(long, value_delimiter = ',')]
    backlog: Option<Vec<usize>>,
    /// Projects of the drain, each with eight collections.
    #[arg(long)]
    projects: Option<usize>,
    /// Three servers of NATS and of MongoDB on this machine, for ingest and drain.
    #[arg(long)]
    cluster: bool,
    /// How long the soak takes, in minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Keeps this run's ratios in tests/perf/ratios.json.
    #[arg(long)]
    keep: bool,
    /// Measures the `ingress` and `worker` in this folder, such as another version's, and builds nothing.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Is the plain ingress that ours is compared with.
    #[arg(long, hide = true, num_args = 4)]
    reference: Option<Vec<String>>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Webhooks a second, beside bare publishing.
    Ingest,
    /// Waiting events a second into documents, beside bare bulk upserts.
    Drain,
    /// How long until a document is visible and LD Eval notified.
    Lag,
    /// Memory, CPU, start-up, size, and how they grow.
    Cost,
    /// Small events beside the largest that ingress accepts: the worker's memory, and how long the small ones wait.
    Large,
    /// Everything up to here.
    All,
    /// A mixed load for `--minutes`: what grows?
    Soak,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.reference {
        // With as many threads as ours has.
        Some(settings) => runtime(Builder::new_multi_thread(), reference::serve(settings)),
        None => runtime(Builder::new_current_thread(), run(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(mut builder: Builder, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    builder.enable_all().build()?.block_on(work)
}

async fn run(options: &Options) -> anyhow::Result<()> {
    match &options.binaries {
        Some(dir) => use_binaries_in(dir)?,
        None => build(Voice::Aloud)?,
    }
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&Part::All) || options.parts.contains(&part);
    bed::try_settings(&options.settings)?;
    let mut report = Report::start()?;
    if wanted(Part::Ingest) {
        ingest::run(&ingest::Plan::new(options), &mut report).await.context("ingest")?;
    }
    if wanted(Part::Drain) {
        drain::run(&drain::Plan::new(options), &mut report).await.context("drain")?;
    }
    if wanted(Part::Lag) {
        lag::run(&lag::Plan::new(options), &mut report).await.context("lag")?;
    }
    if wanted(Part::Cost) {
        cost::run(&cost::Plan::new(options), &mut report).await.context("cost")?;
    }
    if wanted(Part::Large) {
        large::run(&mut report).await.context("large")?;
    }
    if options.parts.contains(&Part::Soak) {
        soak::run(&soak::Plan::new(options), &mut report).await.context("soak")?;
    }
    for line in ratios::regressions(report.ratios())? {
        println!("worse than kept: {line}");
    }
    if options.keep {
        ratios::keep(report.ratios())?;
    }
    let path = match &options.json {
        Some(path) => path.clone(),
        None => paths::target()?.join("perf").join(format!("{}.json", report.date())),
    };
    report.write(&path)?;
    println!("written to {}", path.display());
    Ok(())
}

#[cfg(test)]
mod test {
    use clap::CommandFactory as _;

    #[test]
    fn the_options_are_consistent() {
        super::Options::command().debug_assert();
    }
}
