use std::time::Duration;

use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::super::limits::HEAD_TIMEOUT;
use super::*;

/// A running server with so many connections, whose one endpoint echoes the length of what it got.
async fn running(connections: usize) -> SocketAddr {
    let router = Router::new().route("/len", post(|body: axum::body::Bytes| async move { body.len().to_string() }));
    let server = SmallServer::bind("127.0.0.1:0".parse().unwrap(), "ADDR", "test", router).await.unwrap();
    let server = SmallServer { connections, ..server };
    let addr = server.listener.local_addr().unwrap();
    tokio::spawn(server.run(CancellationToken::new()));
    addr
}

async fn connect(to: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// The answer to what is sent, until the server closes the connection; empty when it does that without one.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> String {
    let mut text = Vec::new();
    // A connection that is closed at once may be gone before anything is sent.
    drop(stream.write_all(bytes).await);
    drop(stream.read_to_end(&mut text).await);
    String::from_utf8(text).unwrap()
}

const REQUEST: &[u8] = b"POST /len HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn one_client_holds_half_of_the_connections_and_another_is_served() {
    let addr = running(4).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(addr, "127.0.0.1").await;
        stream.write_all(b"POST /len HTT").await.unwrap();
        held.push(stream);
    }
    assert_eq!(ask(&mut connect(addr, "127.0.0.1").await, REQUEST).await, "", "it is closed without an answer");
    let answer = ask(&mut connect(addr, "127.0.0.2").await, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n2"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_loses_its_connection_and_a_slow_body_is_answered_408() {
    let addr = running(4).await;
    let start = Instant::now();
    let mut stream = connect(addr, "127.0.0.1").await;
    assert_eq!(ask(&mut stream, b"POST /len HTTP/1.1\r\nhost").await, "");
    assert!((HEAD_TIMEOUT..2 * HEAD_TIMEOUT).contains(&start.elapsed()));
    let (start, mut stream) = (Instant::now(), connect(addr, "127.0.0.1").await);
    let answer = ask(&mut stream, b"POST /len HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(start.elapsed() < SMALL_BODY_TIMEOUT + Duration::from_secs(5));
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let addr = running(4).await;
    let head = "POST /len HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let body = "x".repeat(SMALL_BODY_BYTES + 1);
    for request in [
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        let answer = ask(&mut connect(addr, "127.0.0.1").await, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}
