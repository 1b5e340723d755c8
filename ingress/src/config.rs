//! The settings of `ingress run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use shared::config::{CredentialsArgs, LogArgs, NatsArgs, ShutdownArgs, SignatureArgs, StreamArgs, TraceArgs};

use crate::client::TrustedProxies;
use crate::webhook::access::UnsignedSheets;

/// The default of `ADMIN_ADDR`.
pub const DEFAULT_ADMIN_ADDR: &str = "127.0.0.1:5080";

#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Address on which webhooks are received; port 0 takes a free one, which is logged.
    #[arg(long, env = "BIND_ADDR", default_value = "0.0.0.0:5000")]
    pub bind_addr: SocketAddr,
    /// PEM file of the certificate (and its chain) with which webhooks are received over TLS; needs TLS_KEY too. A
    /// renewed one is taken up within 5 s. Without both, webhooks come over plain HTTP.
    #[arg(long, env = "TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[arg(long, env = "TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics; not for the internet.
    #[arg(long, env = "ADMIN_ADDR", default_value = DEFAULT_ADMIN_ADDR)]
    pub admin_addr: SocketAddr,
    /// How many connections may be open; further ones are answered 503. One client gets half of them at most. Keep below the
    /// limit of open files.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "880", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,
    /// Proxies in front, whose word about their clients counts (the PROXY protocol, X-Forwarded-For, Forwarded): addresses
    /// or networks, separated by commas, such as 10.0.0.0/8. One client may hold only a share of connections and memory;
    /// without this, all clients behind a proxy are one.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    pub trusted_proxies: TrustedProxies,
    /// How many webhooks may be in flight to JetStream; further ones wait briefly, then get 503.
    #[arg(long, env = "MAX_REQUESTS", default_value = "512", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_requests: u32,
    /// How many MiB all bodies together may take; further ones wait briefly, then get 503. With what is made of them (decoded,
    /// compressed) it is twice as much at most.
    #[arg(long, env = "MAX_BODY_MEMORY_MIB", default_value = "128", value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub max_body_memory_mib: u32,
    #[command(flatten)]
    pub nats: NatsArgs,
    #[command(flatten)]
    pub streams: StreamArgs,
    #[command(flatten)]
    pub signatures: SignatureArgs,
    /// Whose unsigned sheets are accepted where no secret is set for Google Sheets: listed (teams of the credentials file),
    /// any (every project: anyone who knows a project's id can write for it), or off.
    #[arg(
        long,
        env = "EXCEL_UNSIGNED",
        default_value = "listed",
        hide_possible_values = true,
        help_heading = "Signatures"
    )]
    pub excel_unsigned: UnsignedSheets,
    #[command(flatten)]
    pub credentials: CredentialsArgs,
    #[command(flatten)]
    pub logs: LogArgs,
    #[command(flatten)]
    pub traces: TraceArgs,
    #[command(flatten)]
    pub shutdown: ShutdownArgs,
}
