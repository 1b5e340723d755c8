//! Notifications to systemd: `Type=notify` means ready, and the watchdog means alive.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};

use harness::paths::scratch;
use harness::stack::{Options, Stack};

use crate::SOON;

/// A stand-in for systemd's socket; the notifications, and the address for `NOTIFY_SOCKET`.
fn socket(name: &str) -> (Receiver<String>, String) {
    let path = scratch("systemd").unwrap().join(name);
    drop(std::fs::remove_file(&path));
    let socket = UnixDatagram::bind(&path).unwrap();
    let (tell, told) = channel();
    // Ends with the test's process, or with its receiver.
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length) = socket.recv(&mut bytes) {
            if tell.send(String::from_utf8_lossy(&bytes[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    (told, path.to_str().unwrap().to_owned())
}

/// Waits for this notification; returns all up to it.
fn until(told: &Receiver<String>, wanted: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let text = told.recv_timeout(SOON).unwrap_or_else(|error| panic!("{wanted} is not told: {error}; {all:?}"));
        let found = text.lines().any(|line| line.starts_with(wanted));
        all.extend(text.lines().map(str::to_owned));
        if found {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_started_when_it_is_ready_alive_while_its_tasks_run_and_says_that_it_stops() {
    let (of_ingress, path) = socket("ingress.sock");
    let options = Options { no_worker: true, ..Options::default() };
    let options = options.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut stack = Stack::start_with(options).await.unwrap();
    until(&of_ingress, "READY=1");
    until(&of_ingress, "WATCHDOG=1");

    // A worker that cannot reach MongoDB is alive and not started, and its status says why.
    let (of_worker, path) = socket("worker.sock");
    stack.env.insert("NOTIFY_SOCKET".into(), path);
    let uri = stack.env.insert("MONGO_URI".into(), "mongodb://127.0.0.1:1".into()).unwrap();
    stack.add_worker().await.unwrap();
    let told = [until(&of_worker, "STATUS=MongoDB"), until(&of_worker, "WATCHDOG=1")].concat();
    assert!(!told.iter().any(|line| line == "READY=1"), "{told:?}");
    stack.workers[0].process.kill().unwrap();
    stack.workers.clear();

    stack.env.insert("MONGO_URI".into(), uri);
    stack.add_worker().await.unwrap();
    until(&of_worker, "READY=1");
    until(&of_worker, "WATCHDOG=1");
    for (socket, service) in [(&of_worker, stack.worker()), (&of_ingress, &stack.ingress)] {
        assert!(service.process.stop(SOON).await.unwrap().success());
        until(socket, "STOPPING=1");
    }
}

#[tokio::test]
async fn the_first_line_of_a_log_says_which_build_it_is_and_what_it_works_with() {
    let stack = Stack::start().await.unwrap();
    for service in [&stack.ingress, stack.worker()] {
        let first = service.process.log().lines().into_iter().next().unwrap();
        assert!(first.contains(env!("CARGO_PKG_VERSION")) && first.contains("nats://127.0.0.1:"), "{first}");
    }
}
