//! No file imports another in a circle: within a package, the arrows between its files point one way.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::repository::product_code;

/// The packages that are checked, by folder. A folder without sources is an error.
const PACKAGES: [&str; 9] = [
    "shared/vocabulary",
    "shared",
    "ingress",
    "worker",
    "worker/event",
    "worker/providers",
    "worker/core",
    "worker/reconcile",
    "worker/admin",
];

/// The files of a package, by module (`["credentials", "file"]`), each with its code.
type Files = BTreeMap<Vec<String>, String>;

/// The product's code below a package's `src`.
fn files(code: &[(String, String)], package: &str) -> Files {
    let below = format!("{package}/src/");
    let files: Files =
        code.iter().filter_map(|(path, source)| Some((module(path.strip_prefix(&below)?), source.clone()))).collect();
    assert!(!files.is_empty(), "{package} has no sources");
    files
}

/// `credentials/file.rs` is `["credentials", "file"]`, `credentials/mod.rs` is `["credentials"]`, `lib.rs` is `[]`.
fn module(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut module: Vec<_> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// The paths that a file names with `crate::`, `super::` or `self::`, braces written out, from the root of the crate.
fn named(of: &[String], source: &str) -> Vec<Vec<String>> {
    let start = Regex::new(r"\b(crate|self|super)::").unwrap();
    let mut named = Vec::new();
    let mut after = 0;
    while let Some(found) = start.find_at(source, after) {
        let mut paths = Vec::new();
        after = found.start() + tree(&source[found.start()..], &[], &mut paths).max(1);
        named.extend(paths.into_iter().map(|path| absolute(of, &path)));
    }
    named
}

/// Reads `a::b::{c, d::e}` into its paths; returns how many bytes it has.
fn tree(text: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        let word = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
        if word == 0 && text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len() - text[at..].trim_start().len();
                match text[at..].chars().next() {
                    None => return at,
                    Some('}') => return at + 1,
                    Some(',') => at += 1,
                    Some(_) => at += tree(&text[at..], &path, paths).max(1),
                }
            }
        }
        if word > 0 {
            path.push(text[at..at + word].to_owned());
            at += word;
        }
        if word == 0 || !text[at..].starts_with("::") {
            // What comes after `as` is no module.
            let renamed = text[at..]
                .strip_prefix(" as ")
                .map_or(0, |rest| 4 + rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()));
            paths.push(path);
            return at + renamed;
        }
        at += 2;
    }
}

/// A path from the root of the crate, as seen from a module.
fn absolute(of: &[String], path: &[String]) -> Vec<String> {
    let mut from: Vec<String> =
        if path.first().is_some_and(|first| first == "crate") { Vec::new() } else { of.to_vec() };
    for word in path {
        match word.as_str() {
            "crate" | "self" => {}
            "super" => drop(from.pop()),
            word => from.push(word.to_owned()),
        }
    }
    from
}

/// Which file imports which. A path belongs to the deepest file on it: the rest of it names an item there.
fn imports(files: &Files) -> BTreeMap<&[String], BTreeSet<&[String]>> {
    let home = |path: &[String]| {
        (0..=path.len()).rev().find_map(|end| files.get_key_value(&path[..end])).map(|(module, _)| module.as_slice())
    };
    let of = |(module, source): (&'_ Vec<String>, &String)| {
        named(module, source).iter().filter_map(|path| home(path)).collect::<BTreeSet<_>>()
    };
    let all = files.iter().map(|(module, source)| {
        let mut imported = of((module, source));
        imported.remove(module.as_slice());
        (module.as_slice(), imported)
    });
    all.collect()
}

/// The files of a package that are on a circle, or `None`.
fn circle(files: &Files) -> Option<Vec<String>> {
    let mut rest = imports(files);
    // What imports nothing of the rest is on no circle.
    loop {
        let done: BTreeSet<_> = rest.iter().filter(|(_, to)| to.is_empty()).map(|(of, _)| *of).collect();
        if done.is_empty() {
            break;
        }
        rest.retain(|of, _| !done.contains(of));
        rest.values_mut().for_each(|to| to.retain(|to| !done.contains(to)));
    }
    let shown = |(of, to): (&&[String], &BTreeSet<&[String]>)| {
        let to: Vec<_> = to.iter().map(|to| to.join("::")).collect();
        format!("{} → {}", of.join("::"), to.join(", "))
    };
    (!rest.is_empty()).then(|| rest.iter().map(shown).collect())
}

#[test]
fn no_file_imports_another_in_a_circle() {
    let code = product_code();
    let circles: Vec<_> =
        PACKAGES.iter().filter_map(|package| Some((package, circle(&files(&code, package))?))).collect();
    assert!(circles.is_empty(), "files import each other in a circle: {circles:#?}");
}

#[test]
fn a_planted_circle_is_found() {
    let package = |files: &[(&str, &str)]| {
        files.iter().map(|(path, source)| (module(path), (*source).to_owned())).collect::<Files>()
    };
    let one_way = [
        ("lib.rs", "pub mod a;\npub mod b;"),
        ("a.rs", "use crate::b::{self, c::{D, E as F}};\nuse std::fmt;"),
        ("b/mod.rs", "mod c;\npub use self::c::D;"),
        ("b/c.rs", "use serde::Serialize;"),
    ];
    assert_eq!(circle(&package(&one_way)), None);
    for (path, line) in [
        ("b/c.rs", "use crate::a::X;"),
        ("b/c.rs", "use super::Y;"),
        ("b/c.rs", "fn f() { super::super::a::f() }"),
        ("b/c.rs", "use crate::{\n    a::{X, Y},\n};"),
        ("b/mod.rs", "use super::a::X as Z;"),
    ] {
        let mut files = package(&one_way);
        files.get_mut(&module(path)).unwrap().push_str(&format!("\n{line}"));
        assert!(circle(&files).is_some(), "{path}: {line}");
    }
}
