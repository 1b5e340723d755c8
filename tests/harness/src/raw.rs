//! HTTP by hand, for what a well-behaved client would not send: a length without a body, a body without
//! an end, half a request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// A request's first part: its line and headers, each line without its end.
#[must_use]
pub fn head(lines: &[&str]) -> Vec<u8> {
    let mut head = lines.join("\r\n").into_bytes();
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// One part of a chunked body. An empty one ends it.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Sends the parts in order, as long as the other side takes them, and gives status and body of the answer.
///
/// # Errors
/// When there is no connection or no whole answer in time.
pub async fn exchange(address: SocketAddr, parts: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<(u16, String)> {
    let stream = TcpStream::connect(address).await.context("no connection")?;
    let (mut read, mut write) = stream.into_split();
    let parts: Vec<_> = parts.into_iter().collect();
    let writing = tokio::spawn(async move {
        for part in parts {
            // It may answer and hang up before it has everything; the answer is what counts.
            if write.write_all(&part).await.is_err() {
                break;
            }
        }
        write
    });
    let answer = tokio::time::timeout(ANSWER, answer(&mut read)).await.context("no answer in time")?;
    writing.abort();
    answer
}

async fn answer(read: &mut tokio::net::tcp::OwnedReadHalf) -> anyhow::Result<(u16, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse(&bytes) {
            return Ok(answer);
        }
        let mut buffer = [0; 4096];
        let got = read.read(&mut buffer).await.context("the answer broke off")?;
        ensure!(got > 0, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..got]);
    }
}

/// Status and body, once all of it is there.
fn parse(bytes: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then(|| (status, body.to_owned()))
}
