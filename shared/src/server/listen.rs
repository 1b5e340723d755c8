//! Binds an address, and accepts its connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::limits::ACCEPT_RETRY;
use crate::throttle::Throttle;

/// Binds a TCP address; the error names the address and the setting it came from.
///
/// # Errors
/// When the address is taken, not this machine's, or not allowed.
pub async fn listen(addr: SocketAddr, setting: &str) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}; set {setting} to a free address"))
    })
}

/// The next connection and its other end; `None` once `stop` is cancelled. A failing accept, usually for want of file
/// descriptors, is logged through `failures`, with what to do, and retried.
pub async fn accept(
    listener: &TcpListener,
    stop: &CancellationToken,
    failures: &Throttle,
    todo: &str,
) -> Option<(TcpStream, IpAddr)> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer.ip())),
            Err(error) => {
                if let Some(more) = failures.open() {
                    tracing::warn!(%error, more, "cannot accept a connection; {todo}");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
