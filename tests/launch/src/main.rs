//! `cargo dev`, its first step: builds the stack's three binaries with one Cargo, installs the servers meanwhile, then
//! becomes the stack.
//!
//! Run by Cargo itself, `dev` would have to be linked before the dependencies that only `ingress` and `worker` have are
//! compiled.

#![expect(clippy::print_stderr, reason = "a tool for people at a terminal: printing is its work")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::thread;

use launch::install;

fn main() -> ExitCode {
    let Err(error) = launch() else { return ExitCode::FAILURE };
    eprintln!("cargo dev cannot start: {error}");
    ExitCode::FAILURE
}

/// Returns only when the build, which says why itself, or the start failed.
fn launch() -> io::Result<()> {
    // Why one cannot be installed, the stack says: it tries again.
    let servers = [install::NATS, install::MONGO].map(|part| thread::spawn(move || drop(install::program(&part))));
    let built = launch::cargo_build(&["dev", "ingress", "worker"])?.status()?;
    servers.into_iter().for_each(|server| drop(server.join()));
    if !built.success() {
        return Ok(());
    }
    Err(Command::new(launch::profile_dir()?.join("dev")).args(std::env::args_os().skip(1)).exec())
}
