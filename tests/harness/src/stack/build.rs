//! Builds `ingress` and `worker`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
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
    let mut command = launch::cargo_build(&["ingress", "worker"])?;
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
