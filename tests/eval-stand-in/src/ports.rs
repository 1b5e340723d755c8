//! Free ports that stay free while a server is down.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;
use rand::Rng as _;

/// Below the range of ephemeral ports: a client of a stopped server could be given that very port as its own, and would
/// be connected to itself.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// One after the other from a random one: a port that is given to one test, and not yet listened on, is not given to another.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::rng().random_range(RANGE)));

/// How many ports we try.
const TRIES: usize = 200;

/// A port of 127.0.0.1 on which nothing listens.
///
/// # Errors
/// When none of many was free.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..TRIES {
        let port = RANGE.start + NEXT.fetch_add(1, Ordering::Relaxed) % (RANGE.end - RANGE.start);
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("none of {TRIES} ports tried in {RANGE:?} was free on 127.0.0.1")
}

/// Whether the port can be listened on.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
