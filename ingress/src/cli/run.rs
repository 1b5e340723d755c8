//! `ingress run`, and `ingress` alone.

use std::process::ExitCode;

use shared::lifecycle::Lifecycle;
use shared::redact::without_passwords;
use shared::source::Source;
use shared::telemetry;
use shared::trace::Exporter;
use shared::version::version;

use crate::app::App;
use crate::config::Settings;

/// Runs until a signal; exit code 0 after a clean stop.
#[must_use]
pub fn run(settings: &Settings) -> ExitCode {
    telemetry::init_logs(&settings.logs);
    say_what_it_is(settings);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(settings)),
        Err(error) => {
            tracing::error!(%error, "cannot start: the operating system gave no threads");
            ExitCode::FAILURE
        }
    }
}

/// The first line: which build, and what it works with.
fn say_what_it_is(settings: &Settings) {
    let secrets: Vec<&str> = Source::ALL
        .into_iter()
        .filter(|source| settings.signatures.of(*source).current.is_some())
        .map(|source| source.description().secret.variable)
        .collect();
    tracing::info!(
        version = version(),
        nats = %without_passwords(&settings.nats.nats_url),
        secrets = secrets.join(","),
        tls = settings.tls_cert.is_some(),
        max_age = %humantime::format_duration(settings.streams.ld_events_max_age),
        max_bytes = %settings.streams.ld_events_max_bytes,
        credentials_file = %settings.credentials.credentials_file.display(),
        "ingress starts"
    );
}

async fn serve(settings: &Settings) -> ExitCode {
    let metrics = match telemetry::init_metrics() {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!(%error, "cannot start: metrics cannot be recorded");
            return ExitCode::FAILURE;
        }
    };
    let traces = match Exporter::start(&settings.traces, "ld-connect-ingress") {
        Ok(traces) => traces,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let mut life = Lifecycle::new(settings.shutdown.shutdown_grace);
    match App::build(settings, metrics, life.health()).await {
        Ok(app) => {
            app.spawn(&mut life);
            let code = life.run().await;
            traces.finish().await;
            code
        }
        Err(error) => {
            tracing::error!(%error, "cannot start");
            ExitCode::FAILURE
        }
    }
}
