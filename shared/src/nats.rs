//! The connection to NATS: opened now or later, renewed without end, with throttled log lines.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};

use crate::config::NatsArgs;
use crate::retry::Policy;
use crate::throttle::Throttle;

/// Reconnects are spread, so that not all processes connect to a restarted server at the same instant.
const RECONNECT: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(2));

/// How often an outage is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Why no client could be made. An unreachable server is not among the reasons: the client keeps trying.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `NATS_URL` cannot be read.
    #[error("NATS_URL is not a list of nats:// or tls:// addresses: {0}")]
    Url(#[from] UrlError),
    /// `NATS_CREDS` cannot be read.
    #[error("NATS_CREDS: cannot read {path}: {error}")]
    Creds {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A client certificate without its key, or the other way round.
    #[error("NATS_CERT and NATS_KEY belong together: set both or neither")]
    Half,
    /// The client refused its options.
    #[error("cannot set up the NATS client: {0}")]
    Setup(#[from] async_nats::ConnectError),
    /// A server answers, and refuses the login.
    #[error("NATS refuses the login ({0}): compare user and password in NATS_URL (or NATS_CREDS) with nats-server's")]
    Refused(String),
    /// No server answers.
    #[error("NATS does not answer ({0}): check NATS_URL, and that nats-server is up")]
    Away(String),
}

/// Connects to `NATS_URL` (several addresses are separated by commas) and keeps the connection.
///
/// Returns at once even when no server answers; requests then fail until one does.
///
/// # Errors
/// When the settings cannot work; see [`ConnectError`].
pub async fn connect(args: &NatsArgs, name: &str) -> Result<Client, ConnectError> {
    let (addrs, options) = options(args, name).await?;
    Ok(options.retry_on_initial_connect().connect(addrs).await?)
}

/// Connects as [`connect`] does, but fails when no server answers now: for commands.
///
/// # Errors
/// When no server of the list takes the connection, and when the settings cannot work; see [`ConnectError`].
pub async fn connect_now(args: &NatsArgs, name: &str) -> Result<Client, ConnectError> {
    let (addrs, options) = options(args, name).await?;
    options.connect(addrs).await.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ConnectError::Refused(error.to_string())
        }
        _ => ConnectError::Away(error.to_string()),
    })
}

/// The options that `connect` and `connect_now` share.
async fn options(args: &NatsArgs, name: &str) -> Result<(Vec<ServerAddr>, ConnectOptions), ConnectError> {
    let (addrs, login) = addresses(&args.nats_url)?;
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(inbox(name))
        .max_reconnects(None)
        .connection_timeout(Duration::from_secs(3))
        // A frozen server or a dead route is noticed within two of these.
        .ping_interval(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(5)))
        .reconnect_delay_callback(|attempt| RECONNECT.delay_for(u32::try_from(attempt).unwrap_or(u32::MAX)))
        .event_callback({
            let lines = Arc::new(Lines::new());
            move |event| log_event(lines.clone(), event)
        });
    options = match login {
        Some(Login::Password { user, password }) => options.user_and_password(user, password),
        Some(Login::Token(token)) => options.token(token),
        None => options,
    };
    if let Some(path) = &args.nats_creds {
        options =
            options.credentials_file(path).await.map_err(|error| ConnectError::Creds { path: path.clone(), error })?;
    }
    if let Some(path) = &args.nats_ca {
        options = options.add_root_certificates(path.clone());
    }
    match (&args.nats_cert, &args.nats_key) {
        (Some(cert), Some(key)) => options = options.add_client_certificate(cert.clone(), key.clone()),
        (None, None) => {}
        _ => return Err(ConnectError::Half),
    }
    Ok((addrs, options))
}

/// User and password, or a token.
#[derive(PartialEq, Eq)]
enum Login {
    Password { user: String, password: String },
    Token(String),
}

/// The addresses of `NATS_URL`, without user and password: the client would neither use them nor keep them out of its
/// logs.
///
/// # Errors
/// Says what cannot be read; never repeats a password.
fn addresses(urls: &str) -> Result<(Vec<ServerAddr>, Option<Login>), UrlError> {
    let mut addrs = Vec::new();
    let mut login = None;
    for (at, url) in urls.split(',').map(str::trim).enumerate() {
        let (scheme, rest) = url.split_once("://").map_or(("nats", url), |(scheme, rest)| (scheme, rest));
        let (named, host) = rest.rsplit_once('@').map_or((None, rest), |(named, host)| (Some(named), host));
        if host.is_empty() {
            return Err(UrlError::NoHost(at + 1));
        }
        let addr = format!("{scheme}://{host}").parse::<ServerAddr>();
        addrs.push(addr.map_err(|error| UrlError::Address { number: at + 1, error: error.to_string() })?);
        let Some(named) = named else { continue };
        let this = match named.split_once(':') {
            Some((user, password)) => Login::Password { user: decode(user)?, password: decode(password)? },
            None => Login::Token(decode(named)?),
        };
        match &login {
            Some(other) if *other != this => {
                return Err(UrlError::OtherLogin(at + 1));
            }
            _ => login = Some(this),
        }
    }
    Ok((addrs, login))
}

