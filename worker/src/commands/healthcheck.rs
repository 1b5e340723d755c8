//! `worker healthcheck`: what a container's HEALTHCHECK runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

/// What to ask.
#[derive(Debug, Args)]
pub struct Options {
    /// Admin address of the worker to ask.
    #[arg(long, env = "ADMIN_ADDR", default_value = "127.0.0.1:5081")]
    admin_addr: SocketAddr,
}

/// Exits 0 when the worker's `/healthz` says ok.
#[expect(clippy::print_stderr, reason = "a command speaks to the person or script that runs it")]
pub async fn run(options: Options) -> ExitCode {
    let mut addr = options.admin_addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let ask = async {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).no_proxy().build()?;
        http.get(format!("http://{addr}/healthz")).send().await?.error_for_status()
    };
    match ask.await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the worker at {addr} is not well: {error}");
            ExitCode::FAILURE
        }
    }
}
