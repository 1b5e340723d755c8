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

/// A NATS server of ours.
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
        Self::start_with(dir, port, &paths::workspace().join("nats/nats-server.conf")).await
    }

    /// Starts one on this port with another configuration than the one that we ship.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(dir: &Path, port: u16, conf: &Path) -> anyhow::Result<Self> {
        let data = dir.join("data");
        let recipe = Recipe {
            name: "nats-server".to_owned(),
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
            env: Vec::new(),
            dir: dir.to_owned(),
        };
        let server = Self { process: Process::start(recipe)?, port, data };
        server.ready().await?;
        Ok(server)
    }

    /// Its address for `NATS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
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
        let url = self.url();
        eventually("nats-server answers", START, &self.process, async || {
            let client = async_nats::connect(&url).await?;
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
