//! The process put together: build binds and connects, spawn hands the tasks over.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use shared::admin::{self, AdminServer};
use shared::credentials::{self, DefaultKeys};
use shared::ids::Source;
use shared::lifecycle::{Health, Lifecycle};
use shared::nats::ConnectError;
use shared::publish::Publisher;
use shared::status::Herald;
use shared::topology::Topology;

use crate::config::Settings;
use crate::limits::Memory;
use crate::probe::Probe;
use crate::publish::{Gate, Signals};
use crate::server::Server;
use crate::tls::{Tls, TlsError};
use crate::webhook::{Webhooks, router};

/// Why the process cannot start. An unreachable NATS is not among the reasons: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The signing secrets are half set.
    #[error("{0}")]
    Secrets(String),
    /// The teachers' file is broken.
    #[error("the teachers' file is broken: {0}")]
    Credentials(#[from] credentials::Problem),
    /// Certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The settings for NATS cannot work.
    #[error(transparent)]
    Nats(#[from] ConnectError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] io::Error),
}

/// A process that is bound and not yet running.
#[derive(Debug)]
pub struct App {
    server: Server,
    admin: AdminServer,
    probe: Probe,
    watcher: credentials::Watcher,
    herald: Arc<Herald>,
    /// The herald's own, so that no fact travels in a batch with events.
    facts: Publisher,
    tls: Option<Tls>,
}

impl App {
    /// Reads the teachers' file, sets up NATS and binds both addresses.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(settings: &Settings, metrics: PrometheusHandle, health: Health) -> Result<Self, StartError> {
        let defaults = DefaultKeys::new(&settings.signatures).map_err(StartError::Secrets)?;
        let (courses, watcher) = credentials::open(&settings.credentials.credentials_file)?;
        warn_of_missing_secrets(&defaults);
        let tls = Tls::open(settings.tls_cert.as_deref(), settings.tls_key.as_deref())?;
        let client = shared::nats::connect(&settings.nats, "ingress").await?;
        let topology = Topology::new(settings.nats.nats_prefix.as_deref(), settings.streams);
        let signals = Arc::new(Signals::default());
        let (probe, readiness) = Probe::new(client.clone(), topology.clone(), signals.clone(), courses.clone());
        let facts = Publisher::new(client.clone());
        let gate = Gate::new(Publisher::new(client), settings.max_requests, signals);
        let memory = Memory::new(settings.max_body_memory_mib);
        let webhooks = Arc::new(Webhooks::new(gate, topology, defaults, courses, memory));
        let herald = webhooks.herald();
        let admin = admin::bind(settings.admin_addr, health, readiness, metrics, crate::description::router()).await?;
        let listener = admin::listen(settings.bind_addr, "BIND_ADDR").await?;
        let server = Server::new(listener, router(webhooks), settings.max_connections as usize)
            .with_tls(tls.as_ref().map(Tls::config));
        tracing::info!(listen.role = "webhooks", listen.addr = %server.addr()?, tls = tls.is_some(), "listening");
        Ok(Self { server, admin, probe, watcher, herald, facts, tls })
    }

    /// Where webhooks are received.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.server.addr()
    }

    /// Starts everything; all of it stops with the process.
    pub fn spawn(self, life: &mut Lifecycle) {
        let (soft, hard) = (life.soft(), life.hard());
        life.spawn("webhooks", self.server.run(soft.clone(), hard));
        life.spawn("admin", self.admin.run(soft.clone()));
        life.spawn("probe", well(self.probe.run(soft.clone())));
        if let Some(tls) = self.tls {
            life.spawn("certificate", well(tls.watch(soft.clone())));
        }
        life.spawn("credentials", well(self.watcher.run(soft.clone())));
        life.spawn("herald", well(async move { self.herald.run(self.facts, soft).await }));
    }
}

async fn well(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}

/// Says once what will be refused, or accepted unsigned, for lack of a secret.
fn warn_of_missing_secrets(defaults: &DefaultKeys) {
    for source in Source::ALL.into_iter().filter(|source| defaults.of(*source).is_none()) {
        match source {
            Source::Excel => tracing::warn!(
                "EXCEL_SECRET is not set: sheets are accepted unsigned, so anybody who knows a project's id can write them"
            ),
            Source::Github => {
                tracing::warn!("GITHUB_SECRET is not set: only teams whose course has a github_secret can send")
            }
            Source::Taiga => {
                tracing::warn!("TAIGA_SECRET is not set: only teams whose course has a taiga_secret can send")
            }
        }
    }
}
