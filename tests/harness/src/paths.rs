//! Where things are: the workspace, and the target directory of the running executable.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
pub use launch::workspace;

/// The folder with the executables built beside this one: `target/debug`, `target/release`, …
///
/// # Errors
/// When the running executable is not in a target directory of Cargo.
pub fn profile_dir() -> anyhow::Result<PathBuf> {
    launch::profile_dir().context("the path of the target directory is unknown")
}

/// Cargo's target directory, where everything we install or store lives.
///
/// # Errors
/// As [`profile_dir`].
pub fn target() -> anyhow::Result<PathBuf> {
    launch::target().context("the path of the target directory is unknown")
}

/// A folder for one run of one process's tests, `target/tests/<pid>/<name>`, empty.
///
/// What earlier runs left behind is removed, unless their process still lives.
///
/// # Errors
/// When the folder cannot be made.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    static SWEPT: std::sync::Once = std::sync::Once::new();
    let all = target()?.join("tests");
    SWEPT.call_once(|| sweep(&all));
    let dir = all.join(std::process::id().to_string()).join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Removes the folders of processes that are gone. Their logs have served: a failed test printed them.
fn sweep(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let owner = entry.file_name();
        if !Path::new("/proc").join(&owner).exists() {
            // Another run may be sweeping too; then there is nothing left to remove.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
