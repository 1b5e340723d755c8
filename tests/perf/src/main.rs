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
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use harness::paths;
use harness::stack::build::{Voice, build};

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
    /// Everything.
    All,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<()> {
    build(Voice::Aloud)?;
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
