//! The load generator: raw HTTP/1.1 over keep-alive connections, cheap enough to share two cores with
//! what it loads. Body and signature are the same in every request; only GitHub's delivery id differs,
//! which is what makes it another delivery.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::{Buf, Bytes};
use futures::future::join_all;
use harness::sender::{Delivery, Secrets};
use hdrhistogram::Histogram;
use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many bytes a delivery id has.
const ID: usize = 36;

/// What one round came to.
#[derive(Debug)]
pub(crate) struct Round {
    /// Answered 200 (acknowledged, in a ceiling) within the round.
    pub(crate) done: u64,
    /// Everything else.
    pub(crate) errors: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Latencies in microseconds.
    pub(crate) micros: Histogram<u64>,
}

impl Round {
    /// A second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.seconds
    }

    /// Puts together what the connections of a round measured.
    pub(crate) fn of(parts: impl IntoIterator<Item = Tally>, seconds: f64) -> anyhow::Result<Self> {
        let mut round = Self { done: 0, errors: 0, seconds, micros: histogram()? };
        for part in parts {
            round.errors += part.errors;
            round.done += part.micros.len();
            round.micros.add(part.micros)?;
        }
        Ok(round)
    }
}

/// Latencies in microseconds, up to the 30 s after which nothing is waited for.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 30_000_000, 3)?)
}

/// What one connection (or task) measured.
#[derive(Debug)]
pub(crate) struct Tally {
    micros: Histogram<u64>,
    errors: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { micros: histogram()?, errors: 0 })
    }

    /// One that began at `begin` ended well.
    pub(crate) fn done(&mut self, begin: Instant) {
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros.saturating_record(micros);
    }

    pub(crate) fn failed(&mut self) {
        self.errors += 1;
    }
}

/// Unique within and across runs, in the shape of GitHub's ids.
pub(crate) fn unique_id() -> String {
    static RUN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = *RUN.get_or_init(|| rand::rng().random());
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let (high, low) = (run >> 32, run & 0xffff_ffff);
    format!("{high:08x}-{:04x}-{:04x}-{:04x}-{n:012x}", low >> 16, low & 0xffff, (high ^ low) & 0xffff)
}

/// The delivery ids of a load.
#[derive(Debug, Clone)]
enum Ids {
    /// Each another one.
    New,
    /// These, by turns.
    Again(Arc<Vec<String>>, Arc<AtomicU64>),
}

impl Ids {
    fn next(&self) -> String {
        match self {
            Self::New => unique_id(),
            Self::Again(ids, next) => ids[next.fetch_add(1, Ordering::Relaxed) as usize % ids.len()].clone(),
        }
    }
}

/// A signed request, but for its delivery id.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    head: Vec<u8>,
    id_at: usize,
    body: Bytes,
    ids: Ids,
}

impl Template {
    /// Prepares a GitHub delivery.
    pub(crate) fn new(delivery: &Delivery) -> Self {
        let request = delivery.request(&Secrets::default());
        let mut head = format!("POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n", request.path);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "x-github-delivery") {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\nx-github-delivery: ", request.body.len());
        let id_at = head.len();
        head += &format!("{}\r\n\r\n", "0".repeat(ID));
        Self { head: head.into_bytes(), id_at, body: request.body, ids: Ids::New }
    }

    /// The same, so many deliveries over and over.
    pub(crate) fn repeating(self, deliveries: u64) -> Self {
        let ids = (0..deliveries).map(|_| unique_id()).collect();
        Self { ids: Ids::Again(Arc::new(ids), Arc::default()), ..self }
    }
}

/// Sends as fast as the answers come, over this many connections, for this long.
pub(crate) async fn load(
    to: SocketAddr,
    template: &Template,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let streams = join_all((0..connections).map(|_| TcpStream::connect(to))).await;
    let streams = streams.into_iter().collect::<Result<Vec<_>, _>>().context("cannot connect to ingress")?;
    let begin = Instant::now();
    let ends = begin + time;
    let parts =
        join_all(streams.into_iter().map(|stream| tokio::spawn(connection(stream, to, template.clone(), ends)))).await;
    let seconds = begin.elapsed().as_secs_f64();
    let parts = parts.into_iter().map(|part| part?).collect::<anyhow::Result<Vec<_>>>()?;
    Round::of(parts, seconds)
}

async fn connection(
    mut stream: TcpStream,
    to: SocketAddr,
    mut template: Template,
    ends: Instant,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    stream.set_nodelay(true)?;
    while Instant::now() < ends {
        let begin = Instant::now();
        match exchange(&mut stream, &mut template).await {
            Ok(200) => tally.done(begin),
            Ok(_) => tally.failed(),
            Err(_) => {
                tally.failed();
                stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
            }
        }
    }
    Ok(tally)
}

/// One request and its status.
async fn exchange(stream: &mut TcpStream, template: &mut Template) -> anyhow::Result<u16> {
    template.head[template.id_at..template.id_at + ID].copy_from_slice(template.ids.next().as_bytes());
    let mut request = Buf::chain(template.head.as_slice(), template.body.clone());
    while request.has_remaining() {
        stream.write_all_buf(&mut request).await?;
    }
    let mut buffer = [0; 1024];
    let mut have = 0;
    loop {
        let got = stream.read(&mut buffer[have..]).await?;
        ensure!(got > 0, "ingress hung up");
        have += got;
        if let Some(status) = complete(&buffer[..have]) {
            return Ok(status);
        }
        ensure!(have < buffer.len(), "an answer longer than any of ingress's");
    }
}

/// The status, once the whole answer is there.
pub(crate) fn complete(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let name = b"content-length: ";
    let at = answer.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))? + name.len();
    let digits = answer[at..end].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    (answer.len() >= end + length).then_some(status)
}
