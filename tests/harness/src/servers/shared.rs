//! One NATS server and one MongoDB for all tests of a process that leave servers alone. Each test keeps
//! to a database and stream names of its own.

use anyhow::anyhow;
use tokio::sync::OnceCell;

use super::{MongoServer, NatsServer, mongo};
use crate::eventually::Alive;
use crate::paths;

/// The servers; those that we started ourselves die with this process.
#[derive(Debug)]
pub struct Servers {
    /// For `NATS_URL`.
    pub nats_url: String,
    /// For `MONGO_URI`.
    pub mongo_uri: String,
    nats: Option<NatsServer>,
    mongo: Option<MongoServer>,
}

/// The servers, started by the first call, or those that `NATS_URL` and `MONGO_URI` name.
///
/// # Errors
/// When one cannot be had. Every call gets the same error; none tries again.
pub async fn shared() -> anyhow::Result<&'static Servers> {
    static SHARED: OnceCell<Result<Servers, String>> = OnceCell::const_new();
    let servers = SHARED.get_or_init(async || Servers::start().await.map_err(|error| format!("{error:#}"))).await;
    servers.as_ref().map_err(|reason| anyhow!("{reason}"))
}

impl Servers {
    async fn start() -> anyhow::Result<Self> {
        // Both at once: mongod takes a second or two.
        let (nats, mongo) = tokio::try_join!(
            async {
                match given("NATS_URL") {
                    Some(url) => anyhow::Ok((url, None)),
                    None => {
                        let server = NatsServer::start(&paths::scratch("shared-nats")?).await?;
                        Ok((server.url(), Some(server)))
                    }
                }
            },
            async {
                match given("MONGO_URI") {
                    Some(uri) => {
                        mongo::connect(&uri).await?;
                        anyhow::Ok((uri, None))
                    }
                    None => {
                        let server = MongoServer::start(&paths::scratch("shared-mongo")?).await?;
                        Ok((server.uri(), Some(server)))
                    }
                }
            },
        )?;
        Ok(Self { nats_url: nats.0, nats: nats.1, mongo_uri: mongo.0, mongo: mongo.1 })
    }
}

/// A server that runs already, if the environment names one.
#[expect(clippy::disallowed_methods, reason = "the harness is no part of the product and has no shared::config")]
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Alive for Servers {
    fn check(&self) -> anyhow::Result<()> {
        self.nats.as_ref().map_or(Ok(()), Alive::check)?;
        self.mongo.as_ref().map_or(Ok(()), Alive::check)
    }
}
