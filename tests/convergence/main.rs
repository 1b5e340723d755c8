//! Convergence: any permutation with repetitions of a set of events, written by several
//! workers at once, with deaths between and within their steps, ends in the same documents.
//!
//! Histories are generated ([`history`]), encoded as the providers send them ([`payload`]), written to a real MongoDB
//! by the worker's own normalisation and stores ([`drive`]), and compared ([`check`]) with a simple implementation of
//! the rules ([`model`]). [`races`] tries every point at which one worker can overtake another.
//!
//! `CONVERGENCE_CASES` and `CONVERGENCE_SEED` set the number and the seed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod history;
mod payload;
mod model;
mod drive;
mod check;
mod races;

use std::cell::Cell;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::drive::Bench;
use crate::history::Case;

/// How long a failing history is shrunk, in milliseconds.
const SHRINKING: u32 = 120_000;

/// How often a shorter history is tried before it counts as passing.
const TRIES: u32 = 8;

#[test]
fn taiga_histories_converge() {
    prove("taiga", 600, history::taiga());
}

#[test]
fn github_and_sheets_histories_converge() {
    prove("github", 150, history::github_and_sheets());
}

fn prove(name: &str, cases: u32, strategy: impl Strategy<Value = Case>) {
    let cases = number("CONVERGENCE_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let rng_seed = RngSeed::Fixed(number("CONVERGENCE_SEED").unwrap_or(1));
    let config = Config {
        cases,
        rng_seed,
        failure_persistence: None,
        max_shrink_time: SHRINKING,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let runtime = runtime();
    let bench = runtime.block_on(Bench::start(name)).unwrap();
    let failed = Cell::new(false);
    let outcome = TestRunner::new(config).run(&strategy, |case| {
        // A failure that depends on timing is not found at every attempt: without repetition it would hardly shrink.
        let tries = if failed.get() { TRIES } else { 1 };
        for _ in 0..tries {
            let differences = runtime.block_on(both_ways(&bench, &case));
            let differences = differences.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            if !differences.is_empty() {
                failed.set(true);
                return Err(TestCaseError::fail(differences.join("\n")));
            }
        }
        Ok(())
    });
    let bulk_writes = runtime.block_on(bench.finish()).unwrap();
    match outcome {
        Ok(()) => assert!(bulk_writes > 0, "no worker used bulkWrite"),
        Err(TestError::Fail(reason, case)) => panic!("{reason}\n\n{case}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// As scheduled, and replayed in the order of the stream.
async fn both_ways(bench: &Bench, case: &Case) -> anyhow::Result<Vec<String>> {
    let batches = case.batches();
    let mut differences = bench.arrive(&batches, &case.turns).await?.differences;
    if case.replayed {
        let size = batches.first().map_or(1, |batch| batch.events.len());
        let replayed = bench.replay(&case.events(), size).await?;
        differences.extend(replayed.into_iter().map(|line| format!("replayed in order: {line}")));
    }
    Ok(differences)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A number that the environment gives.
#[expect(clippy::disallowed_methods, reason = "the harness is no part of the product and has no shared::config")]
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}")))
}
