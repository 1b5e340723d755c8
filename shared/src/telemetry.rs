//! Logs and metrics of a process.
//!
//! A log line is a sentence plus dotted fields; bodies, tokens and e-mail addresses never appear in one.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::EnvFilter;

use crate::config::{LogArgs, LogFormat};

/// Buckets of every `*_seconds` histogram: from a memory access to the provider's patience.
const SECONDS: [f64; 16] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets of every `*_events` histogram.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// Starts logging to standard error. Call once, first.
pub fn init_logs(args: &LogArgs) {
    // Libraries speak at warn: at DEBUG their frames would bury (and could quote) what passes through.
    let filter = EnvFilter::try_new(format!(
        "warn,ingress={level},worker={level},shared={level}",
        level = args.log_level.as_str()
    ))
    .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        // A file or a collector has no use for colours.
        LogFormat::Text if !std::io::stderr().is_terminal() => builder.with_target(false).with_ansi(false).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

/// Installs the process's metrics recorder and returns what renders it.
///
/// # Errors
/// When a recorder is already installed.
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".into()), &COUNTS)?
        .install_recorder()?;
    metrics::describe_gauge!("ldconnect_ready", "1 while the process can really do its work, as /readyz says");
    metrics::describe_gauge!("ldconnect_build_info", "Always 1; the label says which version runs");
    metrics::gauge!("ldconnect_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!("ldconnect_ready").set(0.0);
    Ok(recorder)
}

/// Lets one line through per interval: an outage is one story, not one line a message.
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// A throttle that opens once per `every`.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, state: Mutex::new((None, 0)) }
    }

    /// `Some(n)` when a line may be logged now; `n` counts the lines that were held back since the last one.
    pub fn open(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| last.elapsed() < self.every) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(Instant::now());
        Some(std::mem::take(&mut state.1))
    }

    /// Starts over: the next line is let through at once. Returns whether any line had been logged since.
    pub fn reset(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = 0;
        state.0.take().is_some()
    }
}
