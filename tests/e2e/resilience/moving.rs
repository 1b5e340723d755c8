//! NATS, MongoDB and LD Eval move to another address behind their names: what happens when a container is made
//! again. The names are in a hosts file of the worker's own, so the test needs a mount namespace.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use harness::paths::scratch;
use harness::process::{Process, Recipe};
use harness::sender::github;
use harness::stack::build::path;
use harness::stack::{Options, Stack};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::observe::{push, send, stored};
use crate::{LONG, SOON};

/// Where something is, until it moves: passes connections on to where it really is.
struct Forwarder(JoinHandle<()>);

impl Forwarder {
    /// Listens on this address; port 0 takes a free one, which is returned.
    async fn start(address: SocketAddr, target: SocketAddr) -> (Self, u16) {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            // Aborting this task drops the set, and with it every connection.
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        (Self(task), port)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn address_of(url: &str) -> SocketAddr {
    url.rsplit("//").next().unwrap_or_default().trim_end_matches('/').parse().unwrap()
}

const NAMES: &str = "nats.test mongo.test eval.test";

/// A worker that looks names up in this hosts file.
fn worker(stack: &Stack, hosts: &Path, env: &[(&str, String)]) -> Process {
    let mut all = stack.env.clone();
    let own = [("ADMIN_ADDR", "127.0.0.1:0".to_owned()), ("LOG_FORMAT", "json".to_owned())];
    all.extend(own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), value.clone())));
    let script = r#"mount --bind "$1" /etc/hosts && exec "$2" run"#;
    let recipe = Recipe {
        name: "worker".to_owned(),
        program: "unshare".into(),
        args: ["--map-root-user".into(), "--mount".into(), "sh".into(), "-c".into(), script.into(), "sh".into()]
            .into_iter()
            .chain([hosts.into(), path("worker").unwrap().into()])
            .collect(),
        env: all.into_iter().collect(),
        dir: hosts.parent().unwrap().to_owned(),
    };
    Process::start(recipe).unwrap()
}

#[tokio::test]
async fn a_worker_finds_what_has_moved_behind_its_name() {
    let may = std::process::Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("LEFT OUT: this machine has no `unshare` or does not allow it, so no name can be moved here");
        return;
    }
    let stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    let hosts = scratch(&format!("{}-hosts", stack.prefix)).unwrap().join("hosts");
    let targets = [
        address_of(&stack.nats_url),
        address_of(&stack.mongo_uri),
        SocketAddr::from((Ipv4Addr::LOCALHOST, stack.eval.port())),
    ];
    let (mut forwarders, mut ports) = (Vec::new(), Vec::new());
    let first = Ipv4Addr::new(127, 0, 0, 2);
    for target in targets {
        let (forwarder, port) = Forwarder::start((first, 0).into(), target).await;
        forwarders.push(forwarder);
        ports.push(port);
    }
    std::fs::write(&hosts, format!("{first} {NAMES}\n")).unwrap();
    let env = [
        ("NATS_URL", format!("nats://nats.test:{}", ports[0])),
        ("MONGO_URI", format!("mongodb://mongo.test:{}/?directConnection=true", ports[1])),
        ("EVAL_HOST", "eval.test".to_owned()),
        ("EVAL_PORT", ports[2].to_string()),
    ];
    let worker = worker(&stack, &hosts, &env);
    let arrives = async |project: &str, n: u64| {
        send(&stack, &push(project, n)).await;
        stored(&stack, project, 1, LONG).await;
        let notified = async || {
            let notified = stack.eval.has_accepted(project, ("push", github::LOGIN, None));
            notified.with_context(|| format!("the end of the worker's log:\n{}", worker.log().tail()))
        };
        stack.eventually("LD Eval is notified", LONG, notified).await.unwrap();
    };
    arrives("Before", 1).await;

    // In place: it is this very file that the worker sees.
    let second = Ipv4Addr::new(127, 0, 0, 3);
    std::fs::write(&hosts, format!("{second} {NAMES}\n")).unwrap();
    forwarders.clear();
    for (target, port) in targets.into_iter().zip(&ports) {
        forwarders.push(Forwarder::start((second, *port).into(), target).await.0);
    }
    arrives("After", 2).await;
    assert!(worker.stop(SOON).await.unwrap().success(), "{}", worker.log().tail());
}
