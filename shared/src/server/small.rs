//! A server for pages and probes: small requests, few clients, none of which may shut out the others.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::fair::Fair;
use super::limits::{LOG_INTERVAL, SMALL_BODY_BYTES, SMALL_BODY_TIMEOUT, SMALL_CONNECTIONS};
use super::{accept, listen, serve};
use crate::throttle::Throttle;

/// A listener with its routes, bound and not yet running.
#[derive(Debug)]
pub struct SmallServer {
    listener: TcpListener,
    router: Router,
    connections: usize,
}

impl SmallServer {
    /// Binds an address (port 0 works) and logs it; `role` says for what, `setting` where the address comes from.
    ///
    /// # Errors
    /// When the address cannot be bound; the message names it and the setting.
    pub async fn bind(addr: SocketAddr, setting: &str, role: &str, router: Router) -> io::Result<Self> {
        let listener = listen(addr, setting).await?;
        tracing::info!(listen.role = role, listen.addr = %listener.local_addr()?, "listening");
        Ok(Self { listener, router: router.layer(from_fn(with_small_body)), connections: SMALL_CONNECTIONS })
    }

    /// Serves until the token is cancelled, and finishes what is in flight then.
    ///
    /// # Errors
    /// Never: a failing accept is retried. [`crate::lifecycle`] needs the type.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(self.connections));
        let clients = Fair::new(self.connections);
        let (failures, full) = (Throttle::new(LOG_INTERVAL), Throttle::new(LOG_INTERVAL));
        // What is in flight ends by itself, or with the process.
        let never = CancellationToken::new();
        let todo = "raise the limit of open files";
        while let Some((stream, peer)) = accept(&self.listener, &stop, &failures, todo).await {
            let (Some(taken), Ok(slot)) = (clients.take(Client::of(peer), 1), Arc::clone(&slots).try_acquire_owned())
            else {
                say_full(&full, peer);
                continue;
            };
            let serving = serve_one(stream, peer, self.router.clone(), stop.clone(), never.clone());
            tasks.spawn(async move {
                serving.await;
                drop((taken, slot));
            });
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

async fn serve_one(stream: TcpStream, peer: IpAddr, router: Router, stop: CancellationToken, never: CancellationToken) {
    // An answer is a few packets. A socket on which this fails is about to fail anyway.
    drop(stream.set_nodelay(true));
    serve(stream, peer, &router, &stop, &never).await;
}

/// A connection is closed at once: one line an interval, for all clients together.
fn say_full(full: &Throttle, peer: IpAddr) {
    if let Some(more) = full.open() {
        tracing::warn!(client = %Client::of(peer), more, "closed a connection: its client holds half of those that this address allows, or all are taken");
    }
}

/// Reads the whole body first, so that no handler waits for a client.
async fn with_small_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match timeout(SMALL_BODY_TIMEOUT, to_bytes(body, SMALL_BODY_BYTES)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large\n").into_response(),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time\n").into_response(),
    }
}

#[cfg(test)]
#[path = "small_tests.rs"]
mod tests;
