//! The ratios of the last kept run, `tests/perf/ratios.json`: a run says where it is worse by more than the noise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use harness::paths;
use serde::{Deserialize, Serialize};

use crate::report::Spread;

/// A ratio, and how far rounds of one run are from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    ratio: f64,
    noise: f64,
}

/// Ratios by what they are of.
pub(crate) type Ratios = BTreeMap<String, Ratio>;

impl From<Spread> for Ratio {
    fn from(spread: Spread) -> Self {
        let hundredths = |value: f64| (value * 100.0).round() / 100.0;
        // One round has no range; a tenth is what runs differ by on a quiet machine.
        let noise = ((spread.most - spread.least) / 2.0).max(spread.median / 10.0);
        Self { ratio: hundredths(spread.median), noise: hundredths(noise) }
    }
}

fn path() -> PathBuf {
    paths::workspace().join("tests/perf/ratios.json")
}

fn kept() -> anyhow::Result<Ratios> {
    match std::fs::read(path()) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path().display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ratios::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path().display())),
    }
}

/// One line for each ratio that is worse than the kept one by more than both noises.
pub(crate) fn regressions(now: &Ratios) -> anyhow::Result<Vec<String>> {
    Ok(worse(&kept()?, now))
}

fn worse(kept: &Ratios, now: &Ratios) -> Vec<String> {
    let both = now.iter().filter_map(|(name, now)| Some((name, now, kept.get(name)?)));
    let worse = both.filter(|(_, now, kept)| now.ratio < kept.ratio - kept.noise - now.noise);
    worse
        .map(|(name, now, kept)| {
            format!("{name}: {:.2} ± {:.2}, kept are {:.2} ± {:.2}", now.ratio, now.noise, kept.ratio, kept.noise)
        })
        .collect()
}

/// Keeps these; those that were not measured stay as they are.
pub(crate) fn keep(now: &Ratios) -> anyhow::Result<()> {
    let mut all = kept()?;
    all.extend(now.iter().map(|(name, ratio)| (name.clone(), *ratio)));
    let text = serde_json::to_string_pretty(&all)? + "\n";
    std::fs::write(path(), text).with_context(|| format!("cannot write {}", path().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(ratio: f64) -> Ratios {
        [("a".to_owned(), Ratio { ratio, noise: 0.1 })].into()
    }

    #[test]
    fn a_ratio_is_worse_only_beyond_the_noise_of_both_runs() {
        assert!(worse(&ratios(1.0), &ratios(0.81)).is_empty());
        assert_eq!(worse(&ratios(1.0), &ratios(0.79)), ["a: 0.79 ± 0.10, kept are 1.00 ± 0.10"]);
        assert!(worse(&Ratios::new(), &ratios(0.1)).is_empty(), "nothing is kept of it");
    }

    #[test]
    fn the_kept_ratios_can_be_read() {
        kept().unwrap();
    }
}
