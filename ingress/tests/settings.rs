//! Where settings come from, and with which exit code a wrong one ends the process: of the real binary, because the
//! working folder and the environment are a process's own.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own, with a folder in it; removed at the end.
struct Folders(PathBuf);

impl Folders {
    fn new(name: &str) -> Self {
        let outer = std::env::temp_dir().join(format!("ld-settings-{}-{name}", std::process::id()));
        std::fs::create_dir_all(outer.join("inner")).unwrap();
        Self(outer)
    }

    fn inner(&self) -> PathBuf {
        self.0.join("inner")
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn config_check(folder: &Path, args: &[&str], variables: &[(&str, &OsStr)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingress"));
    command.args(["config", "check"]).args(args).current_dir(folder).env_clear();
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Whether a setting has that value, wherever it comes from.
fn has(output: &Output, line: &str) -> bool {
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.lines().any(|one| one.split_once("  # ").map_or(one, |(setting, _)| setting) == line)
}

#[test]
fn only_the_env_file_of_the_working_folder_is_read() {
    let folders = Folders::new("dotenv");
    std::fs::write(folders.0.join(".env"), "NATS_PREFIX=outer\n").unwrap();
    let absent = config_check(&folders.inner(), &[], &[]);
    assert!(has(&absent, "NATS_PREFIX=unset"), "{absent:?}");
    std::fs::write(folders.inner().join(".env"), "NATS_PREFIX=inner\n").unwrap();
    let there = config_check(&folders.inner(), &[], &[]);
    assert!(has(&there, "NATS_PREFIX=inner"), "{there:?}");
}

#[test]
fn a_value_of_the_env_file_is_literal() {
    let folders = Folders::new("literal");
    std::fs::write(folders.0.join(".env"), "CREDENTIALS_FILE=ab$cd9${HOME}\\n\n").unwrap();
    let output = config_check(&folders.0, &[], &[("cd9", OsStr::new("x"))]);
    assert!(has(&output, "CREDENTIALS_FILE=ab$cd9${HOME}\\n"), "{output:?}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_an_error_that_names_it_and_an_empty_one_is_unset() {
    let folders = Folders::new("utf8");
    let broken = OsString::from_vec(b"s3cret\xff".to_vec());
    let output = config_check(&folders.0, &[], &[("GITHUB_SECRET", &broken)]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("problem: GITHUB_SECRET is not UTF-8"), "{output:?}");
    assert!(!said.contains("s3cret"), "{said}");
    let output = config_check(&folders.0, &[], &[("GITHUB_SECRET", OsStr::new("")), ("OTHER", &broken)]);
    assert!(output.status.success() && has(&output, "GITHUB_SECRET=unset"), "{output:?}");
}

#[test]
fn an_unknown_flag_exits_2_and_a_setting_that_cannot_be_read_is_a_problem() {
    let folders = Folders::new("flag");
    assert_eq!(config_check(&folders.0, &["--no-such-flag"], &[]).status.code(), Some(2));
    assert_eq!(config_check(&folders.0, &["--ld-replicas", "x"], &[]).status.code(), Some(1));
}
