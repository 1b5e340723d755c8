//! One connection: its requests, the time limits between and before them, and its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::client::Peer;
use super::limits::{MAX_AGE, MAX_HEAD_BYTES, MAX_HEADERS, READ_BUFFER};
use super::timer::{ConnectionTimer, TimedStream};

/// How often a connection's timer is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Serves the requests of a connection: until `soft`, then the one in flight; at `hard` it is dropped.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: IpAddr,
    router: Router,
    soft: CancellationToken,
    hard: CancellationToken,
) {
    let timer = Arc::new(ConnectionTimer::new());
    let io = TokioIo::new(TimedStream::new(stream, timer.clone()));
    let inner = TowerToHyperService::new(router);
    let of_requests = timer.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        of_requests.request_started();
        let (timer, answer) = (of_requests.clone(), inner.call(request));
        async move {
            let response = answer.await;
            timer.request_answered();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `ConnectionTimer` tells a slow head from an idle connection; hyper's timer does not.
        .header_read_timeout(None)
        // A client may close its side of the connection before it reads the answer.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(READ_BUFFER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut stopping = pin!(soft.cancelled());
    let mut dropped = pin!(hard.cancelled());
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    loop {
        tokio::select! {
            // The client closed the connection, or did not send HTTP.
            _ = connection.as_mut() => break,
            () = &mut stopping, if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut dropped => break,
            _ = ticks.tick() => {
                if timer.is_overdue() {
                    break;
                }
                if !closing && timer.age() > MAX_AGE {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
