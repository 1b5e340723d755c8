//! Writing logs can neither block a process nor end it.

use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};

use anyhow::ensure;
use harness::process::spawn;
use harness::sender::{Secrets, Sender};
use harness::servers::ports::free_port;
use harness::stack::{Binary, Options, Stack, build};

use crate::observe::{push, stored};
use crate::{LONG, only_ingress};

/// Each is a line or more at DEBUG in either process, which together are several times what a pipe holds.
const EVENTS: u64 = 1_000;

/// Standard error, as something leaves it.
#[derive(Debug, Clone, Copy)]
enum Stderr {
    PipeNobodyReads,
    PipeWithoutReader,
    FullDisk,
    Closed,
}

/// A process whose log cannot be read, so that its addresses are given.
struct Running {
    child: Child,
    address: String,
    admin: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what the test says.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn start(stack: &Stack, binary: Binary, stderr: Stderr) -> Running {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let admin = format!("127.0.0.1:{}", free_port().unwrap());
    let program = build::path(binary.name()).unwrap();
    let mut command = match stderr {
        Stderr::Closed => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(program);
            shell
        }
        _ => Command::new(program),
    };
    command.arg("run").envs(&stack.env).env("LOG_LEVEL", "DEBUG").stdin(Stdio::null()).stdout(Stdio::null());
    command.env("BIND_ADDR", &address).env("ADMIN_ADDR", &admin);
    command.stderr(match stderr {
        Stderr::PipeNobodyReads | Stderr::PipeWithoutReader => Stdio::piped(),
        Stderr::FullDisk => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
        Stderr::Closed => Stdio::null(),
    });
    let mut child = spawn(command).unwrap();
    if let Stderr::PipeWithoutReader = stderr {
        drop(child.stderr.take());
    }
    Running { child, address, admin }
}

async fn works(stderr: Stderr) {
    let stack = only_ingress().await;
    let (ingress, worker) = (start(&stack, Binary::Ingress, stderr), start(&stack, Binary::Worker, stderr));
    let sender = Sender::new(&format!("http://{}", ingress.address), Secrets::default()).unwrap();
    let is_ready = async || {
        for admin in [&ingress.admin, &worker.admin] {
            let (status, body) = sender.get(&format!("http://{admin}/readyz")).await?;
            ensure!(status == 200, "{body}");
        }
        Ok(())
    };
    stack.eventually("both are ready", LONG, is_ready).await.unwrap();
    for n in 0..EVENTS {
        let answer = sender.send(&push("Team", n)).await.unwrap();
        assert_eq!(answer.status, 200, "{stderr:?}: {}", answer.body);
    }
    stored(&stack, "Team", usize::try_from(EVENTS).unwrap(), LONG).await;
    stack.eventually("both are still ready", LONG, is_ready).await.unwrap();
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stops_neither_process() {
    works(Stderr::PipeNobodyReads).await;
}

#[tokio::test]
async fn a_pipe_without_a_reader_stops_neither_process() {
    works(Stderr::PipeWithoutReader).await;
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_neither_process() {
    works(Stderr::FullDisk).await;
}

#[tokio::test]
async fn a_closed_standard_error_stops_neither_process() {
    works(Stderr::Closed).await;
}

/// Connection attempts in these logs are several a second.
#[tokio::test]
async fn a_refused_login_at_nats_is_one_line_in_half_a_minute_that_says_what_to_do() {
    let mut stack =
        Stack::start_with(Options { least_privilege: true, no_worker: true, ..Options::default() }).await.unwrap();
    let wrong = stack.nats.as_ref().unwrap().url().replace("nats://", "nats://worker:wrong-password@");
    stack.env.insert("NATS_URL".into(), wrong);
    stack.add_worker().await.unwrap();
    let said = crate::observe::becomes_unready(&stack, stack.worker(), "NATS refuses the login").await;
    assert!(!said.to_string().contains("wrong-password"), "{said}");
    let few = async || {
        let lines = crate::observe::complaints(&stack.worker().process);
        let about: Vec<_> =
            lines.iter().filter(|line| line.contains("NATS") || line.contains("authorization")).collect();
        ensure!(about.len() <= 2, "{about:#?}");
        Ok(())
    };
    harness::eventually::throughout("few lines", std::time::Duration::from_secs(12), &stack, few).await.unwrap();
    let lines = stack.worker().process.log().lines();
    assert!(lines.iter().any(|line| line.contains("NATS refuses the login") && line.contains("NATS_CREDS")));
}
