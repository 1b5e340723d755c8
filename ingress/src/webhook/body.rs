//! Reading bodies: bounded in bytes, in time, in speed and in shared memory; copied once at most.

use std::time::Duration;

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::memory::Share;
use super::refusal::Refusal;
use crate::limits::{BODY_GRACE, BODY_PAUSE, BODY_TIMEOUT, DRAIN_BYTES, DRAIN_TIMEOUT, MIN_BODY_RATE, SMALL_BODY};

/// Reads a body of at most `max` bytes, which hold `share` from then on.
///
/// # Errors
/// When it is too large or too slow, broken, or there is no memory for it.
pub async fn read(body: &mut Body, max: usize, mut share: Share) -> Result<Bytes, Refusal> {
    let at_most = announced(body, max)?.unwrap_or(max);
    let mut chunks = Chunks::new(body, max);
    // Most bodies come in one piece, which then is the body.
    let Some(first) = chunks.next().await? else { return Ok(Bytes::new()) };
    share.cover(first.len(), at_most).await?;
    if chunks.body.is_end_stream() {
        return Ok(share.bind(first));
    }
    share.arrives(chunks.since, chunks.read);
    let Some(second) = chunks.next_or_give_way(&share).await? else { return Ok(share.bind(first)) };
    share.cover(chunks.read, at_most).await?;
    // Untouched memory costs nothing, but a page table for every announced length would.
    let mut whole = BytesMut::with_capacity(at_most.min(SMALL_BODY).max(chunks.read));
    whole.put(first);
    whole.put(second);
    while let Some(chunk) = chunks.next_or_give_way(&share).await? {
        share.cover(chunks.read, at_most).await?;
        if whole.capacity() < chunks.read {
            whole.reserve(at_most - whole.len());
        }
        whole.put(chunk);
    }
    Ok(share.bind(whole.freeze()))
}

/// Reads and drops a body, to find out whether it is too large.
///
/// # Errors
/// When it is too large, too slow or broken.
pub async fn discard(body: &mut Body, max: usize) -> Result<(), Refusal> {
    announced(body, max)?;
    let mut chunks = Chunks::new(body, max);
    while chunks.next().await?.is_some() {}
    Ok(())
}

/// Goes on reading a refused body in the background: a client that is still writing would otherwise get a reset
/// instead of the answer.
pub fn drain(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let all = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(less) => left = less,
                    None => return,
                }
            }
        };
        drop(timeout(DRAIN_TIMEOUT, all).await);
    });
}

/// The declared length; hyper refuses a body of another length.
fn announced(body: &Body, max: usize) -> Result<Option<usize>, Refusal> {
    match body.size_hint().exact() {
        None => Ok(None),
        Some(length) => usize::try_from(length).ok().filter(|length| *length <= max).map(Some).ok_or(Refusal::TooLarge),
    }
}

/// The data of a body, counted and timed.
struct Chunks<'b> {
    body: &'b mut Body,
    since: Instant,
    max: usize,
    read: usize,
}

impl<'b> Chunks<'b> {
    fn new(body: &'b mut Body, max: usize) -> Self {
        Self { body, since: Instant::now(), max, read: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let until = self.next_by();
            let frame = match timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(Refusal::Slow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Broken),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers mean nothing here.
            let Ok(data) = frame.into_data() else { continue };
            self.read += data.len();
            if self.read > self.max {
                return Err(Refusal::TooLarge);
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The same, unless the body is refused to free memory.
    async fn next_or_give_way(&mut self, share: &Share) -> Result<Option<Bytes>, Refusal> {
        tokio::select! {
            biased;
            chunk = self.next() => chunk,
            () = share.gives_way() => Err(Refusal::Overloaded),
        }
    }

    /// The deadline of the next piece: for pauses, for the average rate, and for the whole body.
    fn next_by(&self) -> Instant {
        let earned = Duration::from_secs_f64(self.read as f64 / MIN_BODY_RATE as f64);
        let fast_enough = self.since + BODY_GRACE + earned;
        fast_enough.min(Instant::now() + BODY_PAUSE).min(self.since + BODY_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::memory::Memory;
    use futures::{Stream, StreamExt as _, stream};
    use shared::server::Client;
    use std::convert::Infallible;

    const MAX_BODY: usize = shared::envelope::MAX_PAYLOAD;

    async fn read_all(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Result<Bytes, Refusal> {
        let mut body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
        read(&mut body, MAX_BODY, share()).await
    }

    fn share() -> Share {
        Memory::new(64).share(Client::of([192, 0, 2, 1].into()), 1)
    }

    fn slow(chunk: usize, pause: Duration) -> impl Stream<Item = Bytes> {
        stream::repeat(Bytes::from(vec![b'x'; chunk])).then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            chunk
        })
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let chunk = Bytes::from(vec![7; 1000]);
        let whole = read_all(stream::iter([chunk.clone()])).await.unwrap();
        assert_eq!(whole.as_ptr(), chunk.as_ptr());
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        let pieces: Vec<_> = (0..200u8).map(|i| Bytes::from(vec![i; 10_000])).collect();
        assert_eq!(read_all(stream::iter(pieces.clone())).await.unwrap(), pieces.concat());
        assert_eq!(read_all(stream::empty()).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_streams_over_the_limit_is_too_large_and_the_limit_itself_is_not() {
        let chunk = Bytes::from(vec![0; MAX_BODY / 5]);
        let five = || stream::iter(vec![chunk.clone(); 5]);
        assert_eq!(read_all(five()).await.unwrap().len(), MAX_BODY);
        let more = five().chain(stream::iter([Bytes::from_static(b"x")]));
        assert_eq!(read_all(more).await, Err(Refusal::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_pauses_or_trickles_is_too_slow() {
        let start = Instant::now();
        assert_eq!(read_all(slow(1, Duration::from_secs(11))).await, Err(Refusal::Slow));
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(read_all(slow(1, Duration::from_secs(4))).await, Err(Refusal::Slow));
        assert_eq!(start.elapsed().as_secs(), 20);
        assert_eq!(read_all(slow(4 * MIN_BODY_RATE, Duration::from_secs(4))).await, Err(Refusal::Slow));
        assert_eq!(start.elapsed().as_secs(), 80);
        let mut body = Body::from_stream(slow(1, Duration::from_secs(11)).map(Ok::<_, Infallible>));
        assert_eq!(discard(&mut body, MAX_BODY).await, Err(Refusal::Slow));
    }

    #[tokio::test]
    async fn a_body_announced_too_large_is_refused_unread() {
        let mut body = Body::from(vec![0; MAX_BODY + 1]);
        assert_eq!(read(&mut body, MAX_BODY, share()).await, Err(Refusal::TooLarge));
        assert_eq!(discard(&mut body, MAX_BODY).await, Err(Refusal::TooLarge));
        assert!(!body.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_broken() {
        let mut body = Body::from_stream(stream::iter([Ok("half"), Err(std::io::Error::other("gone"))]));
        assert_eq!(read(&mut body, MAX_BODY, share()).await, Err(Refusal::Broken));
    }
}
