//! The phase of a connection and when it began, so that a slow client loses its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::limits::{HEAD_TIMEOUT, IDLE_TIMEOUT};

/// Waiting for the rest of a request's head; a new connection is, too.
const HEAD: u8 = 0;
/// A request is being handled; its body and its publishing have limits of their own.
const BUSY: u8 = 1;
/// Between two requests, or the last answer is still being written.
const IDLE: u8 = 2;

#[derive(Debug)]
pub(super) struct ConnectionTimer {
    opened: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds after `opened`.
    since: AtomicU64,
}

impl ConnectionTimer {
    #[must_use]
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), phase: AtomicU8::new(HEAD), since: AtomicU64::new(0) }
    }

    #[must_use]
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A request's head is complete.
    pub(super) fn request_started(&self) {
        self.enter(BUSY);
    }

    /// A request's answer is made.
    pub(super) fn request_answered(&self) {
        self.enter(IDLE);
    }

    /// Bytes were received: between requests they begin the next one.
    fn bytes_received(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// Whether the phase has lasted too long.
    #[must_use]
    pub(super) fn is_overdue(&self) -> bool {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        let lasted = self.age().saturating_sub(since);
        match self.phase.load(Ordering::Relaxed) {
            HEAD => lasted >= HEAD_TIMEOUT,
            IDLE => lasted >= IDLE_TIMEOUT,
            _ => false,
        }
    }

    /// One task uses a connection, so the order of the two stores does not matter.
    fn enter(&self, phase: u8) {
        self.since.store(u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }
}

impl Default for ConnectionTimer {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream that reports received bytes to a [`ConnectionTimer`].
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    timer: Arc<ConnectionTimer>,
}

impl<S> TimedStream<S> {
    #[must_use]
    pub(super) const fn new(stream: S, timer: Arc<ConnectionTimer>) -> Self {
        Self { stream, timer }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.timer.bytes_received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
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

    async fn after(timer: &ConnectionTimer, time: Duration) -> bool {
        tokio::time::advance(time).await;
        timer.is_overdue()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_an_idle_connection_and_a_request_has_its_own_limits() {
        let second = Duration::from_secs(1);
        let timer = ConnectionTimer::new();
        assert!(!after(&timer, HEAD_TIMEOUT - second).await);
        assert!(after(&timer, second).await, "it sent nothing at all");
        timer.request_started();
        assert!(!after(&timer, Duration::from_secs(3600)).await);
        timer.bytes_received();
        timer.request_answered();
        assert!(!after(&timer, IDLE_TIMEOUT - second).await);
        timer.bytes_received();
        assert!(!after(&timer, HEAD_TIMEOUT - second).await);
        timer.bytes_received();
        assert!(after(&timer, second).await, "a trickling head is not prolonged by each byte");
        timer.request_started();
        timer.request_answered();
        assert!(after(&timer, IDLE_TIMEOUT).await);
    }
}
