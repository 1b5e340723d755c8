//! `cargo run -p fuzz -- --seconds 60`: mutates for a while, every target in turn. Exits with 1 and
//! writes the input to `target/fuzz` when something does not hold. See [`fuzz`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal: printing is its work")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::{Failure, check, run, targets};
use harness::paths;

/// Fuzzes the code that unauthenticated clients reach.
#[derive(Debug, Parser)]
struct Options {
    /// How long all targets together, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; the next rounds have the next ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Try this one input of `--target` again.
    #[arg(long, requires = "target")]
    input: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = |name: &str| options.target.as_ref().is_none_or(|only| only == name);
    let chosen: Vec<_> = targets::ALL.iter().filter(|target| wanted(target.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        eprintln!("there is no such target; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    if let Some(path) = &options.input {
        let input = match std::fs::read(path) {
            Ok(input) => input,
            Err(error) => {
                eprintln!("{} cannot be read: {error}", path.display());
                return ExitCode::from(2);
            }
        };
        return match check(chosen[0], &input) {
            Ok(outcome) => {
                println!("holds: {outcome}");
                ExitCode::SUCCESS
            }
            Err(failure) => report(&failure),
        };
    }
    // A panic is caught and reported; its own message would come once more for each.
    std::panic::set_hook(Box::new(|_| {}));
    let each = Duration::from_secs(options.seconds) / u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let mut failed = false;
    for target in chosen {
        let begin = Instant::now();
        match run(target, options.seed, |_| begin.elapsed() > each) {
            Ok(tried) => println!("{:<10} {tried:>9} inputs, all well", target.name),
            Err(failure) => {
                failed = true;
                let _ = report(&failure);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("{}: {}", failure.target, failure.error);
    eprintln!("  for {:?}", String::from_utf8_lossy(&failure.input).chars().take(500).collect::<String>());
    let written = paths::target().and_then(|target| {
        let path = target.join("fuzz").join(format!("{}-{}", failure.target, std::process::id()));
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(&path, &failure.input)?;
        Ok(path)
    });
    match written {
        Ok(path) => eprintln!("  which is in {}", path.display()),
        Err(error) => eprintln!("  which could not be written: {error:#}"),
    }
    ExitCode::FAILURE
}
