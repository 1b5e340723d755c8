//! What can be read off the repository without starting anything: who may depend on what, where a thing may be done,
//! and that the documents say what is there.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod architecture;
mod configuration;

use std::path::Path;

/// The folder with the workspace's `Cargo.toml`.
fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("tests/checks is in the workspace")
}
