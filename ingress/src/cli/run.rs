//! `ingress run`, and `ingress` alone.

use std::process::ExitCode;

use shared::lifecycle::Lifecycle;
use shared::telemetry;
use shared::trace::Exporter;

use crate::app::App;
use crate::config::Settings;

/// Runs until a signal; exit code 0 after a clean stop.
#[must_use]
pub fn run(settings: &Settings) -> ExitCode {
    telemetry::init_logs(&settings.logs);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(settings)),
        Err(error) => {
            tracing::error!(%error, "cannot start: the operating system gave no threads");
            ExitCode::FAILURE
        }
    }
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
