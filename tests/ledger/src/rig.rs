//! What a run is made on: NATS (one server or three), a replica set of three, ingresses, workers and LD Eval's stand-in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream;
use futures::TryStreamExt as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::notified::Notified;
use super::settings::Settings;
use harness::eval::Eval;
use harness::eventually::{Alive, eventually};
use harness::process::Process;
use harness::sender::{Secrets, Sender};
use harness::servers::nats::{self, NatsCluster};
use harness::servers::{NatsServer, ReplicaSet, mongo, ports};
use harness::stack::{Binary, Service};

/// How many members the replica set has.
const MEMBERS: usize = 3;

/// How many servers a cluster of NATS has.
const NODES: usize = 3;

const DATABASE: &str = "ledger";

/// How long ingress may take to make its streams.
const START: Duration = Duration::from_secs(30);

/// How long a server may take to say whether it leads.
const LOOK: Duration = Duration::from_millis(500);

/// `SHUTDOWN_GRACE`: workers are restarted several times within one outage.
const GRACE: &str = "2s";

/// Who can be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Victim {
    /// HTTP in.
    Ingress,
    /// Documents and notifications out.
    Worker,
    /// A server of the stream between the two.
    Nats,
    /// A member of the replica set, the primary or another.
    Mongo,
    /// LD Eval's stand-in.
    Eval,
}

impl Victim {
    pub const ALL: [Self; 5] = [Self::Ingress, Self::Worker, Self::Nats, Self::Mongo, Self::Eval];

    /// What the table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Worker => "worker",
            Self::Nats => "nats-server",
            Self::Mongo => "mongod",
            Self::Eval => "LD Eval",
        }
    }
}

/// Everything that runs.
#[derive(Debug)]
pub struct Rig {
    /// HTTP in.
    pub ingresses: Vec<Service>,
    /// Documents and notifications out.
    pub workers: Vec<Service>,
    /// The stream between the two: one server, or a cluster.
    pub nats: Vec<NatsServer>,
    pub mongo: ReplicaSet,
    /// LD Eval's stand-in.
    pub eval: Eval,
    /// What it accepted.
    pub notified: Arc<Notified>,
    /// What senders sign with.
    pub secrets: Secrets,
    busy: BTreeMap<(Victim, usize), Arc<Mutex<()>>>,
    dir: PathBuf,
}

