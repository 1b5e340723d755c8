//! `worker run`: the process that works.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use clap::Args;
use shared::admin::{self, Readiness};
use shared::credentials;
use shared::lifecycle::Lifecycle;
use shared::publish::Publisher;
use shared::telemetry;
use shared::topology::Topology;
use shared::trace::Exporter;
use tokio::sync::watch as channel;

use worker_core::config::Config;
use worker_core::enrich::Enricher;
use worker_core::notify::Notifier;
use worker_core::pipeline::{self, Pipeline};
use worker_core::readiness::{self, STARTING};
use worker_core::status::collect::StatusCollector;
use worker_core::status::serve;
use worker_providers::Tokens;
use worker_providers::github::Github;
use worker_providers::report::Teller;
use worker_providers::taiga::Taiga;
use worker_reconcile::config::ReconcileArgs;
use worker_reconcile::keeper::Keeper;
use worker_reconcile::parts::Parts;
use worker_reconcile::reconciler::Reconciler;

/// The settings of the process.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    reconcile: ReconcileArgs,
}

/// Works until SIGTERM or SIGINT. Exit code 0 after a clean stop.
pub async fn run(options: Options) -> ExitCode {
    telemetry::init_logs(&options.config.logs);
    let traces = match Exporter::start(&options.config.traces, "ld-connect-worker") {
        Ok(traces) => traces,
        Err(error) => {
            tracing::error!(%error, "the worker cannot start");
            return ExitCode::FAILURE;
        }
    };
    let code = work(options).await;
    traces.finish().await;
    code
}

async fn work(options: Options) -> ExitCode {
    match start(options).await {
        Ok((life, client)) => {
            let code = life.run().await;
            // The last acks are still in the client's buffer; without them their events would come again.
            drop(tokio::time::timeout(Duration::from_secs(2), client.flush()).await);
            code
        }
        Err(error) => {
            tracing::error!(%error, "the worker cannot start");
            ExitCode::FAILURE
        }
    }
}

/// Builds everything and starts the tasks. NATS and MongoDB may be away: the tasks wait for them.
async fn start(Options { config, reconcile }: Options) -> Result<(Lifecycle, Client), Box<dyn std::error::Error>> {
    let metrics = telemetry::init_metrics()?;
    worker_core::meters::describe();
    let (courses, watcher) = credentials::open(&config.credentials.credentials_file)
        .map_err(|problem| format!("the teachers' file is broken: {problem}"))?;
    let tokens = Tokens::new(courses.clone(), &config.enrich)?;
    let mut life = Lifecycle::new(config.shutdown.shutdown_grace);
    let (readiness_sender, ready) = channel::channel(Readiness::not_yet(STARTING));
    let (problem_sender, problems) = channel::channel(Vec::new());
    let who = format!("ld-worker-{}", std::process::id());
    let client = shared::nats::connect(&config.nats, &who).await?;
    let jetstream = shared::nats::jetstream(client.clone());
    let topology = Topology::new(config.nats.nats_prefix.as_deref(), config.streams);
    let collector = StatusCollector::new(jetstream.clone(), topology.clone(), courses.clone(), problems);
    let admin = admin::bind(config.work.admin_addr, life.health(), ready, metrics, serve::routes(collector)).await?;
    let teller = Teller::new(topology.clone());
    let store = config.mongo.open().await?;
    let publisher = Publisher::new(client.clone());
    let batch = config.work.batches.worker_batch.get();
    let reconciler = Reconciler {
        parts: Parts::new(store.clone(), client.clone(), jetstream.clone(), topology.clone()),
        courses: courses.clone(),
        tokens: tokens.clone(),
        github: Arc::new(Github::new(&config.enrich.github_api_url, teller.clone())?),
        taiga: Arc::new(Taiga::new(config.enrich.taiga_api(), config.enrich.taiga_auth(), teller.clone())?),
        public_url: reconcile.public_url,
    };
    let keeper = Keeper::new(reconciler, reconcile.reconcile, &who);
    let pipeline = Arc::new(Pipeline { tokens, ..Pipeline::new(store, publisher, topology, jetstream, batch) });
    let notifier = Arc::new(Notifier::new(pipeline.clone(), &config.eval, teller.clone())?);
    let enricher = Arc::new(Enricher::new(pipeline.clone(), &config.enrich, teller.clone())?);

    for _ in 0..config.work.batches.worker_concurrency.get() {
        life.spawn("lane", pipeline::lane(pipeline.clone(), life.soft(), life.hard()));
    }
    life.spawn("notifier", notifier.run(life.soft(), life.hard()));
    life.spawn("enricher", enricher.run(life.soft()));
    life.spawn("keeper", keeper.run(life.soft()));
    life.spawn("credentials", well(watcher.run(life.soft())));
    // A publisher of its own, so that no fact travels in a batch with notifications.
    life.spawn("teller", well(teller.run(Publisher::new(client.clone()), life.soft())));
    life.spawn("watch", readiness::watch(pipeline, courses, who, readiness_sender, problem_sender, life.soft()));
    life.spawn("admin", admin.run(life.soft()));
    Ok((life, client))
}

async fn well(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}
