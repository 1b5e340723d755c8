//! A `mongod`, alone or as a replica set of several.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bson::{Document, doc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{install, ports};
use crate::eventually::{Alive, eventually};
use crate::paths;
use crate::process::{Process, Recipe};

/// How long a start may take, with recovery after a kill.
const START: Duration = Duration::from_secs(60);

/// How long an election may take.
const ELECTION: Duration = Duration::from_secs(60);

/// The name of every replica set.
const SET: &str = "rs0";

/// A `mongod` that we started.
#[derive(Debug)]
pub struct MongoServer {
    /// For killing, freezing and starting again (on the same port, with the same data).
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    /// What its addresses say after the question mark, such as where certificates are.
    query: String,
    /// The administrator's login, of one that asks for passwords.
    admin: Option<(&'static str, &'static str)>,
}

/// The administrator of a `mongod` that asks for passwords.
const ADMIN: (&str, &str) = ("admin", "admin-mongo-password");

/// The worker's user there, with the role of `deploy/mongo/role.json` and nothing else.
pub const WORKER: (&str, &str) = ("ld-connect", "worker-mongo-password");

/// The database that `deploy/mongo/role.json` is about.
pub const DATABASE: &str = "event_dashboard";

/// mongod's flag for WiredTiger's settings.
const ENGINE: &str = "--wiredTigerEngineConfigString";

/// The journal as mongod has it by default, for measurements: tests have a small one.
pub const FULL_JOURNAL: [&str; 2] = [ENGINE, "log=(file_max=100MB,prealloc=true)"];

impl MongoServer {
    /// Starts one that stands alone, on a free port, with its data in `dir`.
    ///
    /// # Errors
    /// When there is none to be had, or it does not come up.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[]).await
    }

    /// Starts one with more arguments, such as `--nojournal`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(dir: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let server = Self::launch("mongod", dir, ports::free_port()?, args)?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts one that asks for passwords, and makes the worker's user with the role that we ship. `args` are more
    /// arguments of mongod, `query` what an address then needs after its question mark.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the role or a user cannot be made.
    pub async fn start_secured(dir: &Path, args: &[&str], query: &str) -> anyhow::Result<Self> {
        let args = [&["--auth"], args].concat();
        let mut server = Self::launch("mongod", dir, ports::free_port()?, &args)?;
        query.clone_into(&mut server.query);
        server.ready().await?;
        // Without users, a client of the same machine may create the first one and nothing else.
        let first = doc! { "createUser": ADMIN.0, "pwd": ADMIN.1, "roles": ["root"] };
        server.direct().await?.database("admin").run_command(first).await?;
        server.admin = Some(ADMIN);
        let role = std::fs::read_to_string(paths::workspace().join("deploy/mongo/role.json"))?;
        let role: Document = serde_json::from_str(&role)?;
        let user = doc! { "createUser": WORKER.0, "pwd": WORKER.1, "roles": ["ldConnectWorker"] };
        let admin = server.direct().await?.database("admin");
        admin.run_command(role).await?;
        admin.run_command(user).await?;
        Ok(server)
    }

    /// Starts one that asks for passwords, with nothing but this `root` user: MongoDB as its image starts it.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the user cannot be made.
    pub async fn start_with_root(dir: &Path, root: (&'static str, &'static str)) -> anyhow::Result<Self> {
        let mut server = Self::launch("mongod", dir, ports::free_port()?, &["--auth"])?;
        server.ready().await?;
        let first = doc! { "createUser": root.0, "pwd": root.1, "roles": ["root"] };
        server.direct().await?.database("admin").run_command(first).await?;
        server.admin = Some(root);
        Ok(server)
    }

    fn launch(name: &str, dir: &Path, port: u16, more: &[&str]) -> anyhow::Result<Self> {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let mut args: Vec<OsString> = vec!["--dbpath".into(), data.into(), "--port".into(), port.to_string().into()];
        args.extend(["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"].map(OsString::from));
        // Many run at once on a developer's machine, and none holds much.
        args.extend(["--wiredTigerCacheSizeGB", "0.25"].map(OsString::from));
        args.extend(["--setParameter", "diagnosticDataCollectionEnabled=false"].map(OsString::from));
        if !more.contains(&ENGINE) {
            // Otherwise each makes 300 MB of journal at its start.
            args.extend([ENGINE, "log=(file_max=8MB,prealloc=false)"].map(OsString::from));
        }
        args.extend(more.iter().map(OsString::from));
        let recipe = Recipe {
            name: name.to_owned(),
            program: install::program(&install::MONGO)?,
            args,
            env: Vec::new(),
            dir: dir.to_owned(),
        };
        Ok(Self { process: Process::start(recipe)?, port, query: String::new(), admin: None })
    }

    /// Its address for `MONGO_URI`; of one that asks for passwords as its administrator.
    #[must_use]
    pub fn uri(&self) -> String {
        match self.admin {
            None if self.query.is_empty() => format!("mongodb://127.0.0.1:{}", self.port),
            admin => self.uri_of(admin),
        }
    }

    /// Its address for this user.
    #[must_use]
    pub fn uri_of(&self, user: Option<(&str, &str)>) -> String {
        let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let login = user.map(|(name, password)| match plain(password) {
            // Readable in a log, and searched for as it is.
            true => format!("{name}:{password}@"),
            false => format!("{}:{}@", escaped(name), escaped(password)),
        });
        let login = login.unwrap_or_default();
        let source = if user.is_some() { "admin" } else { "" };
        let mut options = vec![format!("authSource={source}"), self.query.clone()];
        options.retain(|option| !option.is_empty() && option != "authSource=");
        let mark = if options.is_empty() { "" } else { "?" };
        format!("mongodb://{login}127.0.0.1:{}/{mark}{}", self.port, options.join("&"))
    }

    /// Starts it again after it was ended, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.ready().await
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let client = self.direct().await?;
        eventually("mongod answers", START, &self.process, async || {
            client.database("admin").run_command(doc! { "ping": 1 }).await?;
            Ok(())
        })
        .await
    }

    /// A client of this member alone, whatever its part in a set.
    async fn direct(&self) -> anyhow::Result<mongodb::Client> {
        let uri = self.uri_of(self.admin);
        connect(&format!("{uri}{}directConnection=true", if uri.contains('?') { "&" } else { "?" })).await
    }
}

