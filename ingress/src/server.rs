//! The accept loop: connections, their number, their time limits and their end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use shared::telemetry::Throttle;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{CROWD_PATIENCE, HANDSHAKE_TIMEOUT, MAX_AGE, MAX_HEAD_BYTES, MAX_HEADERS, READ_BUFFER};
use crate::meters;
use crate::pulse::{Pulse, Watched};

/// How many connections more than the limit are told so? Further ones are dropped.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// How often is a connection's time looked at?
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long does accepting pause when the system gives no more sockets?
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often is it told that it does not?
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What a connection too many is answered.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 57\r\n\r\n{\"error\":\"Too many connections at once, try again later\"}";

/// The webhook server, bound and not yet running.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    tls: Option<Arc<ServerConfig>>,
}

impl Server {
    /// A server for a bound listener.
    #[must_use]
    pub fn new(listener: TcpListener, router: Router, max_connections: usize) -> Self {
        Self { listener, router, max_connections, tls: None }
    }

    /// The same, speaking TLS if there is something to speak it with.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `soft`, then stops accepting and finishes what is in flight; at `hard` it drops the rest.
    ///
    /// # Errors
    /// Never: a failing accept is waited out. The type is what [`shared::lifecycle`] takes.
    pub async fn run(self, soft: CancellationToken, hard: CancellationToken) -> Result<(), Infallible> {
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(self.max_connections));
        let benches = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE));
        let told = Throttle::new(TELL_EVERY);
        loop {
            let accepted = tokio::select! {
                biased;
                () = soft.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if let Some(more) = told.open() {
                        tracing::warn!(%error, more, "cannot accept a connection; raise the limit of open files or lower MAX_CONNECTIONS");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (router, tls, soft, hard) = (self.router.clone(), self.tls.clone(), soft.clone(), hard.clone());
            if let Ok(slot) = slots.clone().try_acquire_owned() {
                tasks.spawn(begin(stream, tls, router, slot, soft, hard));
            } else if let Ok(bench) = benches.clone().try_acquire_owned() {
                let slots = slots.clone();
                tasks.spawn(async move {
                    match timeout(CROWD_PATIENCE, slots.acquire_owned()).await {
                        Ok(Ok(slot)) => {
                            drop(bench);
                            begin(stream, tls, router, slot, soft, hard).await;
                        }
                        // Over TLS it would take a handshake to say so.
                        Ok(Err(_)) | Err(_) if tls.is_some() => meters::turned_away(),
                        Ok(Err(_)) | Err(_) => turn_away(stream).await,
                    }
                });
            } else {
                meters::turned_away();
            }
        }
        // From here on the system refuses connections.
        drop(self.listener);
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = hard.cancelled() => {}
        }
        Ok(())
    }
}

/// One connection, from its handshake, if it has one.
async fn begin(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    _slot: OwnedSemaphorePermit,
    soft: CancellationToken,
    hard: CancellationToken,
) {
    let open = meters::connections();
    open.increment(1.0);
    // An answer is one small packet; a socket that refuses this is about to fail anyway.
    drop(stream.set_nodelay(true));
    match tls {
        None => serve(stream, router, soft, hard).await,
        Some(tls) => {
            let handshake = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream));
            // A handshake that fails is its client's matter, as a request that is not HTTP is.
            if let Some(Ok(Ok(stream))) = soft.run_until_cancelled(handshake).await {
                serve(stream, router, soft, hard).await;
            }
        }
    }
    open.decrement(1.0);
}

/// Request after request.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    soft: CancellationToken,
    hard: CancellationToken,
) {
    let pulse = Arc::new(Pulse::new());
    let io = TokioIo::new(Watched::new(stream, pulse.clone()));
    let inner = TowerToHyperService::new(router);
    let beats = pulse.clone();
    let service = service_fn(move |request| {
        beats.request_begins();
        let (beats, answer) = (beats.clone(), inner.call(request));
        async move {
            let response = answer.await;
            beats.request_ends();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The pulse tells a slow head from an idle connection; hyper does not.
        .header_read_timeout(None)
        // Who has sent everything may close its side before reading the answer.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(READ_BUFFER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut stopping = pin!(soft.cancelled());
    let mut dropped = pin!(hard.cancelled());
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    loop {
        tokio::select! {
            // Errors of a connection are its client's: it hung up, or did not speak HTTP.
            _ = connection.as_mut() => break,
            () = &mut stopping, if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut dropped => break,
            _ = ticks.tick() => {
                if pulse.is_overdue() {
                    break;
                }
                if !closing && pulse.age() > MAX_AGE {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Answers 503 without reading the request.
async fn turn_away(mut stream: TcpStream) {
    meters::turned_away();
    let farewell = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection before the answer is read.
        let mut scrap = [0; 4096];
        while stream.read(&mut scrap).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    drop(timeout(CROWD_PATIENCE, farewell).await);
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
