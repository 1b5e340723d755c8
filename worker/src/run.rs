//! `worker run`: the process.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use shared::admin::{self, Readiness};
use shared::credentials::{self, DefaultKeys, PageKeys};
use shared::lifecycle::Lifecycle;
use shared::publish::Publisher;
use shared::redact::{without_login, without_passwords};
use shared::topology::{StreamName, Topology};
use shared::trace::Exporter;
use shared::version::version;
use shared::{systemd, telemetry};
use tokio::sync::watch as channel;

use worker_core::deliveries::Reader;
use worker_core::enrich::Enricher;
use worker_core::notify::Sender;
use worker_core::pipeline::Pipeline;
use worker_core::pipeline::consumer::{Consumer, Slots};
use worker_core::pipeline::events::Events;
use worker_core::pipeline::new_projects::{self, NewProjects};
use worker_core::pipeline::settle::Stop;
use worker_core::readiness::{self, STARTING};
use worker_core::status::collect::StatusCollector;
use worker_core::status::stories::serve::Stories;
use worker_core::status::{serve, stories};
use worker_core::team_page::collect::TeamReader;
use worker_core::team_page::serve::{self as team_pages, TeamPages};
use worker_providers::Tokens;
use worker_providers::github::GithubClient;
use worker_providers::report::Reporter;
use worker_providers::taiga::TaigaClient;
use worker_reconcile::config::RunArgs;
use worker_reconcile::keeper::Keeper;
use worker_reconcile::parts::Parts;
use worker_reconcile::reconciler::Reconciler;
use worker_reconcile::recovery::{self, Hosts, Recovery};

