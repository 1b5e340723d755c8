//! The plain ingress that ours is compared with: what anyone would write first. One HMAC, publish, await the
//! acknowledgement, answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use harness::process::{Process, Recipe};
use harness::servers::ports;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};

/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);

/// What it is started with.
#[derive(Debug, Clone)]
struct Settings {
    jetstream: jetstream::Context,
    subject: String,
    secret: String,
}

/// Serves until it is killed; `settings` are its port, NATS's URL, the subject and the secret.
pub(crate) async fn serve(settings: &[String]) -> anyhow::Result<()> {
    let [port, nats, subject, secret] = settings else { anyhow::bail!("--reference PORT NATS SUBJECT SECRET") };
    let servers = nats.split(',').map(str::parse).collect::<Result<Vec<async_nats::ServerAddr>, _>>()?;
    let jetstream = jetstream::new(async_nats::connect(servers).await?);
    let state = Settings { jetstream, subject: subject.clone(), secret: secret.clone() };
    let app = Router::new()
        .route("/webhook/github", post(receive))
        .layer(DefaultBodyLimit::max(25 * 1024 * 1024))
        .with_state(state);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse::<u16>()?)).await?;
    Ok(axum::serve(listener, app).await?)
}

async fn receive(State(settings): State<Settings>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    match publish(&settings, &headers, body).await {
        Ok(delivery) => (StatusCode::OK, format!(r#"{{"status":"ok","delivery":"{delivery}"}}"#)),
        Err(status) => (status, r#"{"error":"see the log"}"#.to_owned()),
    }
}

async fn publish(settings: &Settings, headers: &HeaderMap, body: Bytes) -> Result<String, StatusCode> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(StatusCode::FORBIDDEN);
    let signature = text("x-hub-signature-256")?.strip_prefix("sha256=").ok_or(StatusCode::FORBIDDEN)?;
    let signature = hex::decode(signature).map_err(|_| StatusCode::FORBIDDEN)?;
    let mac = <Hmac<Sha256>>::new_from_slice(settings.secret.as_bytes()).map_err(|_| StatusCode::FORBIDDEN)?;
    mac.chain_update(&body).verify_slice(&signature).map_err(|_| StatusCode::FORBIDDEN)?;
    let delivery = text("x-github-delivery")?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", delivery);
    let sent = settings.jetstream.publish_with_headers(settings.subject.clone(), headers, body).await;
    let acknowledged = sent.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?.await;
    acknowledged.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(delivery.to_owned())
}

/// A running one.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Reference {
    /// Starts it as a process of its own, this executable again.
    pub(crate) async fn start(nats: &str, subject: &str, secret: &str, dir: &Path) -> anyhow::Result<Self> {
        let port = ports::free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let args = ["--reference", &port.to_string(), nats, subject, secret].map(Into::into);
        let recipe = Recipe {
            name: "reference".to_owned(),
            program: std::env::current_exe()?,
            args: args.into(),
            env: Vec::new(),
            dir: dir.to_owned(),
        };
        let process = Process::start(recipe)?;
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            anyhow::ensure!(begin.elapsed() < START, "the reference does not listen: {}", process.log().tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { process, address })
    }

    /// Ends it.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.process.kill().context("cannot end the reference")
    }
}
