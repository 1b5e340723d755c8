use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use http_body_util::BodyExt as _;
use shared::server::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use tokio::time::Instant;

use super::*;

/// Answers the length of the body; of `/slow` after a moment.
struct Length;

impl Answer for Length {
    async fn answer(&self, request: Request<Body>) -> Response {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Response::new("done".into());
        }
        match request.collect().await {
            Ok(body) => Response::new(body.to_bytes().len().to_string().into()),
            Err(_) => Response::new("broken".into()),
        }
    }
}

struct Running {
    addr: SocketAddr,
    soft: CancellationToken,
    hard: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), Infallible>>,
}

impl Running {
    async fn new(max_connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(
            listener,
            Arc::new(Length),
            max_connections,
            Arc::new(Clients::new("127.0.0.9".parse().unwrap(), max_connections)),
        );
        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let addr = server.addr().unwrap();
        let task = tokio::spawn(server.run(soft.clone(), hard.clone()));
        Self { addr, soft, hard, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(self.addr).await.unwrap()
    }
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    answer(stream).await
}

/// What comes until there is an answer's end or nothing more.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(Duration::from_secs(2), stream.read(&mut buffer)).await {
        text.extend_from_slice(&buffer[..read]);
        if text.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8(text).unwrap()
}

const FIRST: &[u8] = b"POST /len HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_connection_serves_request_after_request_pipelined_or_not() {
    let server = Running::new(4).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        assert!(ask(&mut stream, FIRST).await.ends_with("\r\n\r\n2"));
    }
    stream.write_all(&[FIRST, FIRST].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest.matches("HTTP/1.1 200").count(), 2);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Running::new(16).await;
    let many = (0..=MAX_HEADERS).map(|i| format!("h{i}: x\r\n")).collect::<String>();
    let long = format!("h: {}\r\n", "x".repeat(MAX_HEAD_BYTES));
    for headers in [many, long] {
        let mut stream = server.connect().await;
        let text = ask(&mut stream, format!("POST /len HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    }
    let mut stream = server.connect().await;
    assert!(ask(&mut stream, b"nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let both = b"POST /len HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}";
    assert!(ask(&mut server.connect().await, both).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_briefly_and_gets_503() {
    let body = SERVICE_UNAVAILABLE.split(|byte| *byte == b'{').nth(1).unwrap().len() + 1;
    assert!(
        std::str::from_utf8(SERVICE_UNAVAILABLE).unwrap().contains(&format!("content-length: {body}\r\n")),
        "{body}"
    );
    let server = Running::new(1).await;
    let mut first = server.connect().await;
    assert!(ask(&mut first, FIRST).await.contains("200 OK"));
    let start = Instant::now();
    let text = ask(&mut server.connect().await, FIRST).await;
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 5"), "{text}");
    assert!(start.elapsed() >= BACKPRESSURE_TIMEOUT);
    let mut waiting = server.connect().await;
    waiting.write_all(FIRST).await.unwrap();
    drop(first);
    assert!(answer(&mut waiting).await.contains("200 OK"));
}

#[tokio::test]
async fn a_soft_stop_finishes_what_is_in_flight_and_refuses_new_connections() {
    let server = Running::new(4).await;
    let mut idle = server.connect().await;
    assert!(ask(&mut idle, FIRST).await.contains("200 OK"));
    let mut busy = server.connect().await;
    busy.write_all(b"POST /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.soft.cancel();
    assert!(answer(&mut busy).await.ends_with("done"));
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn a_hard_stop_drops_what_is_still_there() {
    let server = Running::new(4).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"POST /len HTTP/1.1\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.soft.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!server.task.is_finished());
    server.hard.cancel();
    timeout(Duration::from_secs(1), server.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_client_holds_its_share_of_connections_and_another_is_served() {
    let server = Running::new(8).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect().await;
        assert!(ask(&mut stream, FIRST).await.contains("200 OK"));
        held.push(stream);
    }
    assert!(ask(&mut server.connect().await, FIRST).await.starts_with("HTTP/1.1 503"));
    let mut other = server.connect_from("127.0.0.2").await;
    assert!(ask(&mut other, FIRST).await.contains("200 OK"));
    // Behind a proxy, its clients are counted.
    let of = async |client: &str| {
        let mut stream = server.connect_from("127.0.0.9").await;
        let header = format!("PROXY TCP4 {client} 127.0.0.1 4711 5000\r\n");
        (ask(&mut stream, &[header.as_bytes(), FIRST].concat()).await, stream)
    };
    let (answer, _stream) = of("192.0.2.1").await;
    assert!(answer.contains("200 OK"), "{answer}");
    let (answer, _) = of("127.0.0.1").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // A client that is not one of our proxies cannot name a client.
    let forged = [b"PROXY TCP4 192.0.2.2 127.0.0.1 4711 5000\r\n", FIRST].concat();
    assert!(ask(&mut server.connect_from("127.0.0.3").await, &forged).await.starts_with("HTTP/1.1 400"));
}
