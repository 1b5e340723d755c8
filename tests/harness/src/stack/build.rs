//! Builds `ingress` and `worker`: Cargo gives the path of a binary only to tests of its own package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, bail, ensure};

use crate::{paths, process};

/// Does a person want to see what Cargo says?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Only when it fails.
    Quiet,
    /// As it goes.
    Aloud,
}

/// Both binaries are up to date beside the running executable afterwards. Once a process; Cargo's own
/// lock puts processes in a row.
///
/// # Errors
/// When the build fails, with what the compiler said.
pub fn build(voice: Voice) -> anyhow::Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| run(voice).map_err(|error| format!("{error:#}")));
    built.clone().map_err(|reason| anyhow!("{reason}"))
}

/// Where `ingress` and `worker` are, when they are not those of this workspace.
static ELSEWHERE: OnceLock<PathBuf> = OnceLock::new();

/// Uses the binaries in a folder, such as another version's, from now on.
///
/// # Errors
/// When one of them is not there, or another folder was named before.
pub fn use_binaries_in(dir: &Path) -> anyhow::Result<()> {
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    for name in ["ingress", "worker"] {
        ensure!(dir.join(name).is_file(), "there is no {name} in {}", dir.display());
    }
    ELSEWHERE.set(dir).map_err(|_| anyhow!("the binaries' folder is named once"))
}

/// The path of a binary beside this one, or in the folder that was named.
///
/// # Errors
/// When this executable is in no target directory.
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    match ELSEWHERE.get() {
        Some(dir) => Ok(dir.join(name)),
        None => Ok(paths::profile_dir()?.join(name)),
    }
}

fn run(voice: Voice) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    // Of the whole workspace: naming the two packages would give their dependencies other features, and
    // everything would be built again.
    command.args(["build", "--workspace", "--bin", "ingress", "--bin", "worker", "--profile", &paths::profile()?]);
    command.arg("--target-dir").arg(paths::target()?);
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
    command.current_dir(paths::workspace()).stdin(Stdio::null()).stdout(Stdio::null());
    match voice {
        Voice::Quiet => command.arg("--quiet").stderr(Stdio::piped()),
        Voice::Aloud => command.stderr(Stdio::inherit()),
    };
    let output = process::spawn(command)?.wait_with_output()?;
    if !output.status.success() {
        bail!("ingress and worker could not be built:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
