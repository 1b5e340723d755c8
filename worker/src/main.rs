//! The `worker` binary: its command line is `worker::cli`.

use std::process::ExitCode;

use shared::config;
use worker::cli::Command;

/// Batches allocate and free many small documents at once; mimalloc does that faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // mongodb and reqwest share one TLS provider, which must be named before the first connection of either.
    drop(rustls::crypto::ring::default_provider().install_default());
    config::parse_or::<Command>("run").run().await
}
