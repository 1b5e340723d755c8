//! What a connection is doing and since when, so that a slow client costs a connection and not the service.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::limits::{HEAD_TIMEOUT, IDLE_TIMEOUT};

/// Waiting for the rest of a request's head; a new connection is, too.
const HEAD: u8 = 0;
/// A request is being worked on; its body and its publishing have limits of their own.
const BUSY: u8 = 1;
/// Between two requests, or the last answer is still being written.
const IDLE: u8 = 2;

/// The state of one connection.
#[derive(Debug)]
pub struct Pulse {
    opened: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds after `opened`.
    since: AtomicU64,
}

impl Pulse {
    /// A connection that has just been opened.
    #[must_use]
    pub fn new() -> Self {
        Self { opened: Instant::now(), phase: AtomicU8::new(HEAD), since: AtomicU64::new(0) }
    }

    /// How old the connection is.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A request's head is complete.
    pub fn request_begins(&self) {
        self.enter(BUSY);
    }

    /// A request's answer is made.
    pub fn request_ends(&self) {
        self.enter(IDLE);
    }

    /// Bytes came: between requests they begin the next one.
    fn bytes_came(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// Whether the client has used up its time.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        let lasted = self.age().saturating_sub(since);
        match self.phase.load(Ordering::Relaxed) {
            HEAD => lasted >= HEAD_TIMEOUT,
            IDLE => lasted >= IDLE_TIMEOUT,
            _ => false,
        }
    }

    /// One task works on a connection; the order of the two stores does not matter to it.
    fn enter(&self, phase: u8) {
        self.since.store(u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream that reports to a [`Pulse`] when bytes come.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Watched<S> {
    /// Watches a stream.
    #[must_use]
    pub const fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(pulse: &Pulse, time: Duration) -> bool {
        tokio::time::advance(time).await;
        pulse.is_overdue()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_an_idle_connection_and_a_request_has_its_own_limits() {
        let second = Duration::from_secs(1);
        let pulse = Pulse::new();
        assert!(!after(&pulse, HEAD_TIMEOUT - second).await);
        assert!(after(&pulse, second).await, "it sent nothing at all");
        pulse.request_begins();
        assert!(!after(&pulse, Duration::from_secs(3600)).await);
        pulse.bytes_came();
        pulse.request_ends();
        assert!(!after(&pulse, IDLE_TIMEOUT - second).await);
        pulse.bytes_came();
        assert!(!after(&pulse, HEAD_TIMEOUT - second).await);
        pulse.bytes_came();
        assert!(after(&pulse, second).await, "a trickling head is not prolonged by each byte");
        pulse.request_begins();
        pulse.request_ends();
        assert!(after(&pulse, IDLE_TIMEOUT).await);
    }
}
