//! The accept loop: connections, their number, altogether and by client, their time limits and their end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use shared::server::limits::{HEAD_TIMEOUT, LOG_INTERVAL};
use shared::server::{Answer, Client, Taken, accept, serve};
use shared::throttle::Throttle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Clients, read_header};
use crate::limits::{BACKPRESSURE_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::metrics;

/// Connections over the limit that wait for a slot, and get 503 without one. Further ones are closed.
pub const OVERFLOW_SLOTS: usize = 64;

/// The answer to a connection over the limit.
const SERVICE_UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 57\r\n\r\n{\"error\":\"Too many connections at once, try again later\"}";

/// The webhook server, bound and not yet running.
#[derive(Debug)]
pub struct Server<A> {
    listener: TcpListener,
    answers: Arc<A>,
    max_connections: usize,
    clients: Arc<Clients>,
    tls: Option<Arc<ServerConfig>>,
}

/// What serves a connection.
struct Service<A> {
    answers: Arc<A>,
    clients: Arc<Clients>,
    tls: Option<Arc<ServerConfig>>,
    soft: CancellationToken,
    hard: CancellationToken,
    full: Throttle,
}

impl<A: Answer> Server<A> {
    #[must_use]
    pub fn new(listener: TcpListener, answers: Arc<A>, max_connections: usize, clients: Arc<Clients>) -> Self {
        Self { listener, answers, max_connections, clients, tls: None }
    }

    /// The same, with TLS if there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tls, ..self }
    }

    /// The bound address.
    ///
    /// # Errors
    /// That of the system call.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `soft`, then stops accepting and finishes what is in flight; at `hard` it drops the rest.
    ///
    /// # Errors
    /// Never: a failing accept is retried. [`shared::lifecycle`] needs the type.
    pub async fn run(self, soft: CancellationToken, hard: CancellationToken) -> Result<(), Infallible> {
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(self.max_connections));
        let overflow_slots = Arc::new(Semaphore::new(OVERFLOW_SLOTS));
        let failures = Throttle::new(LOG_INTERVAL);
        let service = Arc::new(Service {
            answers: self.answers,
            clients: self.clients,
            tls: self.tls,
            soft: soft.clone(),
            hard: hard.clone(),
            full: Throttle::new(LOG_INTERVAL),
        });
        let todo = "raise the limit of open files or lower MAX_CONNECTIONS";
        while let Some((stream, peer)) = accept(&self.listener, &soft, &failures, todo).await {
            let service = service.clone();
            match (service.clients.connect(peer), slots.clone().try_acquire_owned()) {
                (Some(taken), Ok(slot)) => drop(tasks.spawn(service.begin(stream, peer, taken, slot))),
                (taken, _) => match overflow_slots.clone().try_acquire_owned() {
                    Ok(overflow) => drop(tasks.spawn(service.wait(stream, peer, taken, slots.clone(), overflow))),
                    Err(_) => metrics::connection_refused(),
                },
            }
        }
        // From here on the operating system refuses connections.
        drop(self.listener);
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = hard.cancelled() => {}
        }
        Ok(())
    }
}

impl<A: Answer> Service<A> {
    /// A connection over the limit, or over its client's share: it waits briefly for room.
    async fn wait(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        mut taken: Option<Option<Taken>>,
        slots: Arc<Semaphore>,
        overflow: OwnedSemaphorePermit,
    ) {
        if taken.is_none() {
            taken = self.clients.connect_within(peer, BACKPRESSURE_TIMEOUT).await;
        }
        let Some(taken) = taken else {
            self.say_full(peer);
            return self.refuse(stream).await;
        };
        match timeout(BACKPRESSURE_TIMEOUT, slots.acquire_owned()).await {
            Ok(Ok(slot)) => {
                drop(overflow);
                self.begin(stream, peer, taken, slot).await;
            }
            Ok(Err(_)) | Err(_) => self.refuse(stream).await,
        }
    }

    /// One connection: its PROXY header, if a proxy sent it, its TLS handshake, if there is one, its requests.
    async fn begin(
        self: Arc<Self>,
        mut stream: TcpStream,
        mut peer: IpAddr,
        mut taken: Option<Taken>,
        _slot: OwnedSemaphorePermit,
    ) {
        if self.clients.is_proxy(peer) {
            let header = self.soft.run_until_cancelled(timeout(HEAD_TIMEOUT, read_header(&mut stream))).await;
            // A proxy that sends nothing, or nonsense, is closed like such a client.
            let Some(Ok(Ok(client))) = header else { return };
            if let Some(client) = client {
                peer = client;
                match self.clients.connect_within(peer, BACKPRESSURE_TIMEOUT).await {
                    Some(connected) => taken = connected,
                    None => {
                        self.say_full(peer);
                        return self.refuse(stream).await;
                    }
                }
            }
        }
        let open = metrics::connections();
        open.increment(1.0);
        // An answer is one small packet. A socket on which this fails is about to fail anyway.
        drop(stream.set_nodelay(true));
        match &self.tls {
            None => serve(stream, peer, &*self.answers, &self.soft, &self.hard).await,
            Some(tls) => {
                let handshake = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.clone()).accept(stream));
                // A failed handshake is the client's error, as a request that is not HTTP is.
                if let Some(Ok(Ok(stream))) = self.soft.run_until_cancelled(handshake).await {
                    serve(stream, peer, &*self.answers, &self.soft, &self.hard).await;
                }
            }
        }
        open.decrement(1.0);
        drop(taken);
    }

    /// A client has its share of connections: one line an interval, for all clients together.
    fn say_full(&self, peer: IpAddr) {
        if let Some(more) = self.full.open() {
            tracing::warn!(
                client = %Client::of(peer),
                more,
                "refused a connection: its client holds its share of MAX_CONNECTIONS; if that is a proxy, name it in TRUSTED_PROXIES"
            );
        }
    }

    /// Answers 503 without reading the request.
    async fn refuse(&self, stream: TcpStream) {
        metrics::connection_refused();
        // Over TLS an answer would need a handshake.
        if self.tls.is_none() {
            answer_unavailable(stream).await;
        }
    }
}

async fn answer_unavailable(mut stream: TcpStream) {
    let response = async {
        stream.write_all(SERVICE_UNAVAILABLE).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection before the answer is read.
        let mut sink = [0; 4096];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    drop(timeout(BACKPRESSURE_TIMEOUT, response).await);
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