/// Works until SIGTERM or SIGINT. Exit code 0 after a clean stop.
pub async fn run(options: RunArgs) -> ExitCode {
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

async fn work(options: RunArgs) -> ExitCode {
    say_what_it_is(&options);
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

/// The first line: which build, and what it works with.
fn say_what_it_is(RunArgs { config, reconcile, .. }: &RunArgs) {
    let is_set = |secret: bool| if secret { "set" } else { "unset" };
    let enrich = &config.enrich;
    tracing::info!(
        version = version(),
        nats = %without_passwords(&config.nats.nats_url),
        mongo = %config.mongo.uri().map_or_else(|error| error.to_string(), |uri| without_login(uri.expose())),
        database = config.mongo.mongo_db,
        ld_eval = %format_args!("{}:{}", config.eval.eval_host, config.eval.eval_port),
        github = enrich.github_api_url,
        github_token = is_set(enrich.github_token.is_some()),
        taiga = enrich.taiga_api(),
        taiga_account = is_set(enrich.taiga_password.is_some() || enrich.taiga_token.is_some()),
        credentials_file = %config.credentials.credentials_file.display(),
        reconcile = %reconcile.reconcile,
        "the worker starts"
    );
}

/// The name of this worker at NATS and in `ld_probe`. In a container the process id alone is always 1.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let host: String = host.trim().chars().map(letter).take(64).collect();
    format!("ld-worker-{host}-{}", std::process::id())
}

/// Builds everything and starts the tasks. NATS and MongoDB may be away: the tasks wait for them.
async fn start(
    RunArgs { config, pages, reconcile }: RunArgs,
) -> Result<(Lifecycle, Client), Box<dyn std::error::Error>> {
    let metrics = telemetry::init_metrics()?;
    worker_core::meters::describe();
    worker_reconcile::keeper::metrics::describe();
    let (courses, watcher) = credentials::open(&config.credentials.credentials_file)
        .map_err(|problem| format!("the credentials file is broken: {problem}"))?;
    let tokens = Tokens::new(courses.clone(), &config.enrich)?;
    let mut life = Lifecycle::new(config.shutdown.shutdown_grace);
    let (readiness_sender, ready) = channel::channel(Readiness::not_yet(STARTING));
    let (problem_sender, problems) = channel::channel(Vec::new());
    let who = name();
    let client = shared::nats::connect(&config.nats, &who).await?;
    let jetstream = shared::nats::jetstream(client.clone());
    let topology = Topology::new(config.nats.nats_prefix.as_deref(), config.streams);
    let collector = StatusCollector::new(jetstream.clone(), topology.clone(), courses.clone(), problems);
    let reporter = Reporter::new(topology.clone());
    let store = config.mongo.open().await?;
    let publisher = Publisher::new(client.clone());
    let batch = config.work.batches.worker_batch.get();
    let reconciler = Reconciler {
        parts: Parts::new(store.clone(), client.clone(), jetstream.clone(), topology.clone())
            .with(config.documents.settings()),
        courses: courses.clone(),
        tokens: tokens.clone(),
        github: Arc::new(GithubClient::new(&config.enrich.github_api_url, reporter.clone())?),
        taiga: Arc::new(TaigaClient::new(config.enrich.taiga_api(), config.enrich.taiga_auth(), reporter.clone())?),
        public_url: reconcile.public_url,
    };
    let reader = Reader::new(jetstream.clone(), topology.clone(), store.clone());
    let stories = Stories::new(reader, config.work.admin_token);
    let mut routes = serve::routes(collector).merge(stories::serve::routes(stories));
    if reconcile.recovery_api {
        if reconcile.recovery_token.is_none() && !config.work.admin_addr.ip().is_loopback() {
            tracing::warn!(
                address = %config.work.admin_addr,
                "RECOVERY_API is on without RECOVERY_TOKEN: every client that reaches ADMIN_ADDR may start recoveries; let only the administration tool reach it, or set RECOVERY_TOKEN"
            );
        }
        let hosts = Hosts::new(&config.enrich.github_api_url, config.enrich.taiga_api());
        let recovery = Recovery::new(reconciler.clone(), hosts, reconcile.recovery_token, life.soft());
        routes = routes.merge(recovery::routes(Arc::new(recovery)));
    }
    let pages = match pages.team_pages_addr {
        Some(addr) => {
            let (jetstream, topology, courses) = (jetstream.clone(), topology.clone(), courses.clone());
            let public_url = reconciler.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
            let defaults = DefaultKeys::new(&pages.signatures)?;
            let keys = PageKeys::new(&pages.links, defaults)?;
            let reader = TeamReader::new(
                jetstream,
                topology,
                courses,
                store.database().clone(),
                public_url,
                config.documents.settings(),
            );
            Some(team_pages::bind(addr, TeamPages { keys, reader }).await?)
        }
        None => None,
    };
    let admin = admin::bind(config.work.admin_addr, life.health(), ready.clone(), metrics, routes).await?;
    let rest = Arc::new(reconciler.clone());
    let keeper = Keeper::new(reconciler, reconcile.reconcile, &who);
    let mut pipeline = Pipeline::new(&who, store, publisher, topology, jetstream, batch);
    pipeline.tokens = tokens;
    pipeline.settings = config.documents.settings();
    pipeline.new_projects = Some(NewProjects::new(config.work.new_projects_per_hour, courses.clone()));
    let pipeline = Arc::new(pipeline);
    let sender = Arc::new(Sender::new(pipeline.clone(), &config.eval, courses.clone(), reporter.clone())?);
    let enricher = Enricher::new(pipeline.clone(), &config.enrich, reporter.clone())?.with_rest(rest);
    let enricher = Arc::new(enricher);

    let stop = Stop { soft: life.soft(), hard: life.hard(), finish_within: None };
    let slots = Slots { count: config.work.batches.worker_concurrency.get(), batch };
    let events = Consumer { pipeline: Arc::clone(&pipeline), stream: StreamName::Events, slots, stop: stop.clone() };
    life.spawn("events", events.run(Arc::new(Events(Arc::clone(&pipeline)))));
    life.spawn("notifications", sender.run(stop.clone()));
    life.spawn("new projects", new_projects::redrive(Arc::clone(&pipeline), life.soft()));
    life.spawn("look-ups", enricher.run(stop));
    life.spawn("keeper", keeper.run(life.soft()));
    life.spawn("credentials", infallible(watcher.run(life.soft())));
    // A publisher of its own, because a batch is of one stream.
    life.spawn("reporter", infallible(reporter.run(Publisher::new(client.clone()), life.soft())));
    life.spawn("readiness", readiness::watch(pipeline, courses, readiness_sender, problem_sender, life.soft()));
    life.spawn("admin", admin.run(life.soft()));
    if let Some(pages) = pages {
        life.spawn("team pages", pages.run(life.soft()));
    }
    life.spawn("systemd", systemd::run(ready, life.health(), life.soft()));
    Ok((life, client))
}

async fn infallible(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}
