//! Builds binaries of the workspace from within one of its programs (Cargo gives the path of a binary only to tests of
//! its own package), and installs the servers. Without dependencies, so that `cargo dev` compiles it in a second.

pub mod install;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder with the workspace's `Cargo.toml`.
#[must_use]
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Of `tests/launch`.
    package.ancestors().nth(2).unwrap_or(package)
}

/// The folder with the executables built beside this one: `target/debug`, `target/release`, …
///
/// # Errors
/// When the running executable is not in a target directory of Cargo.
pub fn profile_dir() -> io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let beside = exe.parent();
    // Tests are one level further down than binaries.
    let profile = if beside.is_some_and(|dir| dir.ends_with("deps")) { beside.and_then(Path::parent) } else { beside };
    let not_there = || io::Error::other(format!("{} is not in a target directory", exe.display()));
    profile.map(Path::to_owned).ok_or_else(not_there)
}

/// Cargo's target directory, where everything we install or store is.
///
/// # Errors
/// As [`profile_dir`].
pub fn target() -> io::Result<PathBuf> {
    let target = profile_dir()?.parent().map(Path::to_owned);
    target.ok_or_else(|| io::Error::other("the profile's folder is in no target directory"))
}

/// `cargo build` of these binaries, into the target directory and with the profile of the running executable.
///
/// # Errors
/// As [`profile_dir`].
pub fn cargo_build(binaries: &[&str]) -> io::Result<Command> {
    let dir = profile_dir()?;
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut command = Command::new(env!("CARGO"));
    // Of the whole workspace: naming packages would give their dependencies other features, and everything would be
    // built again.
    command.args(["build", "--workspace", "--profile", profile]);
    command.args(binaries.iter().flat_map(|name| ["--bin", name]));
    command.arg("--target-dir").arg(target()?);
    // What the Cargo that runs us says about *our* package would look like a change to build scripts that
    // watch it (ring's does), and half of the dependencies would be built again.
    for (name, _) in std::env::vars_os() {
        let of_our_package = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start))
                || ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"]
                    .contains(&name)
        };
        if name.to_str().is_some_and(of_our_package) {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace()).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}
