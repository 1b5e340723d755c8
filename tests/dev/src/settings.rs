//! The settings that a shell needs for the commands of docs/operations.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use harness::{paths, stack};

/// Writes a file that gives a shell the settings of a worker, and `worker` and `ingress` themselves.
pub(crate) fn write(dir: &Path, env: &[(String, String)]) -> anyhow::Result<PathBuf> {
    let programs = stack::build::path("worker")?;
    let programs = programs.parent().context("a program lies in a folder")?.display();
    let quoted = |text: &str| text.replace('\'', r"'\''");
    let mut text = format!("export PATH='{}':\"$PATH\"\n", quoted(&programs.to_string()));
    for (name, value) in env {
        writeln!(text, "export {name}='{}'", quoted(value))?;
    }
    let file = dir.join("env");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    // Shorter to paste, for who stands in the repository.
    Ok(file.strip_prefix(paths::workspace()).map(Path::to_owned).unwrap_or(file))
}
