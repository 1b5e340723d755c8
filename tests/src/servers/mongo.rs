//! A `mongod`, alone or as a replica set of several.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bson::{Document, doc};

use super::{install, ports};
use crate::eventually::{Alive, eventually};
use crate::process::{Process, Recipe};

/// How long a start may take, with recovery after a kill.
const START: Duration = Duration::from_secs(60);

/// How long an election may take.
const ELECTION: Duration = Duration::from_secs(60);

/// The name of every replica set of ours.
const SET: &str = "rs0";

/// One `mongod` of ours.
#[derive(Debug)]
pub struct MongoServer {
    /// For killing, freezing and starting again (on the same port, with the same data).
    pub process: Process,
    /// Where it listens.
    pub port: u16,
}

impl MongoServer {
    /// Starts one that stands alone, on a free port, with its data in `dir`.
    ///
    /// # Errors
    /// When there is none to be had, or it does not come up.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let server = Self::launch("mongod", dir, ports::free_port()?, None)?;
        server.ready().await?;
        Ok(server)
    }

    fn launch(name: &str, dir: &Path, port: u16, set: Option<&str>) -> anyhow::Result<Self> {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let mut args: Vec<OsString> = vec!["--dbpath".into(), data.into(), "--port".into(), port.to_string().into()];
        args.extend(["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"].map(OsString::from));
        // Many run at once on a developer's machine, and none holds much.
        args.extend(["--wiredTigerCacheSizeGB", "0.25"].map(OsString::from));
        args.extend(["--setParameter", "diagnosticDataCollectionEnabled=false"].map(OsString::from));
        args.extend(set.into_iter().flat_map(|set| ["--replSet", set]).map(OsString::from));
        let recipe = Recipe {
            name: name.to_owned(),
            program: install::program(&install::MONGO)?,
            args,
            env: Vec::new(),
            dir: dir.to_owned(),
        };
        Ok(Self { process: Process::start(recipe)?, port })
    }

    /// Its address for `MONGO_URI`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}", self.port)
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
        connect(&format!("{}/?directConnection=true", self.uri())).await
    }
}

impl Alive for MongoServer {
    fn check(&self) -> anyhow::Result<()> {
        self.process.check()
    }
}

/// A client that gives up on a server that is not there sooner than the driver's 30 s.
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
        let launch = |n: usize| {
            MongoServer::launch(
                &format!("mongod-{n}"),
                &dir.join(format!("member-{n}")),
                ports::free_port()?,
                Some(SET),
            )
        };
        let set = Self { members: (0..members).map(launch).collect::<anyhow::Result<_>>()? };
        for member in &set.members {
            member.ready().await?;
        }
        let first = set.members.first().context("a replica set needs a member")?;
        let hosts = (0_i32..).zip(&set.members);
        let hosts: Vec<_> = hosts.map(|(id, m)| doc! { "_id": id, "host": format!("127.0.0.1:{}", m.port) }).collect();
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
