//! One connection: its requests, the time limits between and before them, and its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
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

/// Answers requests.
pub trait Answer: Send + Sync + 'static {
    /// Of every path and method.
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response> + Send;
}

impl Answer for Router {
    async fn answer(&self, request: Request<Body>) -> Response {
        let Ok(response) = TowerToHyperService::new(self.clone()).call(request).await;
        response
    }
}

/// Serves the requests of a connection: until `soft`, then the one in flight; at `hard` it is dropped.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: IpAddr,
    answers: &impl Answer,
    soft: &CancellationToken,
    hard: &CancellationToken,
) {
    let timer = Arc::new(ConnectionTimer::new());
    let io = TokioIo::new(TimedStream::new(stream, timer.clone()));
    let service = service_fn(|request: Request<Incoming>| {
        timer.request_started();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let (timer, answer) = (&timer, answers.answer(request));
        async move {
            let response = answer.await;
            timer.request_answered();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `ConnectionTimer` distinguishes a slow head from an idle connection; hyper's timer does not.
        .header_read_timeout(None)
        // A client may close its side of the connection before it reads the answer.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(READ_BUFFER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    // Polled only when something has happened to it, not with every packet: all connections share the tokens' locks.
    let mut orders = FuturesUnordered::from_iter([next_order(&timer, soft, hard, false)]);
    loop {
        tokio::select! {
            biased;
            // The client closed the connection, or did not send HTTP.
            _ = connection.as_mut() => break,
            order = orders.next() => match order {
                Some(Order::Finish) => {
                    connection.as_mut().graceful_shutdown();
                    orders.push(next_order(&timer, soft, hard, true));
                }
                Some(Order::Drop) | None => break,
            }
        }
    }
}

/// How a connection is to end.
enum Order {
    /// After its current request.
    Finish,
    /// Now.
    Drop,
}

/// Waits until a connection has to end, or has to end sooner than it does already.
async fn next_order(
    timer: &ConnectionTimer,
    soft: &CancellationToken,
    hard: &CancellationToken,
    is_finishing: bool,
) -> Order {
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = soft.cancelled(), if !is_finishing => return Order::Finish,
            () = hard.cancelled() => return Order::Drop,
            _ = ticks.tick() => {}
        }
        if timer.is_overdue() {
            return Order::Drop;
        }
        if !is_finishing && timer.age() > MAX_AGE {
            return Order::Finish;
        }
    }
}
