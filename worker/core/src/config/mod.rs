//! Settings of the worker.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use clap::Args;
use shared::config::{
    CredentialsArgs, LogArgs, NatsArgs, ShutdownArgs, SignatureArgs, StreamArgs, TeamPageArgs, TraceArgs,
};
use shared::secret::Secret;
use worker_event::normalise::Settings;
use worker_providers::config::EnrichArgs;

mod value;
mod mongo;

pub use self::mongo::{MongoArgs, MongoSettingsError};
use self::value::host;

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
    /// The content of documents.
    #[command(flatten)]
    pub documents: DocumentArgs,
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

/// The content of documents.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Documents")]
pub struct DocumentArgs {
    /// Custom attributes of Taiga whose text becomes the number that it reads as, separated by commas.
    #[arg(long, env = "NUMERIC_ATTRIBUTES", default_value = "Estimated Effort,Actual Effort")]
    pub numeric_attributes: String,
}

impl DocumentArgs {
    /// What normalisation takes.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::new(&self.numeric_attributes)
    }
}

/// How to reach LD Eval.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "LD Eval")]
pub struct EvalArgs {
    /// Host of LD Eval: a name or an address, without http:// and without port.
    #[arg(long, env = "EVAL_HOST", default_value = "ld_eval", value_parser = host)]
    pub eval_host: String,
    /// Port of LD Eval.
    #[arg(long, env = "EVAL_PORT", default_value_t = 5001, value_parser = clap::value_parser!(u16).range(1..))]
    pub eval_port: u16,
}

/// The check pages of teams.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Team pages")]
pub struct PageArgs {
    /// Where the check pages of teams are served (/team/…), for the proxy that leads there; unset, nowhere.
    #[arg(long, env = "TEAM_PAGES_ADDR")]
    pub team_pages_addr: Option<SocketAddr>,
    /// Of what their links are made.
    #[command(flatten)]
    pub links: TeamPageArgs,
    /// The secrets of senders: links are made of them where there is no other secret, and a teacher's page shows a
    /// team's own.
    #[command(flatten)]
    pub signatures: SignatureArgs,
}

/// How many events are worked on at a time.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct BatchArgs {
    /// How many batches are worked on at the same time.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value = "2")]
    pub worker_concurrency: NonZeroUsize,
    /// How many events a batch has at most.
    #[arg(long, env = "WORKER_BATCH", default_value = "8000")]
    pub worker_batch: NonZeroUsize,
}

/// How the worker works.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// How many events at a time.
    #[command(flatten)]
    pub batches: BatchArgs,
    /// How many projects that are neither in the credentials file nor in MongoDB may appear in an hour, all workers
    /// together.
    #[arg(long, env = "NEW_PROJECTS_PER_HOUR", default_value_t = 200)]
    pub new_projects_per_hour: u32,
    /// Who has it may send events and dead letters again from the status page; unset, nobody may.
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<Secret>,
    /// Where /status, /healthz, /readyz and /metrics are served; not for the internet.
    #[arg(long, env = "ADMIN_ADDR", default_value = "127.0.0.1:5081")]
    pub admin_addr: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_neither_scheme_nor_port_and_an_ipv6_address_gets_its_brackets() {
        assert_eq!(host("::1").unwrap(), "[::1]");
        assert_eq!(host("[fe80::1]").unwrap(), "[fe80::1]");
        assert_eq!(host("ld_eval").unwrap(), "ld_eval");
        for bad in ["", "http://ld_eval", "ld_eval:5001", "ld_eval/", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
