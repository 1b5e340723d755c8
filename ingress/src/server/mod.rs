//! Connections, in the order in which they are handled: accepted, perhaps by TLS, and timed.

mod accept;
mod tls;
mod connection;

pub use accept::Server;
pub use tls::{Certificate, TlsError};
