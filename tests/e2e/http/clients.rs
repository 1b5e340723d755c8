//! What one client may hold: a share of connections and of the memory for bodies, so that others are served.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use harness::raw::{chunk, exchange, head};
use harness::sender::Delivery;
use harness::sender::delivery::Request;
use harness::stack::{Options, Stack};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::{LONG, SOON};

/// How long a slow sender pauses between two pieces of so many bytes: faster than the slowest that is let in.
const PAUSE: Duration = Duration::from_millis(100);
const PIECE: usize = 8 * 1024;

async fn start(settings: &[(&str, &str)]) -> Stack {
    let options = Options { no_worker: true, ..Options::default() };
    Stack::start_with(settings.iter().fold(options, |options, (name, value)| options.env(name, value))).await.unwrap()
}

async fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// A signed push of so many bytes or somewhat more.
fn push(stack: &Stack, bytes: usize) -> Request {
    Delivery::github("push", &json!({ "commits": [], "filler": "x".repeat(bytes) })).request(stack.sender.secrets())
}

/// Its head, with these lines, and its body.
fn lines(request: &Request, more: &[String]) -> Vec<u8> {
    let mut lines = vec![format!("POST {} HTTP/1.1", request.path), "Host: test".to_owned()];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend_from_slice(more);
    head(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn whole(request: &Request, more: &[String]) -> Vec<u8> {
    let length = format!("Content-Length: {}", request.body.len());
    [lines(request, &[more, &[length]].concat()), request.body.to_vec()].concat()
}

/// The status of the answer that comes on a connection.
async fn status(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let mut answer = [0; 12];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await??;
    Ok(std::str::from_utf8(&answer[9..])?.parse()?)
}

#[tokio::test]
async fn one_address_holds_its_share_of_connections_and_another_is_served() {
    let stack = start(&[("MAX_CONNECTIONS", "20")]).await;
    let (address, good) = (stack.ingress.webhooks_addr(), push(&stack, 1));
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = connect_from("127.0.0.3", address).await;
        stream.write_all(&whole(&good, &[])).await.unwrap();
        assert_eq!(status(&mut stream).await.unwrap(), 200);
        held.push(stream);
    }
    for _ in 0..10 {
        let mut stream = connect_from("127.0.0.3", address).await;
        assert_eq!(status(&mut stream).await.unwrap(), 503, "it holds its share");
    }
    let mut other = connect_from("127.0.0.4", address).await;
    other.write_all(&whole(&good, &[])).await.unwrap();
    assert_eq!(status(&mut other).await.unwrap(), 200, "another address");
    held.pop();
    let again = async || {
        let mut stream = connect_from("127.0.0.3", address).await;
        stream.write_all(&whole(&good, &[])).await?;
        let status = status(&mut stream).await?;
        ensure!(status == 200, "{status}");
        Ok(())
    };
    stack.eventually("a connection that ended makes room", SOON, again).await.unwrap();
}

#[tokio::test]
async fn behind_a_proxy_each_of_its_clients_has_a_share_of_requests() {
    let stack = start(&[("MAX_CONNECTIONS", "20"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let (address, good) = (stack.ingress.webhooks_addr(), push(&stack, 1));
    let of = |client: &str| vec![format!("X-Forwarded-For: {client}")];
    // Again at each attempt: a request that is not finished within 10 s is refused, and ingress may not have read all
    // of them.
    let full = async || {
        let mut unfinished = Vec::new();
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).await?;
            let whole = whole(&good, &of("192.0.2.1"));
            stream.write_all(&whole[..whole.len() - 1]).await?;
            unfinished.push(stream);
        }
        let (status, _) = exchange(address, [whole(&good, &of("192.0.2.1"))]).await?;
        ensure!(status == 503, "{status}");
        Ok(unfinished)
    };
    let unfinished = stack.eventually("one client holds its share", LONG, full).await.unwrap();
    // What a client says of itself comes before what the proxy says.
    for client in ["192.0.2.2", "192.0.2.1, 192.0.2.3"] {
        let (status, body) = exchange(address, [whole(&good, &of(client))]).await.unwrap();
        assert_eq!(status, 200, "{client}: {body}");
    }
    drop(unfinished);
    let served = async || {
        let (status, _) = exchange(address, [whole(&good, &of("192.0.2.1"))]).await?;
        ensure!(status == 200, "{status}");
        Ok(())
    };
    stack.eventually("it is served when it holds no more", LONG, served).await.unwrap();
}

#[tokio::test]
async fn a_slow_body_gives_way_when_another_needs_its_memory() {
    // There is memory for one body whose length is not announced.
    let stack = start(&[("MAX_BODY_MEMORY_MIB", "64")]).await;
    let (address, large) = (stack.ingress.webhooks_addr(), push(&stack, 400 * 1024));
    let chunked = || lines(&large, &["Transfer-Encoding: chunked".to_owned()]);
    let mut slow = connect_from("127.0.0.3", address).await;
    slow.write_all(&[chunked(), chunk(&large.body[..300 * 1024])].concat()).await.unwrap();
    let (mut answers, mut sends) = slow.into_split();
    let slow = tokio::spawn(async move {
        let mut answer = [0; 12];
        let trickle = async {
            while sends.write_all(&chunk(&[b' '; PIECE])).await.is_ok() {
                tokio::time::sleep(PAUSE).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = trickle => unreachable!("it goes on until there is an answer"),
            read = answers.read_exact(&mut answer) => read.map(|_| String::from_utf8_lossy(&answer[9..]).into_owned()),
        }
    });
    let served = async || {
        let mut stream = connect_from("127.0.0.4", address).await;
        stream.write_all(&[chunked(), chunk(&large.body), chunk(b"")].concat()).await?;
        let status = status(&mut stream).await?;
        ensure!(status == 200, "{status}");
        // One that is faster than the first piece of the slow one needs no memory of it.
        ensure!(slow.is_finished(), "the slow one goes on");
        Ok(())
    };
    stack.eventually("another body of this size is taken, and the slow one is answered", SOON, served).await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), "503", "the slow one has given way");
}

#[tokio::test]
async fn a_limit_of_open_files_below_what_is_needed_is_said_at_the_start() {
    let stack = start(&[("MAX_CONNECTIONS", "100000")]).await;
    let events = stack.ingress.process.log().events();
    let found = events.iter().find(|event| event.to_string().contains("the limit of open files is too low"));
    let limit = || std::fs::read_to_string("/proc/self/limits").unwrap();
    let soft =
        limit().lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    let enough = soft.is_none_or(|soft: u64| soft >= 100_000);
    assert_eq!(found.is_none(), enough, "{found:?} with a limit of {soft:?}");
    assert!(found.is_none_or(|event: &Value| event["level"] == "WARN"), "{found:?}");
}
