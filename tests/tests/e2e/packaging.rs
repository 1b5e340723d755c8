//! What the images and compose.yaml rely on.

use tests::stack::build::path;
use tests::stack::{Service, Stack};

use crate::LONG;

/// What a container's health check would find.
async fn healthcheck(binary: &str, admin: &str) -> bool {
    let mut command = tokio::process::Command::new(path(binary).unwrap());
    command.arg("healthcheck").env_clear().env("ADMIN_ADDR", admin.trim_start_matches("http://")).kill_on_drop(true);
    tokio::time::timeout(LONG, command.status()).await.expect("the command ends").unwrap().success()
}

#[tokio::test]
async fn a_health_check_tells_a_running_process_from_one_that_is_gone() {
    let stack = Stack::start().await.unwrap();
    let both: [(&str, &Service); 2] = [("ingress", &stack.ingress), ("worker", &stack.workers[0])];
    for (binary, service) in both {
        let admin = service.admin();
        assert!(healthcheck(binary, &admin).await, "{binary} runs");
        service.process.kill().unwrap();
        assert!(!healthcheck(binary, &admin).await, "{binary} is gone");
    }
}
