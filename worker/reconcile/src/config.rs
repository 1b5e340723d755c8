//! When reconciliation happens by itself.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use reqwest::Url;

/// How the worker reconciles by itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reconciliation")]
pub struct ReconcileArgs {
    /// When documents are compared with GitHub and Taiga: nightly, off, or an interval such as 6h. Unless it is off,
    /// they also are after a gap, in which webhooks may have been lost.
    #[arg(long, env = "RECONCILE", default_value = "nightly")]
    pub reconcile: When,
    /// Where GitHub and Taiga find ingress, such as https://ld.example.edu; a hook that leads there is ours.
    #[arg(long, env = "PUBLIC_URL", value_parser = base)]
    pub public_url: Option<Url>,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Each team once a night, spread over the hours.
    Nightly,
    /// Never.
    Off,
    /// Each team this often.
    Every(Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "nightly" => Ok(Self::Nightly),
            "off" => Ok(Self::Off),
            other => {
                let interval = humantime::parse_duration(other).ok().filter(|interval| !interval.is_zero());
                interval.map(Self::Every).ok_or_else(|| "write nightly, off, or an interval such as 6h".to_owned())
            }
        }
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nightly => f.write_str("nightly"),
            Self::Off => f.write_str("off"),
            Self::Every(interval) => humantime::format_duration(*interval).fmt(f),
        }
    }
}

fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "write the address of ingress without /webhook, such as https://ld.example.edu".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_nightly_off_or_an_interval() {
        let read = |text: &str| text.parse::<When>();
        assert_eq!((read("nightly"), read("off")), (Ok(When::Nightly), Ok(When::Off)));
        assert_eq!(read("6h"), Ok(When::Every(Duration::from_secs(6 * 3600))));
        for bad in ["", "weekly", "0s", "-1h"] {
            assert!(read(bad).unwrap_err().contains("6h"), "{bad}");
        }
    }
}
