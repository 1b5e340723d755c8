//! Documents name files, links and tests that exist.

use std::collections::BTreeSet;

use crate::repository::{tracked, workspace};

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

/// Links of a page within the repository that lead nowhere.
fn dead_links(file: &str, page: &str) -> Vec<String> {
    let folder = workspace().join(file).parent().unwrap().to_owned();
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let within = links.filter(|link| !link.contains("://") && !link.contains(' '));
    let leads_somewhere = |link: &str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let to = if path.is_empty() { workspace().join(file) } else { folder.join(path) };
        let has_anchor = || anchors(&std::fs::read_to_string(&to).unwrap()).contains(anchor);
        to.exists() && (anchor.is_empty() || has_anchor())
    };
    within.filter(|link| !leads_somewhere(link)).map(str::to_owned).collect()
}

#[test]
fn what_the_documents_link_to_is_there() {
    for (file, page) in tracked("*.md") {
        assert_eq!(dead_links(&file, &page), [""; 0], "{file}");
    }
    let planted = "[a](operations.md) [b](nowhere.md) [c](operations.md#no-such-heading) [d](https://example.org)";
    assert_eq!(dead_links("docs/index.md", planted), ["nowhere.md", "operations.md#no-such-heading"]);
}

/// Paths into the code that a document names between backticks, and that are not there.
fn dead_paths(page: &str) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| {
        let folders = ["ingress/", "worker/", "shared/", "tests/", "docs/", "nats/", "config_files/"];
        folders.iter().any(|folder| text.starts_with(folder))
            && text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
    };
    quoted.filter(is_path).filter(|path| !workspace().join(path).exists()).map(str::to_owned).collect()
}

#[test]
fn a_path_that_a_document_names_is_there() {
    for (file, page) in tracked("*.md").into_iter().filter(|(file, _)| file != "CHANGELOG.md") {
        assert_eq!(dead_paths(&page), [""; 0], "{file}");
    }
    assert_eq!(dead_paths("`tests/e2e/main.rs`, `tests/nowhere.rs`, `worker run`"), ["tests/nowhere.rs"]);
}

/// The tests that ARCHITECTURE.md names for its invariants: number and names.
fn named_tests(page: &str) -> Vec<(u32, Vec<String>)> {
    let row = |line: &str| {
        let (number, rest) = line.strip_prefix("| ")?.split_once(" |")?;
        Some((number.parse().ok()?, rest.split('`').skip(1).step_by(2).map(str::to_owned).collect()))
    };
    page.lines().filter_map(row).collect()
}

/// Whether a source has a test of this name: a function with a test's attribute, not one that merely is called so.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let attributes = |at: usize| {
        let above = source[..at].rsplit_once('\n').map_or("", |(above, _)| above);
        above.lines().rev().map(str::trim).take_while(|line| line.starts_with("#[")).collect::<Vec<_>>()
    };
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    source.match_indices(&function).any(|(at, _)| attributes(at).iter().any(is_test))
}

#[test]
fn a_test_that_the_architecture_names_is_a_test() {
    let page = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let code = tracked("*.rs");
    let rows = named_tests(&page);
    assert!(rows.len() > 5, "only {} invariants name their tests", rows.len());
    for (number, names) in rows {
        assert!(!names.is_empty(), "invariant {number} names no test");
        for name in names {
            let there = code.iter().any(|(_, source)| has_test(source, &name));
            assert!(there, "invariant {number} names the test {name}, which is not there");
        }
    }
    assert_eq!(named_tests("| 1 | `a`, `b` |\n| word | `c` |"), [(1, vec!["a".to_owned(), "b".to_owned()])]);
    assert!(has_test("    #[tokio::test]\n    async fn a_fact() {}", "a_fact"));
    assert!(!has_test("fn a_helper() {}\n", "a_helper") && !has_test("#[test]\nfn b() {}\nfn a() {}", "a"));
}

#[test]
fn nothing_names_this_machine_or_a_registry_host() {
    // Written in pieces, so that this file does not name them.
    let forbidden =
        [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["py", "pi.org"].concat(), ["index.cr", "ates.io"].concat()];
    let named = |text: &str| forbidden.iter().find(|word| text.contains(word.as_str())).cloned();
    for (file, text) in tracked(".").into_iter().filter(|(file, _)| file != "Cargo.lock") {
        assert_eq!(named(&text), None, "{file}");
    }
    for word in &forbidden {
        assert_eq!(named(&format!("see {word}x")).as_ref(), Some(word));
    }
}
