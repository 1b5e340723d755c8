//! The settings of the process, and when reconciliation runs automatically.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use shared::secret::Secret;
use shared::source::Source;
use worker_core::config::{Config, PageArgs};

/// The settings of `worker run`, which `worker config check` checks.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Those of the pipeline.
    #[command(flatten)]
    pub config: Config,
    /// Those of the check pages.
    #[command(flatten)]
    pub pages: PageArgs,
    /// Those of reconciliation.
    #[command(flatten)]
    pub reconcile: ReconcileArgs,
}

/// How the worker reconciles automatically.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reconciliation")]
pub struct ReconcileArgs {
    /// When documents are compared with GitHub and Taiga: nightly, off, or an interval such as 6h. Unless it is off,
    /// they also are after a gap, in which webhooks may have been lost.
    #[arg(long, env = "RECONCILE", default_value = "nightly")]
    pub reconcile: When,
    /// Where GitHub and Taiga find ingress, such as `https://ld.example.edu`; a hook that leads there is ours.
    #[arg(long, env = "PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<Url>,
    /// Whether the admin address also takes the recoveries of the Learning Dashboard's administration tool
    /// (/admin/recovery/… and /data-recovery/run): true or false.
    #[arg(long, env = "RECOVERY_API", default_value = "false", action = clap::ArgAction::Set)]
    pub recovery_api: bool,
    /// What a recovery's request must send as Authorization: Bearer; unset, any client that reaches the admin address
    /// may ask.
    #[arg(long, env = "RECOVERY_TOKEN", hide_env_values = true)]
    pub recovery_token: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Each team once a night, spread over the hours.
    Nightly,
    /// Never.
    Off,
    /// Each team this often.
    Every(Duration),
}

/// It is neither a word nor an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write nightly, off, or an interval such as 6h")]
pub struct InvalidWhen;

impl FromStr for When {
    type Err = InvalidWhen;

    fn from_str(text: &str) -> Result<Self, InvalidWhen> {
        match text.trim() {
            "nightly" => Ok(Self::Nightly),
            "off" => Ok(Self::Off),
            other => {
                let interval = humantime::parse_duration(other).ok().filter(|interval| !interval.is_zero());
                interval.map(Self::Every).ok_or(InvalidWhen)
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

/// Reads `PUBLIC_URL`. Its older names hold the address of one source's webhooks, which is read too.
///
/// # Errors
/// When it is no address of ingress; the text shows what would be right.
pub fn public_url(text: &str) -> Result<Url, InvalidPublicUrl> {
    let webhooks = Source::ALL.map(|source| format!("/webhook/{source}"));
    let text = text.trim_end_matches('/');
    let text = webhooks.iter().find_map(|path| text.strip_suffix(path.as_str())).unwrap_or(text);
    let url = Url::parse(text).map_err(|_| InvalidPublicUrl)?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    let good = matches!(url.scheme(), "http" | "https") && url.has_host() && plain && !url.path().contains("/webhook");
    if good { Ok(url) } else { Err(InvalidPublicUrl) }
}

/// It is not an address of ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the address of ingress without /webhook, such as https://ld.example.edu")]
pub struct InvalidPublicUrl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_ingress_may_be_given_as_that_of_one_sources_webhooks() {
        for given in
            ["https://x.example/ld", "https://x.example/ld/webhook/github", "https://x.example/ld/webhook/taiga/"]
        {
            assert_eq!(public_url(given).unwrap().as_str(), "https://x.example/ld", "{given}");
        }
        for bad in ["ld.example.edu", "ftp://x", "https://x/webhook", "https://x/webhook/other", "https://x/?a=b"] {
            assert!(public_url(bad).unwrap_err().to_string().contains("https://ld.example.edu"), "{bad}");
        }
    }

    #[test]
    fn it_is_nightly_off_or_an_interval() {
        let read = |text: &str| text.parse::<When>();
        assert_eq!((read("nightly"), read("off")), (Ok(When::Nightly), Ok(When::Off)));
        assert_eq!(read("6h"), Ok(When::Every(Duration::from_secs(6 * 3600))));
        for bad in ["", "weekly", "0s", "-1h"] {
            assert_eq!(read(bad), Err(InvalidWhen), "{bad}");
        }
    }
}
