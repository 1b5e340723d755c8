//! Binds an address.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Binds a TCP address; the error names the address and the setting it came from.
///
/// # Errors
/// When the address is taken, not this machine's, or not allowed.
pub async fn listen(addr: SocketAddr, setting: &str) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}; set {setting} to a free address"))
    })
}
