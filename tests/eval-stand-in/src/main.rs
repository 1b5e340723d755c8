//! LD Eval's stand-in as a process of its own, for `docker compose --profile demo`: takes every notification and
//! prints it, one JSON object a line.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use eval_stand_in::Eval;
use tokio::signal::unix::{SignalKind, signal};

/// Takes the notifications for LD Eval and prints them.
#[derive(Debug, Parser)]
#[command(name = "eval-stand-in")]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0:5001")]
    listen: SocketAddr,
    /// Check whether one listens on that port of this machine; exit code 0 or 1.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.check {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.listen.port()));
        let answer = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        return Ok(if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let _eval = Eval::start_at(options.listen, |notification| println!("{}", notification.body))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}