impl Rig {
    /// Starts everything, with its data in `dir`.
    ///
    /// # Errors
    /// When anything does not start; with the end of its log.
    pub async fn start(dir: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let (nats_dir, mongo_dir) = (dir.join("nats"), dir.join("mongo"));
        let nats = async {
            match settings.cluster {
                true => Ok(NatsCluster::start(&nats_dir, NODES).await?.nodes),
                false => Ok(vec![NatsServer::start(&nats_dir).await?]),
            }
        };
        let (nats, mongo) = tokio::try_join!(nats, ReplicaSet::start(&mongo_dir, MEMBERS))?;
        let notified = Arc::new(Notified::default());
        let listener = Arc::clone(&notified);
        let eval = Eval::start_with(ports::free_port()?, move |notified| listener.note(notified))?;
        let secrets = Secrets::default();
        let env = [
            ("NATS_URL", nats_url(&nats)),
            ("LD_REPLICAS", nats.len().to_string()),
            ("SHUTDOWN_GRACE", GRACE.to_owned()),
            ("MONGO_URI", mongo.uri()),
            ("MONGO_DB", DATABASE.to_owned()),
            ("EVAL_HOST", "127.0.0.1".to_owned()),
            ("EVAL_PORT", eval.port().to_string()),
            ("GITHUB_SECRET", secrets.github.clone()),
            ("TAIGA_SECRET", secrets.taiga.clone()),
            ("EXCEL_SECRET", secrets.excel.clone().unwrap_or_default()),
            ("LD_EVENTS_MAX_BYTES", (2_u64 << 30).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let mut ingresses = Vec::new();
        for n in 0..settings.ingresses {
            // On the same port after every restart, as behind a balancer that knows where they are.
            let bind = ("BIND_ADDR".to_owned(), format!("127.0.0.1:{}", ports::free_port()?));
            let env = env.iter().cloned().chain([bind]);
            ingresses.push(Service::start(Binary::Ingress, &format!("ingress-{n}"), dir, env).await?);
        }
        let mut workers = Vec::new();
        for n in 0..settings.workers {
            workers.push(Service::start(Binary::Worker, &format!("worker-{n}"), dir, env.clone()).await?);
        }
        let counts = [ingresses.len(), workers.len(), nats.len(), MEMBERS, 1];
        let victims = Victim::ALL.into_iter().zip(counts);
        let all = victims.flat_map(|(victim, count)| (0..count).map(move |n| (victim, n)));
        let busy = all.map(|victim| (victim, Arc::default())).collect();
        let dir = dir.to_owned();
        let rig = Self { ingresses, workers, nats, mongo, eval, notified, secrets, busy, dir };
        let stream = async || rig.stream_messages("LD_EVENTS").await.map(|_| ());
        eventually("ingress has made its streams", START, &rig, stream).await?;
        Ok(rig)
    }

    /// Where logs and data are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One sender for each ingress.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub fn ways(&self) -> anyhow::Result<Vec<Sender>> {
        let first = self.ingresses.first().context("a run needs an ingress")?;
        let sender = Sender::new(&first.webhooks(), self.secrets.clone())?;
        Ok(self.ingresses.iter().map(|ingress| sender.to(&ingress.webhooks())).collect())
    }

    /// The database.
    ///
    /// # Errors
    /// When its address cannot be read.
    pub async fn db(&self) -> anyhow::Result<mongodb::Database> {
        Ok(mongo::connect(&self.mongo.uri()).await?.database(DATABASE))
    }

    /// Reserves one of a kind of victim, if any of it is left in peace at the moment. Of a cluster of NATS one at a time.
    #[must_use]
    pub fn reserve(&self, victim: Victim, order: &[usize]) -> Option<(usize, OwnedMutexGuard<()>)> {
        let all = || self.busy.iter().filter(|((kind, _), _)| *kind == victim);
        if victim == Victim::Nats && all().any(|(_, lock)| lock.try_lock().is_err()) {
            return None;
        }
        order.iter().find_map(|&n| {
            let lock = self.busy.get(&(victim, n))?;
            Some((n, Arc::clone(lock).try_lock_owned().ok()?))
        })
    }

    /// Reserves all of a kind, once each is left in peace.
    pub async fn reserve_all(&self, victim: Victim) -> Vec<OwnedMutexGuard<()>> {
        let mut reserved = Vec::new();
        for lock in self.busy.iter().filter(|((kind, _), _)| *kind == victim).map(|(_, lock)| lock) {
            reserved.push(Arc::clone(lock).lock_owned().await);
        }
        reserved
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, victim: Victim) -> usize {
        self.busy.keys().filter(|(kind, _)| *kind == victim).count()
    }

    /// The process of a victim; LD Eval's stand-in has none.
    #[must_use]
    pub fn process(&self, victim: Victim, n: usize) -> Option<&Process> {
        match victim {
            Victim::Ingress => self.ingresses.get(n).map(|service| &service.process),
            Victim::Worker => self.workers.get(n).map(|service| &service.process),
            Victim::Nats => self.nats.get(n).map(|node| &node.process),
            Victim::Mongo => self.mongo.members.get(n).map(|member| &member.process),
            Victim::Eval => None,
        }
    }

    /// Starts a victim again that was ended.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub async fn start_again(&self, victim: Victim, n: usize) -> anyhow::Result<()> {
        match victim {
            Victim::Ingress => self.ingresses[n].start_again().await,
            Victim::Worker => self.workers[n].start_again().await,
            Victim::Nats => self.nats[n].start_again().await,
            Victim::Mongo => self.mongo.members[n].start_again().await,
            Victim::Eval => self.eval.up(),
        }
    }

