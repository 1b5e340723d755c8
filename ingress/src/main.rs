//! `ingress`: receives webhooks, verifies their signatures, and answers once JetStream has stored them.

use std::process::ExitCode;

use clap::CommandFactory as _;
use ingress::cli::{Cli, Command, completions, config_check, healthcheck, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli: Cli = shared::config::parse();
    let code = match cli.command {
        None => run::run(&cli.settings),
        Some(Command::Run(settings)) => run::run(&settings),
        Some(Command::Healthcheck(options)) => healthcheck::run(&options),
        Some(Command::Config(config_check::Config::Check(options))) => config_check::run(options),
        Some(Command::Completions(options)) => completions::run(&options, Cli::command()),
    };
    shared::telemetry::flush_logs();
    code
}
