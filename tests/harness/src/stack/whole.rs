//! Everything a delivery passes through, for one test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use rand::Rng as _;

use super::build::{Voice, build};
use super::{Binary, Service, secrets};
use crate::eval::Eval;
use crate::eventually::{Alive, eventually};
use crate::paths;
use crate::sender::{Secrets, Sender};
use crate::servers::mongo::{DATABASE, WORKER};
use crate::servers::{MongoServer, NatsCluster, NatsServer, ReplicaSet, Servers, mongo, nats, shared};

/// How long ingress may take to make its streams.
const START: Duration = Duration::from_secs(30);

/// How long tidying up may take before we leave it to the next run.
const TIDY: Duration = Duration::from_secs(10);

/// What a test wants different.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// A NATS server of its own, to be stopped at will.
    pub own_nats: bool,
    /// A NATS cluster of its own with this many servers; `stack.cluster` then, instead of `stack.nats`.
    pub nats_nodes: usize,
    /// A MongoDB of its own, to be stopped at will.
    pub own_mongo: bool,
    /// More arguments of mongod, which is this test's own then.
    pub mongo_args: &'static [&'static str],
    /// A MongoDB of its own with this root user alone, database `mongo`; the settings name it in parts, as the Learning
    /// Dashboard's deployment does.
    pub mongo_root: Option<(&'static str, &'static str)>,
    /// A replica set of its own with this many members; `stack.set` then, instead of `stack.mongo`.
    pub mongo_members: usize,
    /// Streams that are there before any process starts. Names and subjects are written without the stack's prefix.
    pub streams: Vec<stream::Config>,
    /// As it is meant to be run: own servers, each process as the user that has only its own rights.
    pub least_privilege: bool,
    /// Only ingress: the test is about what reaches the stream.
    pub no_worker: bool,
    /// More settings, for both binaries. `RECONCILE` is off unless it is here.
    pub env: BTreeMap<String, String>,
}

