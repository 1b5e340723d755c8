//! Settings of the worker.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use crate::store::Store;
use clap::Args;
use shared::config::{CredentialsArgs, LogArgs, NatsArgs, ShutdownArgs, StreamArgs, TraceArgs};
use shared::secret::Secret;
use worker_providers::config::EnrichArgs;

/// The settings of `worker run`.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// How to reach NATS.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Limits of the streams.
    #[command(flatten)]
    pub streams: StreamArgs,
    /// How to reach MongoDB.
    #[command(flatten)]
    pub mongo: MongoArgs,
    /// How to reach LD Eval.
    #[command(flatten)]
    pub eval: EvalArgs,
    /// Where the credentials file is.
    #[command(flatten)]
    pub credentials: CredentialsArgs,
    /// How to reach GitHub and Taiga.
    #[command(flatten)]
    pub enrich: EnrichArgs,
    /// How the worker works.
    #[command(flatten)]
    pub work: WorkArgs,
    /// How it stops.
    #[command(flatten)]
    pub shutdown: ShutdownArgs,
    /// Its logs.
    #[command(flatten)]
    pub logs: LogArgs,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// How to reach MongoDB.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "MongoDB")]
pub struct MongoArgs {
    /// Where MongoDB is; a database in the path is the one that is used.
    #[arg(long, env = "MONGO_URI", default_value = "mongodb://localhost:27017", hide_env_values = true)]
    pub mongo_uri: Secret,
    /// The database, when MONGO_URI names none.
    #[arg(long, env = "MONGO_DB", default_value = "event_dashboard")]
    pub mongo_db: String,
}

impl MongoArgs {
    /// The store in this database. Returns without waiting for the server: the first command does.
    ///
    /// # Errors
    /// When the address cannot be used; the text names the setting.
    pub async fn open(&self) -> Result<Store, String> {
        let store = Store::connect(self.mongo_uri.expose(), &self.mongo_db).await;
        store.map_err(|error| format!("MONGO_URI: {error}"))
    }
}

/// How to reach LD Eval.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "LD Eval")]
pub struct EvalArgs {
    /// Host of LD Eval.
    #[arg(long, env = "EVAL_HOST", default_value = "ld_eval")]
    pub eval_host: String,
    /// Port of LD Eval.
    #[arg(long, env = "EVAL_PORT", default_value_t = 5001)]
    pub eval_port: u16,
}

/// How many events are worked on at a time.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct BatchArgs {
    /// How many batches are worked on at the same time.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value = "2")]
    pub worker_concurrency: NonZeroUsize,
    /// How many events a batch has at most.
    #[arg(long, env = "WORKER_BATCH", default_value = "4000")]
    pub worker_batch: NonZeroUsize,
}

/// How the worker works.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// How many events at a time.
    #[command(flatten)]
    pub batches: BatchArgs,
    /// Where /status, /healthz, /readyz and /metrics are served; not for the internet.
    #[arg(long, env = "ADMIN_ADDR", default_value = "127.0.0.1:5081")]
    pub admin_addr: SocketAddr,
}
