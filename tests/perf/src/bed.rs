//! The bed everything is measured on: servers and services, fresh for each part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::jetstream::{self, Context, consumer};
use clap::ValueEnum;
use harness::eval::Eval;
use harness::eventually::eventually;
use harness::paths;
use harness::process::{Process, usage};
use harness::sender::Secrets;
use harness::servers::nats::NatsCluster;
use harness::servers::{MongoServer, NatsServer, ReplicaSet, mongo, ports};
use harness::stack::{Binary, Service};
use rand::Rng as _;
use shared::config::StreamArgs;
use shared::publish::Publisher;
use shared::topology::{StreamName, Topology};
use tokio::net::TcpStream;

/// How long a service may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// NATS' `sync_interval`: when what is acknowledged is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sync {
    /// Before it is acknowledged; what we ship.
    Always,
    /// Within two minutes; the server's default.
    Default,
}

impl Sync {
    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Default => "default (2m)",
        }
    }
}

/// NATS: one server, or three that hold the streams together.
#[derive(Debug)]
pub(crate) struct Nats(Vec<NatsServer>);

impl Nats {
    /// Starts it with the configuration that we ship, but for this setting.
    pub(crate) async fn start(sync: Sync, cluster: bool, dir: &Path) -> anyhow::Result<Self> {
        if cluster {
            ensure!(sync == Sync::Always, "a cluster is measured with the shipped sync_interval: use --sync always");
            return Ok(Self(NatsCluster::start(dir, 3).await?.nodes));
        }
        let dir = dir.join("nats");
        if sync == Sync::Always {
            return Ok(Self(vec![NatsServer::start(&dir).await?]));
        }
        let text = harness::servers::nats::open_configuration()?;
        ensure!(
            text.contains("sync_interval: always"),
            "the shipped configuration no longer says sync_interval: always"
        );
        let conf = dir.join("nats-server.conf");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(&conf, text.replace("sync_interval: always", ""))?;
        Ok(Self(vec![NatsServer::start_with(&dir, ports::free_port()?, &conf).await?]))
    }

    /// For `NATS_URL`.
    pub(crate) fn url(&self) -> String {
        self.0.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// CPU seconds of all servers.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.0.iter().map(|node| usage::cpu_seconds(&node.process)).sum()
    }

    /// Memory of the largest server, in MB.
    pub(crate) fn memory_mb(&self) -> anyhow::Result<f64> {
        largest(self.0.iter().map(|node| &node.process))
    }
}

/// MongoDB: one server, or a replica set of three.
#[derive(Debug)]
pub(crate) struct Mongo {
    members: Vec<MongoServer>,
    uri: String,
}

impl Mongo {
    pub(crate) async fn start(cluster: bool, dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.join("mongo");
        if cluster {
            let set = ReplicaSet::start_with(&dir, 3, &mongo::FULL_JOURNAL).await?;
            let uri = set.uri();
            return Ok(Self { members: set.members, uri });
        }
        let server = MongoServer::start_with(&dir, &mongo::FULL_JOURNAL).await?;
        Ok(Self { uri: server.uri(), members: vec![server] })
    }

    /// For `MONGO_URI`.
    pub(crate) fn uri(&self) -> String {
        self.uri.clone()
    }

    /// CPU seconds of all servers.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.members.iter().map(|member| usage::cpu_seconds(&member.process)).sum()
    }

    /// Memory of the largest server, in MB.
    pub(crate) fn memory_mb(&self) -> anyhow::Result<f64> {
        largest(self.members.iter().map(|member| &member.process))
    }
}

fn largest<'a>(processes: impl Iterator<Item = &'a Process>) -> anyhow::Result<f64> {
    processes.map(usage::memory_mb).try_fold(0.0, |most: f64, next| anyhow::Ok(most.max(next?)))
}

/// Settings that are tried in this run, beside the ordinary ones.
static TRIED: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Every service of this run gets these settings, written `NAME=VALUE`.
pub(crate) fn try_settings(settings: &[String]) -> anyhow::Result<()> {
    let read = |setting: &String| {
        let (name, value) = setting.split_once('=').with_context(|| format!("--set {setting} is not NAME=VALUE"))?;
        anyhow::Ok((name.to_owned(), value.to_owned()))
    };
    let settings = settings.iter().map(read).collect::<anyhow::Result<_>>()?;
    TRIED.set(settings).map_err(|_| anyhow::anyhow!("settings are given once"))
}

/// A folder for one part's servers and logs.
pub(crate) fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    paths::scratch(&format!("perf-{name}-{:06x}", rand::rng().random::<u32>() >> 8))
}

/// One installation on a server: stream names and a database of its own.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The prefix of streams and the database's name.
    pub(crate) name: String,
    pub(crate) nats_url: String,
    replicas: usize,
    pub(crate) topology: Topology,
    pub(crate) jetstream: Context,
    pub(crate) publisher: Publisher,
}

