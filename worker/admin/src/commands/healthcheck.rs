//! `worker healthcheck`: what a container's health check runs.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

/// What to ask.
#[derive(Debug, Args)]
pub struct Options {
    /// Admin address of the worker to ask.
    #[arg(long, env = "ADMIN_ADDR", default_value = "127.0.0.1:5081")]
    admin_addr: SocketAddr,
}

/// Exits 0 when the worker's `/healthz` answers 200.
pub async fn run(options: Options) -> ExitCode {
    shared::healthcheck::run("worker", options.admin_addr)
}
