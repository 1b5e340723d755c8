//! Connections, in the order in which they are handled: accepted, TLS, timed.

mod accept;
mod tls;
mod connection;

pub use accept::{OVERFLOW_SLOTS, Server};
pub use tls::{Certificate, TlsError};