impl Alive for MongoServer {
    fn check(&self) -> anyhow::Result<()> {
        self.process.check()
    }
}

/// A client with shorter timeouts than the driver's 30 s.
///
/// # Errors
/// When the address cannot be read.
pub async fn connect(uri: &str) -> anyhow::Result<mongodb::Client> {
    let mut options = mongodb::options::ClientOptions::parse(uri).await?;
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.connect_timeout = Some(Duration::from_secs(2));
    Ok(mongodb::Client::with_options(options)?)
}

/// Several `mongod` that elect a primary.
#[derive(Debug)]
pub struct ReplicaSet {
    /// The members, in no order of rank.
    pub members: Vec<MongoServer>,
}

impl ReplicaSet {
    /// Starts a set and waits for its first primary.
    ///
    /// # Errors
    /// When a member does not come up or none is elected.
    pub async fn start(dir: &Path, members: usize) -> anyhow::Result<Self> {
        Self::start_with(dir, members, &[]).await
    }

    /// Starts a set of servers with more arguments.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(dir: &Path, members: usize, args: &[&str]) -> anyhow::Result<Self> {
        Self::start_set(dir, members, args, Document::new()).await
    }

    /// Starts a primary and a member that clients may read from, and that applies nothing from now on. (Of a member with a
    /// delay the others tell clients nothing.)
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_lagging(dir: &Path) -> anyhow::Result<Self> {
        let tests = ["--setParameter", "enableTestCommands=1"];
        let set = Self::start_set(dir, 2, &tests, doc! { "priority": 0, "votes": 0 }).await?;
        let second = set.members.get(1).context("the set has two members")?;
        eventually("the second member can be read", ELECTION, &set, async || {
            let hello = second.direct().await?.database("admin").run_command(doc! { "hello": 1 }).await?;
            ensure!(hello.get_bool("secondary").unwrap_or(false), "{hello}");
            Ok(())
        })
        .await?;
        let stop = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" };
        second.direct().await?.database("admin").run_command(stop).await?;
        Ok(set)
    }

    /// `others` is what members after the first are told.
    async fn start_set(dir: &Path, members: usize, args: &[&str], others: Document) -> anyhow::Result<Self> {
        let args = [&["--replSet", SET], args].concat();
        let launch = |n: usize| {
            MongoServer::launch(&format!("mongod-{n}"), &dir.join(format!("member-{n}")), ports::free_port()?, &args)
        };
        let set = Self { members: (0..members).map(launch).collect::<anyhow::Result<_>>()? };
        for member in &set.members {
            member.ready().await?;
        }
        let first = set.members.first().context("a replica set needs a member")?;
        let hosts = (0_i32..).zip(&set.members);
        let member = |(id, m): (i32, &MongoServer)| {
            let mut member = doc! { "_id": id, "host": format!("127.0.0.1:{}", m.port) };
            member.extend(if id > 0 { others.clone() } else { Document::new() });
            member
        };
        let hosts: Vec<_> = hosts.map(member).collect();
        // A failover within a test should take a second or two, not the ten that suit a data centre.
        let settings = doc! { "electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500 };
        let config = doc! { "_id": SET, "members": hosts, "settings": settings };
        first.direct().await?.database("admin").run_command(doc! { "replSetInitiate": config }).await?;
        set.primary().await?;
        Ok(set)
    }

    /// The set's address for `MONGO_URI`.
    #[must_use]
    pub fn uri(&self) -> String {
        let hosts: Vec<_> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        format!("mongodb://{}/?replicaSet={SET}", hosts.join(","))
    }

    /// The member that is primary now, once there is one.
    ///
    /// # Errors
    /// When none is elected in time.
    pub async fn primary(&self) -> anyhow::Result<&MongoServer> {
        let port = eventually("the replica set has a primary", ELECTION, self, async || {
            for member in self.members.iter().filter(|member| member.process.pid().is_some()) {
                let hello = async {
                    let client = member.direct().await?;
                    anyhow::Ok(client.database("admin").run_command(doc! { "hello": 1 }).await?)
                };
                // A member that is frozen or just starting says nothing; another may be primary.
                if hello.await.is_ok_and(|hello: Document| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Ok(member.port);
                }
            }
            bail!("no member is primary")
        })
        .await?;
        self.members.iter().find(|member| member.port == port).context("the primary is a member")
    }
}

impl Alive for ReplicaSet {
    fn check(&self) -> anyhow::Result<()> {
        self.members.as_slice().check()
    }
}
