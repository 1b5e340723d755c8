//! The process: `build` binds and connects, `spawn` starts the tasks.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::admin::{self, AdminServer, Readiness};
use shared::credentials::{self, CredentialsError, DefaultKeys, MissingSecret};
use shared::facts::FactPublisher;
use shared::lifecycle::{Health, Lifecycle};
use shared::nats::ConnectError;
use shared::publish::Publisher;
use shared::server as listeners;
use shared::source::Source;
use shared::systemd;
use shared::telemetry::Metrics;
use shared::topology::Topology;
use tokio::sync::watch;

use crate::beat::Heartbeat;
use crate::client::Clients;
use crate::config::Settings;
use crate::open_files;
use crate::publish::{Gate, Signals};
use crate::readiness::ReadinessCheck;
use crate::server::{Certificate, OVERFLOW_SLOTS, Server, TlsError};
use crate::webhook::Webhooks;
use crate::webhook::access::{Access, UnsignedSheets};
use crate::webhook::memory::Memory;

/// Why the process cannot start. An unreachable NATS is not among the reasons: the client keeps trying.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The signing secrets are half set.
    #[error(transparent)]
    Secrets(#[from] MissingSecret),
    /// The credentials file is broken.
    #[error("the credentials file is broken: {0}")]
    Credentials(#[from] CredentialsError),
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
    server: Server<Webhooks<Publisher>>,
    admin: AdminServer,
    readiness: ReadinessCheck,
    heartbeat: Heartbeat,
    watcher: credentials::Watcher,
    facts: Arc<FactPublisher>,
    /// For facts only, so that none is in a batch with events.
    fact_publisher: Publisher,
    tls: Option<Certificate>,
    ready: watch::Receiver<Readiness>,
}

impl App {
    /// Reads the credentials file, sets up NATS and binds both addresses.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(settings: &Settings, metrics: Metrics, health: Health) -> Result<Self, StartError> {
        let defaults = DefaultKeys::new(&settings.signatures)?;
        let (courses, watcher) = credentials::open(&settings.credentials.credentials_file)?;
        let access = Access { defaults, unsigned_sheets: settings.excel_unsigned };
        warn_of_missing_secrets(&access);
        let tls = Certificate::open(settings.tls_cert.as_deref(), settings.tls_key.as_deref())?;
        let client = shared::nats::connect(&settings.nats, "ingress").await?;
        let topology = Topology::new(settings.nats.nats_prefix.as_deref(), settings.streams);
        let signals = Arc::new(Signals::default());
        let (readiness, ready) =
            ReadinessCheck::new(client.clone(), topology.clone(), signals.clone(), courses.clone());
        let fact_publisher = Publisher::new(client.clone());
        let heartbeat = Heartbeat::new(Publisher::new(client.clone()), topology.clone(), signals.clone());
        let gate = Gate::new(Publisher::new(client), settings.max_requests, signals);
        let max_connections = settings.max_connections as usize;
        open_files::warn_if_too_few(max_connections + OVERFLOW_SLOTS);
        let clients = Arc::new(Clients::new(settings.trusted_proxies.clone(), max_connections));
        let memory = Memory::new(settings.max_body_memory_mib);
        let webhooks = Arc::new(Webhooks::new(gate, topology, access, courses, clients.clone(), memory));
        let facts = webhooks.facts();
        let admin = admin::bind(settings.admin_addr, health, ready.clone(), metrics, crate::openapi::router()).await?;
        let listener = listeners::listen(settings.bind_addr, "BIND_ADDR").await?;
        let server =
            Server::new(listener, webhooks, max_connections, clients).with_tls(tls.as_ref().map(Certificate::config));
        tracing::info!(listen.role = "webhooks", listen.addr = %server.addr()?, tls = tls.is_some(), "listening");
        Ok(Self { server, admin, readiness, heartbeat, watcher, facts, fact_publisher, tls, ready })
    }

    /// The bound address of the webhooks.
    ///
    /// # Errors
    /// That of the system call.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.server.addr()
    }

    /// Starts everything; all of it stops with the process.
    pub fn spawn(self, life: &mut Lifecycle) {
        let (soft, hard) = (life.soft(), life.hard());
        life.spawn("webhooks", self.server.run(soft.clone(), hard));
        life.spawn("admin", self.admin.run(soft.clone()));
        life.spawn("systemd", systemd::run(self.ready, life.health(), soft.clone()));
        life.spawn("readiness", infallible(self.readiness.run(soft.clone())));
        life.spawn("heartbeat", infallible(self.heartbeat.run(soft.clone())));
        if let Some(tls) = self.tls {
            life.spawn("certificate", infallible(tls.watch(soft.clone())));
        }
        life.spawn("credentials", infallible(self.watcher.run(soft.clone())));
        life.spawn("facts", infallible(async move { self.facts.run(self.fact_publisher, soft).await }));
    }
}

async fn infallible(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}

/// Logs once what is refused, or accepted unsigned, because a secret is missing.
fn warn_of_missing_secrets(access: &Access) {
    for source in Source::ALL.into_iter().filter(|source| access.defaults.of(*source).is_none()) {
        let secret = &source.description().secret;
        if !source.description().may_be_unsigned || access.unsigned_sheets == UnsignedSheets::Off {
            tracing::warn!("{} is not set: only teams whose course has a {} can send", secret.variable, secret.field);
        } else if access.unsigned_sheets == UnsignedSheets::Any {
            tracing::warn!(
                "EXCEL_UNSIGNED is any and {} is not set: anyone who knows a project's id can write sheets for it",
                secret.variable
            );
        }
    }
}
