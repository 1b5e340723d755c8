//! `ingress healthcheck`: what a container's health check runs.

use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Admin address of the running ingress.
    #[arg(long, env = "ADMIN_ADDR", default_value = crate::config::DEFAULT_ADMIN_ADDR)]
    pub admin_addr: SocketAddr,
}

/// Requests `/healthz`; exit code 0 when it answers 200.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    shared::healthcheck::run("ingress", options.admin_addr)
}