impl Site {
    /// A new one, with its streams.
    pub(crate) async fn new(nats: &Nats) -> anyhow::Result<Self> {
        let name = format!("p{:08x}", rand::rng().random::<u32>());
        let limits = StreamArgs {
            ld_events_max_age: Duration::from_secs(30 * 86_400),
            ld_events_max_bytes: "10GiB".parse().map_err(anyhow::Error::msg)?,
            ld_replicas: nats.0.len(),
            ..StreamArgs::default()
        };
        let topology = Topology::new(Some(&name), limits);
        let servers =
            nats.0.iter().map(|node| node.url().parse()).collect::<Result<Vec<async_nats::ServerAddr>, _>>()?;
        let client = async_nats::connect(servers).await?;
        let jetstream = jetstream::new(client.clone());
        topology.ensure(&jetstream).await?;
        let replicas = nats.0.len();
        Ok(Self { name, nats_url: nats.url(), replicas, topology, jetstream, publisher: Publisher::new(client) })
    }

    /// The settings of both binaries.
    pub(crate) fn env(&self, mongo_uri: &str, eval: &Eval) -> BTreeMap<String, String> {
        let secrets = Secrets::default();
        let settings = [
            ("NATS_URL", self.nats_url.clone()),
            ("NATS_PREFIX", self.name.clone()),
            ("LD_REPLICAS", self.replicas.to_string()),
            ("MONGO_URI", mongo_uri.to_owned()),
            ("MONGO_DB", self.name.clone()),
            ("EVAL_HOST", "127.0.0.1".to_owned()),
            ("EVAL_PORT", eval.port().to_string()),
            ("GITHUB_SECRET", secrets.github),
            ("TAIGA_SECRET", secrets.taiga),
            ("EXCEL_SECRET", secrets.excel.unwrap_or_default()),
            ("NEW_PROJECTS_PER_HOUR", "100000".to_owned()),
        ];
        let mut env: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).into();
        env.extend(TRIED.get().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        env
    }

    /// Empties the event stream.
    pub(crate) async fn purge(&self) -> anyhow::Result<()> {
        let name = self.topology.stream(StreamName::Events);
        self.jetstream.get_stream(&name).await?.purge().await?;
        Ok(())
    }

    /// Removes all its streams.
    pub(crate) async fn forget(&self) -> anyhow::Result<()> {
        for stream in StreamName::ALL {
            self.jetstream.delete_stream(self.topology.stream(stream)).await?;
        }
        Ok(())
    }

    /// How many messages a stream holds.
    pub(crate) async fn messages(&self, stream: StreamName) -> anyhow::Result<u64> {
        let stream = self.jetstream.get_stream(self.topology.stream(stream)).await?;
        Ok(stream.cached_info().state.messages)
    }

    /// How many events are settled, and how many are not; `None` while there is no consumer.
    pub(crate) async fn progress(&self) -> anyhow::Result<Option<(u64, u64)>> {
        let stream = self.jetstream.get_stream_no_info(self.topology.stream(StreamName::Events)).await?;
        let Ok(info) = stream.consumer_info("ld-worker").await else { return Ok(None) };
        let _: &consumer::Info = &info;
        let waiting = info.num_pending + info.num_ack_pending as u64;
        Ok(Some((info.delivered.consumer_sequence.saturating_sub(info.num_ack_pending as u64), waiting)))
    }
}

/// Starts a service and waits until `/readyz` says 200. Gives it with the time from spawn to ready.
pub(crate) async fn start(
    binary: Binary,
    name: &str,
    dir: &Path,
    mut env: BTreeMap<String, String>,
) -> anyhow::Result<(Service, Duration)> {
    let admin = format!("127.0.0.1:{}", ports::free_port()?);
    env.insert("ADMIN_ADDR".into(), admin.clone());
    let begin = Instant::now();
    let (service, ready) = tokio::join!(Service::start(binary, name, dir, env), async {
        while begin.elapsed() < READY {
            if is_ready(&admin).await.unwrap_or(false) {
                return Some(begin.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    });
    let service = service?;
    let ready = ready
        .with_context(|| format!("{name} was not ready, the end of its log:\n{}", service.process.log().tail()))?;
    Ok((service, ready))
}

async fn is_ready(admin: &str) -> anyhow::Result<bool> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// Stops a service as an operator would.
pub(crate) async fn stop(service: &Service) -> anyhow::Result<()> {
    let status = service.process.stop(Duration::from_secs(30)).await?;
    ensure!(status.success(), "{} ended with {status}", service.process.name());
    Ok(())
}

/// Waits until every notification was sent.
pub(crate) async fn all_told(site: &Site, worker: &Service) -> anyhow::Result<()> {
    let name = site.topology.stream(StreamName::Notify);
    eventually("every notification was sent", READY, worker, async || {
        let left = site.jetstream.get_stream(&name).await?.cached_info().state.messages;
        ensure!(left == 0, "{left} notifications wait");
        Ok(())
    })
    .await
}
