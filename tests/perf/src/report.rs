//! Tables for people, JSON for comparisons.

use std::fmt::Display;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use harness::paths;
use harness::servers::install::{self, Part};
use serde_json::{Map, Value, json};

use crate::ratios::Ratios;

/// Everything measured in a run.
#[derive(Debug)]
pub(crate) struct Report {
    date: String,
    json: Map<String, Value>,
    ratios: Ratios,
}

impl Report {
    /// Begins with the machine.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H%M%S").to_string();
        let machine = machine()?;
        println!("# cargo perf, {date}\n");
        for (name, value) in &machine {
            println!("- {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let mut json = Map::new();
        json.insert("date".into(), json!(date));
        json.insert("command".into(), json!(std::env::args().skip(1).collect::<Vec<_>>().join(" ")));
        json.insert("machine".into(), Value::Object(machine));
        Ok(Self { date, json, ratios: Ratios::new() })
    }

    /// When it began; also the name of its file.
    pub(crate) fn date(&self) -> &str {
        &self.date
    }

    /// Prints a part's table and keeps its figures.
    pub(crate) fn add(&mut self, part: &str, table: &Table, figures: Value) {
        println!("\n## {}\n\n{table}", table.title);
        self.json.insert(part.to_owned(), figures);
    }

    /// Remembers a ratio, to compare it with the kept one.
    pub(crate) fn ratio(&mut self, of: &str, ratio: Spread) {
        self.ratios.insert(of.to_owned(), ratio.into());
    }

    /// Every ratio of this run.
    pub(crate) const fn ratios(&self) -> &Ratios {
        &self.ratios
    }

    /// Writes the JSON.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let text = serde_json::to_string_pretty(&self.json)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A table in Markdown.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    note: String,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let head = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), rows: vec![head], note: String::new() }
    }

    /// One row more, which is also shown as progress.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        eprintln!("  {}", cells.join(" | "));
        self.rows.push(cells);
    }

    /// What stands below.
    pub(crate) fn note(&mut self, text: impl Display) {
        self.note = text.to_string();
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for (index, row) in self.rows.iter().enumerate() {
            for column in 0..columns {
                let cell = row.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width(column).saturating_sub(cell.chars().count()));
                write!(f, "| {cell}{padding} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                (0..columns).try_for_each(|column| write!(f, "|{}", "-".repeat(width(column) + 2)))?;
                writeln!(f, "|")?;
            }
        }
        if self.note.is_empty() { Ok(()) } else { writeln!(f, "\n{}", self.note) }
    }
}

/// The middle of several, and the range they are in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of the rounds of one contender.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (half, last) = (values.len() / 2, values.len().saturating_sub(1));
        let median =
            if values.len().is_multiple_of(2) { f64::midpoint(at(half.wrapping_sub(1)), at(half)) } else { at(half) };
        Self { median, least: at(0), most: at(last) }
    }

    /// `12,345 (±4 %)`: half of the range, in per cent of the median.
    pub(crate) fn rate(&self) -> String {
        let half = (self.most - self.least) / 2.0 / self.median * 100.0;
        format!("{} ±{half:.0} %", thousands(self.median))
    }

    /// `0.91 (0.88–0.93)`.
    pub(crate) fn ratio(&self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// `12,345`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds as milliseconds, with the digits that mean something.
pub(crate) fn millis(micros: u64) -> String {
    let ms = micros as f64 / 1000.0;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

/// Bytes as people say them.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Where this was measured.
fn machine() -> anyhow::Result<Map<String, Value>> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or("").trim_start_matches("MemTotal:").trim();
    let mut machine = Map::new();
    let cores = std::thread::available_parallelism()?.get();
    machine.insert("cpu".into(), json!(format!("{cores} × {}", model.trim_start_matches([' ', '\t', ':']))));
    machine.insert("memory".into(), json!(memory));
    machine.insert("kernel".into(), json!(kernel.trim()));
    machine.insert("load at start".into(), json!(load.split(' ').next()));
    machine.insert("nats".into(), json!(version(&install::NATS)?));
    machine.insert("mongodb".into(), json!(version(&install::MONGO)?));
    machine.insert("commit".into(), json!(commit()));
    Ok(machine)
}

fn version(part: &Part) -> anyhow::Result<String> {
    let output = Command::new(install::program(part)?).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// What was measured; a change that is not committed is said to be one.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(paths::workspace()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
