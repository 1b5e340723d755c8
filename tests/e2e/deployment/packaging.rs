//! What the images and compose.yaml rely on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use harness::paths::{scratch, workspace};
use harness::stack::build::{Voice, build, path};
use harness::stack::{Service, Stack};

use crate::LONG;

/// What a container's health check would find.
async fn healthcheck(binary: &str, admin: &str) -> bool {
    let mut command = tokio::process::Command::new(path(binary).unwrap());
    command.arg("healthcheck").env_clear().env("ADMIN_ADDR", admin.trim_start_matches("http://")).kill_on_drop(true);
    tokio::time::timeout(LONG, command.status()).await.expect("the command ends").unwrap().success()
}

#[tokio::test]
async fn a_health_check_fails_once_the_process_is_gone() {
    let stack = Stack::start().await.unwrap();
    let both: [(&str, &Service); 2] = [("ingress", &stack.ingress), ("worker", &stack.workers[0])];
    for (binary, service) in both {
        let admin = service.admin();
        assert!(healthcheck(binary, &admin).await, "{binary} runs");
        service.process.kill().unwrap();
        assert!(!healthcheck(binary, &admin).await, "{binary} is gone");
    }
}

/// Every file below a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.insert(entry.display().to_string(), std::fs::read_to_string(&entry).unwrap());
        }
    }
    found
}

#[test]
fn made_secrets_are_read_from_their_files_and_never_made_twice() {
    build(Voice::Quiet).unwrap();
    let beside = scratch("made-secrets").unwrap();
    let make = beside.join("make-secrets");
    std::fs::copy(workspace().join("deploy/compose/make-secrets"), &make).unwrap();
    let folder = beside.join("secrets");
    let run = || assert!(Command::new("sh").arg(&make).output().unwrap().status.success());
    run();
    std::fs::write(folder.join("ingress/taiga_secret"), "our own\n").unwrap();
    let before = files(&folder);
    run();
    assert_eq!(files(&folder), before, "what is there stays");

    let check = |binary: &str, names: &[&str]| {
        let mut command = Command::new(path(binary).unwrap());
        command.args(["config", "check"]).current_dir(&folder).env_clear();
        for name in names {
            // As compose.yaml does it: the variable is there and empty, and the file is what counts.
            command.env(name, "").env(format!("{name}_FILE"), folder.join(binary).join(name.to_lowercase()));
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let ingress =
        check("ingress", &["NATS_URL", "GITHUB_SECRET", "TAIGA_SECRET", "EXCEL_SECRET", "GITHUB_SECRET_PREVIOUS"]);
    for line in ["GITHUB_SECRET=set", "TAIGA_SECRET=set", "EXCEL_SECRET=set", "GITHUB_SECRET_PREVIOUS=unset"] {
        let origin = if line.ends_with("=set") { "  # file " } else { "" };
        assert!(ingress.lines().any(|said| said.starts_with(&format!("{line}{origin}"))), "{line}: {ingress}");
    }
    assert!(ingress.contains("@nats:4222"), "{ingress}");
    let worker = check("worker", &["NATS_URL", "MONGO_URI", "GITHUB_TOKEN", "TAIGA_PASSWORD"]);
    assert!(worker.contains("@mongo:27017/event_dashboard"), "{worker}");
    for secret in before.values().map(|text| text.trim()).filter(|text| text.len() == 49) {
        assert!(!ingress.contains(secret) && !worker.contains(secret), "a secret was printed");
    }
}
