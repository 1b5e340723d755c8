//! Connections, in the order in which they are handled: accepted, TLS. `shared::server` serves them.

mod accept;
mod tls;

pub use accept::{OVERFLOW_SLOTS, Server};
pub use tls::{Certificate, TlsError};
