//! The invariants of ARCHITECTURE.md that can be read off the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// Names of all packages that a package is built with.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Every source file of a package, with its path below the workspace.
fn sources(package: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(package).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be listed") {
            let path = entry.expect("a folder entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root()).expect("it lies in the workspace").display().to_string();
                files.push((name, fs::read_to_string(&path).expect("a source file can be read")));
            }
        }
    }
    assert!(!files.is_empty(), "{package} has no sources");
    files
}

/// Which files of the product mention a text outside comments, tests excluded.
fn mentions(text: &str) -> BTreeSet<String> {
    let product = ["shared", "ingress", "worker"].into_iter().flat_map(sources);
    let outside_comments = |source: &str| {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(text))
    };
    product.filter(|(name, source)| !name.contains("test") && outside_comments(source)).map(|(name, _)| name).collect()
}

fn only(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

#[test]
fn the_arrow_is_ingress_to_shared_from_worker() {
    let (ingress, worker, shared) = (dependencies("ingress"), dependencies("worker"), dependencies("shared"));
    assert!(ingress.contains("shared") && worker.contains("shared"));
    for (package, forbidden) in
        [(&ingress, "worker"), (&ingress, "mongodb"), (&ingress, "bson"), (&worker, "ingress"), (&shared, "mongodb")]
    {
        assert!(!package.contains(forbidden), "{forbidden} must not be under it: {package:?}");
    }
    for package in ["ingress", "worker", "shared"] {
        assert!(!dependencies(package).contains("aws-lc-rs"), "{package}: one TLS provider is enough, and it is ring");
        assert!(!dependencies(package).contains("tests"), "{package} must not be built with its own tests");
    }
}

#[test]
fn one_file_knows_streams_and_subjects() {
    for text in ["\"ld.", "\"LD_EVENTS\"", "\"LD_NOTIFY\"", "\"LD_DEAD\"", "\"LD_ENRICH\"", "\"ld-worker\""] {
        assert!(mentions(text).is_subset(&only(&["shared/src/topology.rs"])), "{text}: {:?}", mentions(text));
    }
}

#[test]
fn one_module_reads_the_environment() {
    for text in ["env::var", "env::vars", "dotenvy::"] {
        assert!(mentions(text).is_subset(&only(&["shared/src/config.rs"])), "{text}: {:?}", mentions(text));
    }
}

#[test]
fn one_module_knows_the_backoff_crate() {
    assert_eq!(mentions("backoff::"), only(&["shared/src/retry.rs"]));
}

#[test]
fn one_place_settles_an_event() {
    let acks = mentions("AckKind::Ack");
    assert!(acks.contains("worker/src/consumer/settle.rs"));
    // Notifications (and look-ups) are not events: each is settled where it is sent.
    for file in &acks {
        let allowed = ["worker/src/consumer/settle.rs", "worker/src/notify.rs"].contains(&file.as_str());
        assert!(allowed || file.starts_with("worker/src/enrich"), "{file} settles a message");
    }
}

#[test]
fn normalise_is_a_function() {
    for (name, source) in sources("worker").iter().filter(|(name, _)| name.starts_with("worker/src/normalise/")) {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for text in ["async ", "tracing::", "metrics::", "now_ms", "Timestamp::now", "mongodb::", "reqwest::"] {
            assert!(!code.contains(text), "{name} mentions {text}");
        }
    }
}

#[test]
fn the_invariants_are_kept_by_tests_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    let section = page.split("## Invariants").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("it has them");
    let numbers = |line: &str, end: &str| line.split_once(end).and_then(|(number, _)| number.parse::<u32>().ok());
    let invariants: Vec<u32> = section.lines().filter_map(|line| numbers(line, ". ")).collect();
    let rows: Vec<(u32, Vec<&str>)> = section
        .lines()
        .filter_map(|line| {
            Some((numbers(line.strip_prefix("| ")?, " |")?, line.split('`').skip(1).step_by(2).collect()))
        })
        .collect();
    assert!(!invariants.is_empty(), "no invariants were found");
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), invariants, "one row for each");
    let tracked = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().expect("git runs");
    let code: Vec<String> = String::from_utf8_lossy(&tracked.stdout)
        .lines()
        .map(|file| fs::read_to_string(root().join(file)).expect("a tracked file can be read"))
        .collect();
    for (number, tests) in rows {
        assert!(!tests.is_empty(), "invariant {number} has no test");
        for test in tests {
            let there = code.iter().any(|file| file.contains(&format!("fn {test}(")));
            assert!(there, "invariant {number} names the test {test}, which is not there");
        }
    }
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letter = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    headings.map(|heading| heading.to_lowercase().chars().filter_map(letter).collect()).collect()
}

#[test]
fn what_the_documents_link_to_is_there() {
    let tracked = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output().expect("git runs");
    for file in String::from_utf8_lossy(&tracked.stdout).lines() {
        let page = fs::read_to_string(root().join(file)).expect("a tracked file can be read");
        let folder = root().join(file).parent().expect("a file lies in a folder").to_owned();
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { root().join(file) } else { folder.join(path) };
            assert!(to.exists(), "{file} links to {link}, which is not there");
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&to).expect("a page can be read"));
                assert!(there.contains(anchor), "{file} links to {link}, but that page has only {there:?}");
            }
        }
    }
}

#[test]
fn nothing_names_this_machine_or_a_registry_host() {
    // Written in pieces, so that this file does not name them.
    let forbidden =
        [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["py", "pi.org"].concat(), ["index.cr", "ates.io"].concat()];
    let tracked = Command::new("git").args(["ls-files"]).current_dir(root()).output().expect("git runs");
    let tracked = String::from_utf8_lossy(&tracked.stdout).into_owned();
    for file in tracked.lines().filter(|file| *file != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{file} names {word}");
        }
    }
}
