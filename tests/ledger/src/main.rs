//! `cargo ledger`: proves, by id, that nothing acknowledged is lost while everything is killed, frozen and
//! restarted. Exits with 0 only when the proof holds. docs/durability.md says what it promises.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal: printing is its work")]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use harness::paths;
use ledger::{Options, Report};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(report) if report.broken().is_empty() => {
            println!("\nNothing is missing, nothing is there twice.");
            ExitCode::SUCCESS
        }
        Ok(report) => {
            println!("\nBROKEN: {}", report.broken().join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the run could not be finished: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<Report> {
    // Not among the tests' folders, which the next test run sweeps: a loss is to be looked into.
    let name = format!("seed-{}-{}", options.settings().seed, std::process::id());
    let dir = paths::target()?.join("ledger").join(name);
    let report = ledger::run(&options.settings(), &dir, &|line| eprintln!("{line}")).await?;
    println!("\n{report}");
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if report.broken().is_empty() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    } else {
        println!("Logs and data are in {}", dir.display());
    }
    Ok(report)
}
