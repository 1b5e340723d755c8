//! Logs and metrics of a process.
//!
//! A log line is a sentence plus dotted fields; bodies, tokens and e-mail addresses never appear in one.

mod log_writer;
mod process;

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::log_writer::LogWriter;
pub use self::process::open_files_limit;
use crate::config::{LogArgs, LogFormat};

/// Buckets of every `*_seconds` histogram: from a memory access to a provider's timeout.
const SECONDS: [f64; 16] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets of every `*_events` histogram.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// How often the samples of histograms are counted into their buckets.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the last lines may take to be written when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static WRITER: LogWriter = LogWriter::new();

/// Starts logging to standard error. Call once, first; and [`flush_logs`] last.
pub fn init_logs(args: &LogArgs) {
    // Libraries log at warn: at DEBUG they would drown our lines, and could quote a payload. The NATS client logs each
    // attempt to connect; `nats` logs it once per interval.
    let ours = ["ingress", "worker", "shared"].map(|package| (package, args.log_level.filter()));
    let filter =
        Targets::new().with_default(LevelFilter::WARN).with_target("async_nats", LevelFilter::OFF).with_targets(ours);
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(&WRITER);
    match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).finish().with(filter).init(),
        LogFormat::Text => {
            // No colours in a file or at a collector.
            let is_terminal = std::io::stderr().is_terminal();
            builder.with_target(false).with_ansi(is_terminal).finish().with(filter).init();
        }
    }
    // The thread must not take the lock of `std::io::stderr`: it would hold it while it is blocked.
    let told =
        |dropped| tracing::warn!(dropped, "log lines were dropped: standard error took them too slowly or not at all");
    let started = std::thread::Builder::new().name("log".into()).spawn(move || match raw_stderr() {
        Ok(stderr) => WRITER.write_to(stderr, told),
        Err(_) => WRITER.write_to(std::io::stderr(), told),
    });
    // Without a thread nothing is logged, and nothing else fails.
    drop(started);
    // The default hook writes to standard error, and waits for it.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "this process has a bug: report it with this line")));
}

/// Standard error without Rust's lock around it.
fn raw_stderr() -> std::io::Result<std::fs::File> {
    std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from)
}

/// Waits a moment until the last lines are written.
pub fn flush_logs() {
    WRITER.flush_within(FLUSH_TIMEOUT);
}

/// What the process measures: our metrics, and those of the process itself (`process_…`), read when they are asked for.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Prometheus's text.
    #[must_use]
    pub fn render(&self) -> String {
        process::collect();
        self.0.render()
    }

    /// Counts the samples of histograms into their buckets at intervals. Rendering does that too; where nobody scrapes,
    /// every sample would stay in memory.
    pub async fn count_samples(self) {
        let mut ticks = tokio::time::interval(COUNT_INTERVAL);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// Installs the process's metrics recorder and returns what renders it.
///
/// # Errors
/// When a recorder is already installed.
pub fn init_metrics() -> Result<Metrics, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".into()), &COUNTS)?
        .install_recorder()?;
    metrics::describe_gauge!("ldconnect_ready", "1 while the process can do its work, as /readyz says");
    metrics::describe_gauge!("ldconnect_build_info", "Always 1; the label is the version that runs");
    metrics::gauge!("ldconnect_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!("ldconnect_ready").set(0.0);
    process::describe();
    Ok(Metrics(recorder))
}