fn decode(text: &str) -> Result<String, UrlError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| UrlError::LoginNotUtf8)
}

/// What is wrong with `NATS_URL`. Never repeats a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing where the host should be.
    #[error("address {0} names no host")]
    NoHost(usize),
    /// The client cannot read it.
    #[error("address {number}: {error}")]
    Address {
        /// The position of the address in the list, from 1.
        number: usize,
        /// The client's error.
        error: String,
    },
    /// All servers get the same login.
    #[error("address {0} names another user or password than one before it")]
    OtherLogin(usize),
    /// A user or password is no text.
    #[error("its user or password is not UTF-8 when percent-decoded")]
    LoginNotUtf8,
}

/// Checks that `NATS_URL` can be read, without connecting.
///
/// # Errors
/// Says what cannot be read; never repeats a password.
pub fn check_url(urls: &str) -> Result<(), UrlError> {
    addresses(urls).map(drop)
}

/// Prefix of the subjects for replies: one each for ingress and worker, so that the server's permissions can keep
/// either from reading the other's. Both are below the usual `_INBOX.>`.
fn inbox(name: &str) -> &'static str {
    if name.starts_with("ingress") { "_INBOX.ingress" } else { "_INBOX.worker" }
}

/// The JetStream context of a client, with a timeout for API calls.
#[must_use]
pub fn jetstream(client: Client) -> Context {
    jetstream::ContextBuilder::new().timeout(Duration::from_secs(5)).build(client)
}

/// Why this process has no connection to NATS, or `None` while it has one. A process has one connection.
#[must_use]
pub fn trouble() -> Option<String> {
    TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

static TROUBLE: Mutex<Option<String>> = Mutex::new(None);

/// One line per interval and kind, however often the connection is lost.
#[derive(Debug)]
struct Lines {
    connected: Throttle,
    lost: Throttle,
    failed: Throttle,
    other: Throttle,
}

impl Lines {
    fn new() -> Self {
        let each = || Throttle::new(LOG_INTERVAL);
        Self { connected: each(), lost: each(), failed: each(), other: each() }
    }
}

async fn log_event(lines: Arc<Lines>, event: Event) {
    let trouble = |text: Option<String>| *TROUBLE.lock().unwrap_or_else(PoisonError::into_inner) = text;
    match event {
        Event::Connected => {
            trouble(None);
            if let Some(held_back) = lines.connected.open() {
                tracing::info!(held_back, "connected to NATS");
            }
        }
        Event::Disconnected => {
            if let Some(held_back) = lines.lost.open() {
                tracing::warn!(held_back, "lost the connection to NATS; reconnecting");
            }
        }
        // Every failed attempt to connect is one of these.
        Event::ClientError(error) => {
            let problem = problem(&error.to_string());
            if let Some(held_back) = lines.failed.open() {
                tracing::warn!(held_back, "{problem}; trying again");
            }
            trouble(Some(problem));
        }
        Event::SlowConsumer(_) | Event::ServerError(_) => {
            if let Some(held_back) = lines.other.open() {
                tracing::warn!(%event, held_back, "NATS: connection event");
            }
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            if let Some(held_back) = lines.other.open() {
                tracing::info!(%event, held_back, "NATS: connection event");
            }
        }
    }
}

/// Why an attempt to connect failed, and what to do.
fn problem(error: &str) -> String {
    let is_login = error.to_lowercase().contains("auth");
    match is_login {
        true => ConnectError::Refused(error.to_owned()).to_string(),
        false => ConnectError::Away(error.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts with ports, and the login.
    type Read = (Vec<String>, Option<(String, String)>);

    fn read(urls: &str) -> Result<Read, UrlError> {
        addresses(urls).map(|(addrs, login)| {
            let login = login.map(|login| match login {
                Login::Password { user, password } => (user, password),
                Login::Token(token) => (String::new(), token),
            });
            (addrs.iter().map(|addr| format!("{}:{}", addr.host(), addr.port())).collect(), login)
        })
    }

    #[test]
    fn an_address_may_name_a_user_and_its_password() {
        let two = vec!["a:4222".to_owned(), "b:4223".to_owned()];
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("a,nats://b:4223"), Ok((two.clone(), None)));
        assert_eq!(read("nats://u:p%40ss%2F@a:4222, tls://b:4223"), Ok((two.clone(), login("u", "p@ss/"))));
        assert_eq!(read("nats://u:p@a,nats://u:p@b:4223"), Ok((two, login("u", "p"))));
        assert_eq!(read("nats://t0ken@a").map(|(_, login)| login), Ok(login("", "t0ken")));
        assert_eq!(read("nats://u:p@ss@a").map(|(_, login)| login), Ok(login("u", "p@ss")));
    }

    #[test]
    fn a_refused_login_is_told_from_a_server_that_is_away() {
        assert!(problem("authorization violation: nats: authorization violation").contains("NATS_CREDS"));
        assert!(problem("IO error: Connection refused (os error 111)").contains("that nats-server is up"));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for urls in ["nats://u:hush@a,nats://u:hush2@b", "http://u:hush@a", "nats://u:hush@", "nats://u:%ffhush@a", ""]
        {
            let error = read(urls).expect_err(urls).to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
