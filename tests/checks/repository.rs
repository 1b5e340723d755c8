//! Reads what the checks look at: tracked files, packages, the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("tests/checks is in the workspace")
}

/// Every tracked file that is text and matches a pattern of git.
pub(crate) fn tracked(pattern: &str) -> Vec<(String, String)> {
    let listed = run(Command::new("git").args(["ls-files", "--", pattern]));
    let read = |file: &str| Some((file.to_owned(), fs::read_to_string(workspace().join(file)).ok()?));
    let files: Vec<_> = listed.lines().filter_map(read).collect();
    assert!(!files.is_empty(), "git has no text file {pattern}");
    files
}

/// A package of the workspace, and the packages that its manifest names as normal dependencies.
pub(crate) type Packages = BTreeMap<String, BTreeSet<String>>;

/// The packages that are built for users: all but those in `tests/`.
pub(crate) fn product() -> Packages {
    let is_product = |(name, folder, names): (String, PathBuf, _)| {
        let tests = folder.starts_with(workspace().join("tests"));
        (!tests).then_some((name, names))
    };
    packages().into_iter().filter_map(is_product).collect()
}

fn packages() -> Vec<(String, PathBuf, BTreeSet<String>)> {
    let metadata = run(cargo().args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--locked"]));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let package = |package: &Value| {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
        let manifest = PathBuf::from(text(package, "manifest_path"));
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|one| one["kind"].is_null());
        (text(package, "name"), manifest.parent().unwrap().to_owned(), normal.map(|one| text(one, "name")).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

/// Everything that a package is built with, direct or not.
pub(crate) fn built_with(package: &str) -> BTreeSet<String> {
    let edges = ["--edges", "normal", "--prefix", "none", "--offline", "--locked"];
    let tree = run(cargo().args(["tree", "--package", package]).args(edges));
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// The product's code, by file: without comments and tests.
pub(crate) fn product_code() -> Vec<(String, String)> {
    let mut files = BTreeMap::new();
    for (name, folder, _) in packages() {
        if folder.starts_with(workspace().join("tests")) {
            continue;
        }
        let before = files.len();
        sources(&folder.join("src"), &mut files);
        assert!(files.len() > before, "{name} has no sources");
    }
    let tests: BTreeSet<PathBuf> = files.iter().flat_map(|(path, source)| test_files(path, source)).collect();
    files.retain(|path, _| !tests.contains(path));
    let named = |(path, source): (PathBuf, String)| {
        let path = path.strip_prefix(workspace()).unwrap().display().to_string();
        (path, code(&source))
    };
    files.into_iter().map(named).collect()
}

fn sources(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            files.insert(path, source);
        }
    }
}

/// The files that a source names as test modules.
fn test_files(path: &Path, source: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
    let folder = path.parent().unwrap();
    let below = if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    let after_cfg = source.split("#[cfg(test)]").skip(1);
    let declared = after_cfg.filter_map(|rest| {
        let item = rest.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#["))?;
        let attribute = rest.trim_start().strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next());
        let name = item.strip_prefix("mod ")?.strip_suffix(';')?;
        Some(attribute.map_or_else(|| below.join(format!("{name}.rs")), |file| folder.join(file)))
    });
    declared.collect()
}

/// A source without comment lines and without items for tests.
fn code(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
            let item = item.unwrap_or_default();
            if item.ends_with('{') {
                let indent = &item[..item.len() - item.trim_start().len()];
                let end = format!("{indent}}}");
                // To the brace that closes the item.
                lines.by_ref().find(|line| *line == end);
            }
        } else if !line.trim_start().starts_with("//") {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn cargo() -> Command {
    Command::new(env!("CARGO"))
}

fn run(command: &mut Command) -> String {
    let output = command.current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tests_and_comments_do_not_count_as_code() {
    let source = "\
fn before() {}
// a comment
#[cfg(test)]
mod golden;
#[cfg(test)]
#[path = \"x_tests.rs\"]
mod tests;
#[cfg(test)]
mod inline {
    fn hidden() {}
}
fn after() {}
";
    assert_eq!(code(source), "fn before() {}\nfn after() {}\n");
    let found = test_files(Path::new("a/b.rs"), source);
    assert_eq!(found, [Path::new("a/b/golden.rs"), Path::new("a/x_tests.rs")]);
}