impl Options {
    /// With this setting.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Ingress, worker, LD Eval's stand-in and a sender, on real servers. A database and stream names of
/// its own keep it apart from others on the same servers; they are dropped with it.
#[derive(Debug)]
pub struct Stack {
    /// HTTP in.
    pub ingress: Service,
    /// Documents and notifications out; absent with [`Options::no_worker`].
    pub workers: Vec<Service>,
    /// LD Eval's stand-in.
    pub eval: Eval,
    /// Who sends webhooks to `ingress`.
    pub sender: Sender,
    /// The NATS server, where it is this test's own.
    pub nats: Option<NatsServer>,
    /// The NATS cluster, where there is one.
    pub cluster: Option<NatsCluster>,
    /// The MongoDB, where it is this test's own.
    pub mongo: Option<MongoServer>,
    /// The replica set, where there is one.
    pub set: Option<ReplicaSet>,
    /// The settings of the two binaries; with [`Options::least_privilege`] those of the worker.
    pub env: BTreeMap<String, String>,
    /// The prefix of stream names and subjects.
    pub prefix: String,
    /// The database's name.
    pub database: String,
    /// For `MONGO_URI`.
    pub mongo_uri: String,
    /// For `NATS_URL`.
    pub nats_url: String,
    shared: Option<&'static Servers>,
    dir: PathBuf,
}

impl Stack {
    /// Starts one with the ordinary settings.
    ///
    /// # Errors
    /// When anything of it does not start; with the log's end.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts one.
    ///
    /// # Errors
    /// When anything of it does not start; with the log's end.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        build(Voice::Quiet)?;
        let id = format!("t{:08x}", rand::rng().random::<u32>());
        let dir = paths::scratch(&id)?;
        let secured = options.least_privilege;
        let nats = match (secured, options.own_nats) {
            (true, _) => Some(NatsServer::start_secured(&dir.join("nats")).await?),
            (false, true) => Some(NatsServer::start(&dir.join("nats")).await?),
            (false, false) => None,
        };
        let cluster = match options.nats_nodes {
            0 => None,
            nodes => Some(NatsCluster::start(&dir.join("cluster"), nodes).await?),
        };
        let args = options.mongo_args;
        let mongo = match (secured, options.own_mongo || !args.is_empty()) {
            _ if options.mongo_members > 0 => None,
            (true, _) => Some(MongoServer::start_secured(&dir.join("mongo"), args, "").await?),
            (false, true) => Some(MongoServer::start_with(&dir.join("mongo"), args).await?),
            (false, false) => None,
        };
        let mongo = match options.mongo_root {
            Some(root) => Some(MongoServer::start_with_root(&dir.join("mongo"), root).await?),
            None => mongo,
        };
        let set = match options.mongo_members {
            0 => None,
            members => Some(ReplicaSet::start_with(&dir.join("set"), members, args).await?),
        };
        let own = (nats.is_some() || cluster.is_some()) && (mongo.is_some() || set.is_some());
        let shared = if own { None } else { Some(shared().await?) };
        let url = |nats: &NatsServer| if secured { nats.url_of("operator") } else { nats.url() };
        let nats_url = nats.as_ref().map(url).or_else(|| cluster.as_ref().map(NatsCluster::url));
        let nats_url = nats_url.or_else(|| shared.map(|servers| servers.nats_url.clone()));
        let mongo_uri = mongo.as_ref().map(MongoServer::uri).or_else(|| set.as_ref().map(ReplicaSet::uri));
        let mongo_uri = mongo_uri.or_else(|| shared.map(|servers| servers.mongo_uri.clone()));
        let (nats_url, mongo_uri) = (nats_url.unwrap_or_default(), mongo_uri.unwrap_or_default());
        // The shipped permissions are those of an installation without a prefix.
        let (prefix, database) = match secured {
            true => (String::new(), DATABASE.to_owned()),
            false if options.mongo_root.is_some() => (id, "mongo".to_owned()),
            false => (id.clone(), id),
        };
        make(&nats_url, &prefix, options.streams).await?;
        let eval = Eval::start()?;
        let secrets = Secrets::default();
        let settings = [
            ("NATS_URL", nats_url.clone()),
            ("NATS_PREFIX", prefix.clone()),
            ("MONGO_URI", mongo_uri.clone()),
            ("MONGO_DB", database.clone()),
            ("EVAL_HOST", "127.0.0.1".to_owned()),
            ("EVAL_PORT", eval.port().to_string()),
            ("GITHUB_SECRET", secrets.github.clone()),
            ("TAIGA_SECRET", secrets.taiga.clone()),
            ("EXCEL_SECRET", secrets.excel.clone().unwrap_or_default()),
            // What is searched for secrets when the test is over.
            ("LOG_LEVEL", "DEBUG".to_owned()),
            // Small enough that many streams fit on one server.
            ("LD_EVENTS_MAX_BYTES", (512 * 1024 * 1024).to_string()),
            // A test may invent as many projects as it likes.
            ("NEW_PROJECTS_PER_HOUR", "100000".to_owned()),
            ("LD_DEAD_MAX_BYTES", (64 * 1024 * 1024).to_string()),
        ];
        let mut env: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).into();
        if let (Some((user, password)), Some(mongo)) = (options.mongo_root, &mongo) {
            env.remove("MONGO_URI");
            let parts = [
                ("MONGO_HOST", "127.0.0.1"),
                ("MONGO_PORT", &mongo.port.to_string()),
                ("MONGO_USER", user),
                ("MONGO_PASS", password),
                ("MONGO_AUTHSRC", "admin"),
            ];
            env.extend(parts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        // What a test does not ask for would be asked of the providers in the night.
        env.insert("RECONCILE".to_owned(), "off".to_owned());
        env.extend(options.env);
        let ingress_url = nats.as_ref().filter(|_| secured).map(|nats| ("NATS_URL".to_owned(), nats.url_of("ingress")));
        let ingress =
            Service::start(Binary::Ingress, "ingress", &dir, env.clone().into_iter().chain(ingress_url)).await?;
        if let (true, Some(nats), Some(mongo)) = (secured, &nats, &mongo) {
            env.insert("NATS_URL".to_owned(), nats.url_of("worker"));
            env.insert("MONGO_URI".to_owned(), mongo.uri_of(Some(WORKER)));
        }
        let sender = Sender::new(&ingress.webhooks(), secrets)?;
        let mut stack = Self {
            ingress,
            workers: Vec::new(),
            eval,
            sender,
            nats,
            cluster,
            mongo,
            set,
            env,
            prefix,
            database,
            mongo_uri,
            nats_url,
            shared,
            dir,
        };
        // Ingress listens before it has reached NATS; a test begins when there is a stream to look into.
        let stream = async || stack.stream("LD_EVENTS").await.map(|_| ());
        stack.eventually("ingress has made its streams", START, stream).await?;
        if !options.no_worker {
            stack.add_worker().await?;
        }
        Ok(stack)
    }

    /// Starts one worker more.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn add_worker(&mut self) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len());
        self.workers.push(Service::start(Binary::Worker, &name, &self.dir, self.env.clone()).await?);
        Ok(())
    }