    /// The one of a kind through which every write goes at the moment: MongoDB's primary, the leader of `LD_EVENTS`.
    pub async fn leader(&self, victim: Victim) -> Option<usize> {
        match victim {
            Victim::Mongo => self.primary().await,
            Victim::Nats if self.nats.len() > 1 => self.stream_leader().await,
            _ => None,
        }
    }

    async fn stream_leader(&self) -> Option<usize> {
        let info = async {
            let stream = self.jetstream().await?.get_stream("LD_EVENTS").await?;
            anyhow::Ok(stream.cached_info().cluster.clone())
        };
        let cluster = tokio::time::timeout(LOOK, info).await.ok()?.ok()??;
        let leader = cluster.leader?;
        self.nats.iter().position(|node| node.process.name() == leader)
    }

    async fn primary(&self) -> Option<usize> {
        for (n, member) in self.mongo.members.iter().enumerate() {
            let hello = async {
                let client = mongo::connect(&format!("{}/?directConnection=true", member.uri())).await?;
                let hello = client.database("admin").run_command(bson::doc! { "hello": 1 }).await?;
                anyhow::Ok(hello.get_bool("isWritablePrimary").unwrap_or(false))
            };
            if let Ok(Ok(true)) = tokio::time::timeout(LOOK, hello).await {
                return Some(n);
            }
        }
        None
    }

    /// JetStream, as an operator sees it.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn jetstream(&self) -> anyhow::Result<jetstream::Context> {
        Ok(jetstream::new(nats::connect(&nats_url(&self.nats)).await?))
    }

    /// How many messages a stream holds.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn stream_messages(&self, name: &str) -> anyhow::Result<u64> {
        let stream = self.jetstream().await?.get_stream(name).await.with_context(|| name.to_owned())?;
        Ok(stream.cached_info().state.messages)
    }

    /// Every event was taken and settled, and every notification was sent.
    ///
    /// # Errors
    /// When something is still to do; the text says what.
    pub async fn nothing_pending(&self) -> anyhow::Result<()> {
        let jetstream = self.jetstream().await?;
        for name in ["LD_EVENTS", "LD_NOTIFY", "LD_ENRICH"] {
            let stream = jetstream.get_stream(name).await.with_context(|| name.to_owned())?;
            let consumers: Vec<_> = stream.consumers().try_collect().await?;
            ensure!(name != "LD_EVENTS" || !consumers.is_empty(), "{name} has no consumer");
            for consumer in &consumers {
                ensure!(consumer.num_pending == 0, "{name}: {} were not taken yet", consumer.num_pending);
                ensure!(consumer.num_ack_pending == 0, "{name}: {} are not settled", consumer.num_ack_pending);
            }
            let state = &stream.cached_info().state;
            let floors: Vec<_> = consumers.iter().map(|c| c.ack_floor.stream_sequence).collect();
            ensure!(
                name == "LD_EVENTS" || state.messages == 0,
                "{name} still holds {} messages from {} to {}, settled up to {floors:?}",
                state.messages,
                state.first_sequence,
                state.last_sequence
            );
        }
        Ok(())
    }
}

/// For `NATS_URL`.
fn nats_url(nodes: &[NatsServer]) -> String {
    nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
}

impl Alive for Rig {
    /// A process that is being disturbed may be dead; no other.
    fn check(&self) -> anyhow::Result<()> {
        for (&(victim, n), busy) in &self.busy {
            let Ok(_left_in_peace) = busy.try_lock() else { continue };
            let Some(process) = self.process(victim, n) else { continue };
            if process.pid().is_none() {
                bail!("{} ended by itself", process.name());
            }
            process.check()?;
        }
        Ok(())
    }
}
