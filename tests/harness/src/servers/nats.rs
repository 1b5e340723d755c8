//! A `nats-server` with JetStream and the configuration that we ship.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{install, ports};
use crate::eventually::{Alive, eventually};
use crate::paths;
use crate::process::{Process, Recipe};

/// How long a start may take; most of it is the recovery of large streams.
const START: Duration = Duration::from_secs(30);

/// The users of the configuration that we ship, with their passwords here and the variables these are read from.
pub const USERS: [(&str, &str, &str); 3] = [
    ("ingress", "ingress-nats-password", "NATS_INGRESS_PASSWORD"),
    ("worker", "worker-nats-password", "NATS_WORKER_PASSWORD"),
    ("operator", "operator-nats-password", "NATS_OPERATOR_PASSWORD"),
];

/// The environment in which the shipped configuration can be read.
#[must_use]
pub fn passwords() -> Vec<(String, String)> {
    USERS.iter().map(|(_, password, name)| ((*name).to_owned(), (*password).to_owned())).collect()
}

/// The configuration that we ship.
fn shipped() -> PathBuf {
    paths::workspace().join("nats/nats-server.conf")
}

/// The configuration that we ship, but a client without a login is the operator: tests that share a server
/// have stream names that the shipped permissions do not name.
///
/// # Errors
/// When it cannot be read.
pub fn open_configuration() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(shipped()).context("the shipped configuration of NATS")?;
    Ok(text + "\nno_auth_user: operator\n")
}

/// A client of the server at this address, as the user that the address names: async-nats itself does not look at
/// that.
///
/// # Errors
/// When the server does not take it.
pub async fn connect(url: &str) -> anyhow::Result<async_nats::Client> {
    let named = url.strip_prefix("nats://").and_then(|rest| rest.split_once('@'));
    let options = async_nats::ConnectOptions::new();
    Ok(match named.and_then(|(login, host)| Some((login.split_once(':')?, host))) {
        Some(((user, password), host)) => {
            options.user_and_password(user.to_owned(), password.to_owned()).connect(host).await?
        }
        None => options.connect(url.split(',').collect::<Vec<_>>()).await?,
    })
}

/// A NATS server that we started.
#[derive(Debug)]
pub struct NatsServer {
    /// For killing, freezing and starting again (on the same port, with the same data).
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    data: PathBuf,
}

impl NatsServer {
    /// Starts one on a free port, with its data in `dir`.
    ///
    /// # Errors
    /// When there is none to be had, or it does not come up.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_on(dir, ports::free_port()?).await
    }

    /// Starts one on this port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(dir: &Path, port: u16) -> anyhow::Result<Self> {
        let conf = dir.join("nats-server.conf");
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::write(&conf, open_configuration()?)?;
        Self::start_with(dir, port, &conf).await
    }

    /// Starts one with exactly the configuration that we ship: a client that is none of the [`USERS`] is
    /// refused.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_secured(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, ports::free_port()?, &shipped()).await
    }

    /// Starts one on this port with another configuration than the one that we ship.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(dir: &Path, port: u16, conf: &Path) -> anyhow::Result<Self> {
        let server = Self::launch("nats-server", dir, port, conf)?;
        server.ready().await?;
        Ok(server)
    }

    fn launch(name: &str, dir: &Path, port: u16, conf: &Path) -> anyhow::Result<Self> {
        let data = dir.join("data");
        let recipe = Recipe {
            name: name.to_owned(),
            program: install::program(&install::NATS)?,
            args: vec![
                "-c".into(),
                conf.into(),
                "-a".into(),
                "127.0.0.1".into(),
                "-p".into(),
                port.to_string().into(),
                "-sd".into(),
                data.clone().into(),
            ],
            env: passwords(),
            dir: dir.to_owned(),
        };
        Ok(Self { process: Process::start(recipe)?, port, data })
    }

    /// Its address for `NATS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its address for one of the [`USERS`].
    ///
    /// # Panics
    /// When there is no such user.
    #[must_use]
    pub fn url_of(&self, user: &str) -> String {
        let (name, password, _) = USERS.iter().find(|(name, ..)| *name == user).expect("one of the shipped users");
        format!("nats://{name}:{password}@127.0.0.1:{}", self.port)
    }

    /// Starts it again after it was ended, and waits until JetStream answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.ready().await
    }

    /// Removes everything it has stored, as a lost disk would. Only while it is ended.
    ///
    /// # Errors
    /// When it runs, or its files cannot be removed.
    pub fn lose_disk(&self) -> anyhow::Result<()> {
        ensure!(self.process.pid().is_none(), "nats-server runs: its files are in use");
        std::fs::remove_dir_all(&self.data).with_context(|| format!("cannot remove {}", self.data.display()))
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = self.url_of("operator");
        eventually("nats-server answers", START, &self.process, async || {
            let client = connect(&url).await?;
            async_nats::jetstream::new(client).query_account().await?;
            Ok(())
        })
        .await
    }
}

impl Alive for NatsServer {
    fn check(&self) -> anyhow::Result<()> {
        self.process.check()
    }
}

/// Several NATS servers that hold streams together.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers, in no order of rank.
    pub nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts a cluster with the open configuration and waits until JetStream answers.
    ///
    /// # Errors
    /// When a server does not come up or no leader is elected.
    pub async fn start(dir: &Path, nodes: usize) -> anyhow::Result<Self> {
        let routes = (0..nodes).map(|_| ports::free_port()).collect::<anyhow::Result<Vec<_>>>()?;
        let urls: Vec<_> = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let launch = |(n, port): (usize, &u16)| {
            let name = format!("nats-{}", n + 1);
            let dir = dir.join(&name);
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let cluster = format!(
                "server_name: {name}\ncluster {{ name: tests, listen: \"127.0.0.1:{port}\", routes: [{}] }}\n",
                urls.join(", ")
            );
            let conf = dir.join("nats-server.conf");
            std::fs::write(&conf, open_configuration()? + &cluster)?;
            NatsServer::launch(&name, &dir, ports::free_port()?, &conf)
        };
        let cluster = Self { nodes: routes.iter().enumerate().map(launch).collect::<anyhow::Result<_>>()? };
        for node in &cluster.nodes {
            node.ready().await?;
        }
        Ok(cluster)
    }

    /// Its addresses for `NATS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }
}

impl Alive for NatsCluster {
    fn check(&self) -> anyhow::Result<()> {
        self.nodes.as_slice().check()
    }
}