    /// The first worker.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn worker(&self) -> &Service {
        self.workers.first().expect("this stack has a worker")
    }

    /// As [`eventually`], and at once an error when a process of the stack has died.
    ///
    /// # Errors
    /// When it is not so in time.
    pub async fn eventually<T>(
        &self,
        name: &str,
        within: Duration,
        fact: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        eventually(name, within, self, fact).await
    }
}

impl Stack {
    /// All secrets in the settings of ingress and the workers.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut all = secrets::of(&self.env);
        // With least privilege ingress has another password than the workers, whose settings these are.
        all.extend(self.nats.iter().flat_map(|_| nats::USERS.map(|(_, password, _)| password.to_owned())));
        all
    }

    /// Whatever the test was about, no log may hold a secret.
    fn keep_secrets(&self) {
        let secrets = self.secrets();
        let services = self.workers.iter().chain([&self.ingress]);
        let leaks: Vec<_> =
            services.flat_map(|service| secrets::in_log(&secrets, service.process.log().path())).collect();
        // A second panic would end the whole test run.
        if !std::thread::panicking() {
            assert!(leaks.is_empty(), "secrets in the logs:\n{}", leaks.join("\n"));
        }
    }
}

impl Alive for Stack {
    fn check(&self) -> anyhow::Result<()> {
        self.shared.map_or(Ok(()), Alive::check)?;
        self.nats.as_ref().map_or(Ok(()), Alive::check)?;
        self.cluster.as_ref().map_or(Ok(()), Alive::check)?;
        self.mongo.as_ref().map_or(Ok(()), Alive::check)?;
        self.set.as_ref().map_or(Ok(()), Alive::check)?;
        self.ingress.check()?;
        self.workers.as_slice().check()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_log(&self.ingress);
            self.workers.iter().for_each(show_log);
        }
        for service in self.workers.iter().chain([&self.ingress]) {
            // A process that cannot be killed ends with this one.
            let _ = service.process.kill();
        }
        self.keep_secrets();
        // What is on servers of our own goes with them.
        let nats = (self.nats.is_none() && self.cluster.is_none())
            .then(|| (self.nats_url.clone(), format!("{}_", self.prefix)));
        let mongo =
            (self.mongo.is_none() && self.set.is_none()).then(|| (self.mongo_uri.clone(), self.database.clone()));
        // Drop may run within a runtime, which would not let us wait here; another thread may.
        let tidied = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(TIDY, tidy(nats, mongo)).await? })
        });
        // Servers under target/ are thrown away as a whole later; only given ones would keep this.
        let _ = tidied.join();
    }
}

/// Makes streams before anybody else does.
async fn make(nats_url: &str, prefix: &str, streams: Vec<stream::Config>) -> anyhow::Result<()> {
    if streams.is_empty() {
        return Ok(());
    }
    let jetstream = jetstream::new(nats::connect(nats_url).await?);
    for mut config in streams {
        if !prefix.is_empty() {
            config.name = format!("{prefix}_{}", config.name);
            config.subjects = config.subjects.iter().map(|subject| format!("{prefix}.{subject}")).collect();
        }
        jetstream.create_stream(config).await?;
    }
    Ok(())
}

/// The end of a service's log, beside the test's own message.
#[expect(clippy::print_stderr, reason = "cargo test shows it with the failed test")]
fn show_log(service: &Service) {
    eprintln!("--- {}:\n{}", service.process.name(), service.process.log().tail());
}

async fn tidy(nats: Option<(String, String)>, database: Option<(String, String)>) -> anyhow::Result<()> {
    if let Some((url, prefix)) = nats {
        use futures::TryStreamExt as _;
        let jetstream = async_nats::jetstream::new(async_nats::connect(url).await?);
        let names: Vec<String> = jetstream.stream_names().try_collect().await?;
        for name in names.iter().filter(|name| name.starts_with(&prefix)) {
            jetstream.delete_stream(name).await?;
        }
    }
    if let Some((uri, name)) = database {
        mongo::connect(&uri).await?.database(&name).drop().await?;
    }
    Ok(())
}
