//! `cargo dev`: LD Connect on this machine, with real servers and stand-ins for LD Eval and the providers. It sends one
//! signed delivery of each source, shows the documents, and runs until Ctrl-C.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal: printing is its work")]

mod demo;
mod samples;
mod screen;
mod settings;
mod stack;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use harness::eventually::Alive as _;
use tokio::signal::unix::{SignalKind, signal};

use screen::Screen;
use stack::DevStack;

/// Starts LD Connect with real servers on this machine and shows what it does.
#[derive(Debug, Parser)]
#[command(name = "cargo dev")]
struct Options {
    /// Stop after the demonstration: exit code 0 when all of it arrived, 1 with the reason when not.
    #[arg(long)]
    once: bool,
    /// Delete the documents and events of earlier runs first.
    #[arg(long)]
    fresh: bool,
    /// Start everything, but send nothing.
    #[arg(long, conflicts_with = "once")]
    no_send: bool,
    /// Port of the webhooks. Default: 5000, or a free one if 5000 is taken.
    #[arg(long)]
    port: Option<u16>,
    /// Notify the LD Eval on this port of 127.0.0.1 instead of our stand-in.
    #[arg(long, requires = "no_send")]
    eval_port: Option<u16>,
    /// Number of workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Print addresses as NAME=value on standard output, READY=1 last; everything else goes to standard error.
    #[arg(long)]
    print_env: bool,
}

/// How long the processes may take to stop: ingress and worker finish what is in flight.
const STOP: Duration = Duration::from_secs(25);

/// How often the processes are checked.
const LOOK: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let screen = Screen::new(options.print_env);
    match run(&options, &screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.failure(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, screen: &Screen) -> anyhow::Result<()> {
    let stack = DevStack::start(options, screen).await?;
    let outcome = work(options, screen, &stack).await;
    screen.note("stopping …");
    let stopped = stack.stop(STOP).await;
    // Why it ended says more than how.
    outcome.and(stopped)
}

async fn work(options: &Options, screen: &Screen, stack: &DevStack) -> anyhow::Result<()> {
    if options.print_env {
        stack.print_env();
    }
    if !options.no_send {
        let begin = Instant::now();
        demo::run(screen, stack).await?;
        screen.heading(&format!("All of it arrived, in {:.1} s.", begin.elapsed().as_secs_f32()));
    }
    if options.once {
        return Ok(());
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    if !options.no_send {
        demo::invite(screen, stack);
    }
    let notifications = if stack.eval.is_some() { "; notifications to LD Eval appear here" } else { "" };
    screen.note(&format!("running until Ctrl-C{notifications}"));
    stack.show_notifications();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = look.tick() => stack.check()?,
        }
    }
}
