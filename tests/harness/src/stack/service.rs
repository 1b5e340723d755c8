//! One of our two binaries as a real process. The addresses it listens on are read from its log.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use super::build;
use crate::eventually::{Alive, eventually};
use crate::process::log::field;
use crate::process::{Process, Recipe};

/// How long a binary may take until it listens.
const START: Duration = Duration::from_secs(30);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// HTTP in.
    Ingress,
    /// Documents and notifications out.
    Worker,
}

impl Binary {
    /// Its file name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Worker => "worker",
        }
    }
}

/// A running (or ended) ingress or worker.
#[derive(Debug)]
pub struct Service {
    /// For killing, freezing, stopping.
    pub process: Process,
    binary: Binary,
    addresses: Mutex<Addresses>,
}

/// Where it listens in its present run.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    webhooks: Option<SocketAddr>,
    admin: SocketAddr,
}

impl Service {
    /// Starts it and waits until it listens. `name` is that of its log; `env` its settings, in which
    /// port 0 is the default everywhere.
    ///
    /// # Errors
    /// When it ends instead, or does not listen in time; with the end of its log.
    pub async fn start(
        binary: Binary,
        name: &str,
        dir: &Path,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let defaults = [
            ("BIND_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
            // Nobody listens there: a test that asks the real services anything is to fail, not to leak.
            ("GITHUB_API_URL", "http://127.0.0.1:1"),
            ("TAIGA_AUTH_URL", "http://127.0.0.1:1"),
        ];
        let mut all: Vec<_> = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (name, value) in env {
            // Taiga is asked without a token where its address is set: so the default is that of the login alone.
            all.retain(|(had, _)| *had != name && !(name == "TAIGA_API_URL" && had == "TAIGA_AUTH_URL"));
            all.push((name, value));
        }
        let recipe = Recipe {
            name: name.to_owned(),
            program: build::path(binary.name())?,
            // `worker` has commands; that of the service itself is `run`.
            args: if binary == Binary::Worker { vec!["run".into()] } else { Vec::new() },
            env: all,
            dir: dir.to_owned(),
        };
        let process = Process::start(recipe)?;
        let addresses = Mutex::new(listening(&process, binary).await?);
        Ok(Self { process, binary, addresses })
    }

    /// Starts it again after it was ended. It may listen elsewhere then.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()?;
        *self.lock() = listening(&self.process, self.binary).await?;
        Ok(())
    }

    /// Stops it (`SIGTERM`), waits for its end and starts it again; gives its exit status. It neither needs NATS nor
    /// MongoDB to answer: a frozen one is a case to test.
    ///
    /// # Errors
    /// When it had to be killed, or as [`start`](Self::start).
    pub async fn restart(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        let status = self.process.stop(within).await?;
        self.start_again().await?;
        Ok(status)
    }

    /// `http://127.0.0.1:<port>` of the webhooks.
    ///
    /// # Panics
    /// When asked of a worker, which has none.
    #[must_use]
    pub fn webhooks(&self) -> String {
        format!("http://{}", self.webhooks_addr())
    }

    /// The webhooks' address.
    ///
    /// # Panics
    /// When asked of a worker, which has none.
    #[must_use]
    pub fn webhooks_addr(&self) -> SocketAddr {
        self.lock().webhooks.expect("only ingress takes webhooks")
    }

    /// `http://127.0.0.1:<port>` of the check pages of teams.
    ///
    /// # Panics
    /// When it serves none: `TEAM_PAGES_ADDR` is not set.
    #[must_use]
    pub fn team_pages(&self) -> String {
        format!("http://{}", listens_as(&self.process, "team pages").expect("TEAM_PAGES_ADDR is set"))
    }

    /// `http://127.0.0.1:<port>` of `/healthz`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn admin(&self) -> String {
        format!("http://{}", self.lock().admin)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alive for Service {
    fn check(&self) -> anyhow::Result<()> {
        self.process.check()
    }
}

async fn listening(process: &Process, binary: Binary) -> anyhow::Result<Addresses> {
    eventually(&format!("{} listens", process.name()), START, process, async || {
        let admin = listens_as(process, "admin").context("it has not said where its admin port is")?;
        let webhooks = listens_as(process, "webhooks");
        if binary == Binary::Ingress {
            webhooks.context("it has not said where its webhooks are")?;
        }
        Ok(Addresses { webhooks, admin })
    })
    .await
    .with_context(|| format!("the end of its log:\n{}", process.log().tail()))
}

fn listens_as(process: &Process, role: &str) -> Option<SocketAddr> {
    let events = process.log().events();
    let said = events
        .iter()
        .rfind(|event| field(event, "message") == Some("listening") && field(event, "listen.role") == Some(role));
    field(said?, "listen.addr")?.parse().ok()
}
