//! What a process has written: read while it runs, quoted when it dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// How many lines of a dead process's log a failing test shows.
const TAIL: usize = 25;

/// How much of one line: mongod's can be pages.
const LINE: usize = 400;

/// A log file that all runs of one process append to.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Where the present run's part begins.
    from: AtomicU64,
}

impl Log {
    /// A log at this path, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, from: AtomicU64::new(0) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for a new run of the process; [`lines`](Self::lines) begin here from now on.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.from.store(file.seek(SeekFrom::End(0))?, Ordering::Relaxed);
        Ok(file)
    }

    /// The lines of the present run; without those that cannot be read, because a log is only looked at.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.from.load(Ordering::Relaxed)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).lines().map(str::to_owned).collect()
    }

    /// The lines that are JSON objects, as `LOG_FORMAT=json` writes them.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
    }

    /// The end of the log, for a message that says why something failed.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.lines();
        let shown = lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| match line.char_indices().nth(LINE) {
            Some((cut, _)) => format!("    {}…", &line[..cut]),
            None => format!("    {line}"),
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}

/// A field of a JSON log line, whether the fields stand under `fields` or at the top.
#[must_use]
pub fn field<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    event.get("fields").and_then(|fields| fields.get(name)).or_else(|| event.get(name)).and_then(Value::as_str)
}
