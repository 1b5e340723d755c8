//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Settings;
use clap::Parser;

/// Which share of the time is for sending and disturbing; the rest is for what is left to do.
const SENDING: f64 = 0.6;

/// Sends signed deliveries while ingress, worker, nats-server, mongod and LD Eval's stand-in are killed,
/// frozen and restarted, then compares by id what was acknowledged with what is there.
///
/// Exit codes: 0 nothing lost, 1 something lost, doubled, forged or left behind, 2 the run could not be finished.
#[derive(Debug, Parser)]
#[command(name = "cargo ledger")]
pub struct Options {
    /// How many deliveries, forged ones among them.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Decides what is sent and who is disturbed; the same seed disturbs the same again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many minutes it may take; for the first 60 % of them deliveries and disturbances go on.
    #[arg(long, default_value_t = 20.0, value_parser = minutes)]
    minutes: f64,
    /// How many senders deliver side by side.
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    senders: usize,
    /// How many workers share the events.
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    workers: usize,
    /// How many ingresses take them.
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    ingresses: usize,
    /// NATS is a cluster of three with three replicas of each stream. MongoDB is a replica set of three in every run.
    #[arg(long)]
    cluster: bool,
    /// The pause between two disturbances, such as 2s..8s.
    #[arg(long, default_value = "2s..8s", value_parser = pauses)]
    kills_every: (Duration, Duration),
    /// Writes the report there too, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Options {
    /// As the run wants them.
    pub fn settings(&self) -> Settings {
        let limit = Duration::from_secs_f64(self.minutes * 60.0);
        Settings {
            events: self.events,
            seed: self.seed,
            sending: limit.mul_f64(SENDING),
            limit,
            senders: self.senders,
            workers: self.workers,
            ingresses: self.ingresses,
            cluster: self.cluster,
            pauses: self.kills_every,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.5..=24.0 * 60.0).contains(&minutes) => Ok(minutes),
        _ => Err("minutes from 0.5 on".to_owned()),
    }
}

/// `2s..8s`; the unit may be left out.
fn pauses(text: &str) -> Result<(Duration, Duration), String> {
    let wanted = || "two times, such as 2s..8s, the shorter one first".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wanted)?;
    let seconds = |text: &str| {
        let number = text.trim().trim_end_matches('s').parse().ok()?;
        Duration::try_from_secs_f64(number).ok()
    };
    match (seconds(from), seconds(to)) {
        (Some(from), Some(to)) if from <= to && !to.is_zero() => Ok((from, to)),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod test {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn pauses_are_read_in_seconds_and_in_order() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(pauses("2s..8s"), Ok((seconds(2.0), seconds(8.0))));
        assert_eq!(pauses("0.5..1"), Ok((seconds(0.5), seconds(1.0))));
        for wrong in ["8s..2s", "2s", "a..b", "0..0", "-1..2"] {
            assert!(pauses(wrong).is_err(), "{wrong}");
        }
    }
}
