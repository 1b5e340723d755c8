//! Memory stays within its limit: with two hundred forged requests at once, each with the largest body that is allowed, and
//! with accepted bodies of that size whose senders wait or hang up.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use harness::eventually::Alive as _;
use harness::process::usage::peak_mb;
use harness::sender::delivery::Request;
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{LONG, SOON, only_ingress};

/// How many forged requests there are at once.
const FORGED: usize = 200;

/// As large as a body may be.
const BODY: usize = 25 * 1024 * 1024;

/// How much memory ingress may ever have had, in MB.
const LIMIT: f64 = 200.0;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends 25 MiB under this signature; gives the answer's status, or how many bytes were taken without one.
async fn send_forged(address: std::net::SocketAddr, signature: &str, mebibyte: &Bytes) -> Result<u16, usize> {
    let mut taken = 0;
    let head = format!(
        "POST /webhook/github?prj=Forged HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: push\r\nX-Hub-Signature: sha1={}\r\n\
         X-Hub-Signature-256: {signature}\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n",
        "0".repeat(40)
    );
    let exchange = async {
        let (mut read, mut write) = TcpStream::connect(address).await?.into_split();
        let mut answer = [0; 512];
        let sending = async {
            write.write_all(head.as_bytes()).await?;
            while taken < BODY {
                write.write_all(mebibyte).await?;
                taken += mebibyte.len();
            }
            std::future::pending::<std::io::Result<usize>>().await
        };
        let got = tokio::select! {
            // Closing the connection is an answer too.
            Err(error) = sending => return Err(error),
            got = read.read(&mut answer) => got?,
        };
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer[..got]).get(9..12).and_then(|code| code.parse().ok()))
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(Some(status))) => Ok(status),
        _ => Err(taken),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_forged_requests_of_25_mib_at_once_stay_under_200_mb() {
    let stack = only_ingress().await;
    let address = stack.ingress.webhooks_addr();
    let mebibyte = Bytes::from(vec![b' '; 1024 * 1024]);
    // Half of them have to be read to the end and hashed, the others are known to be forged by their form.
    let forms = [format!("sha256={}", "0".repeat(64)), "sha256=none".to_owned()];
    let forged = (0..FORGED).map(|n| send_forged(address, &forms[n % 2], &mebibyte));
    let answers = join_all(forged).await;
    stack.ingress.check().unwrap();
    let peak = peak_mb(&stack.ingress.process).unwrap();
    assert!(peak < LIMIT, "ingress has had {peak} MB");
    let mut refused = 0;
    for answer in &answers {
        match answer {
            // 503 is the answer when there is no memory for a body.
            Ok(403 | 503) => refused += 1,
            Ok(status) => panic!("a forgery was answered {status}"),
            Err(_) => {}
        }
    }
    // The reader that measures nothing would pass too.
    assert!(refused >= FORGED / 2, "only {refused} got their refusal: {answers:?}");
    assert!(answers.iter().step_by(2).any(|answer| *answer == Ok(403)), "no body was read to its end");
    let good = Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "after")]));
    let delivered = async || {
        let answer = stack.sender.send(&good).await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    stack.eventually("a good delivery is taken", SOON, delivered).await.unwrap();
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 1);
}

/// `MAX_BODY_MEMORY_MIB`, and twice of it, in MB.
const BUDGET: &str = "128";
const TWICE: f64 = 2.0 * 128.0 * 1.048_576;

/// What cannot be compressed much.
fn noise(bytes: usize) -> String {
    const WORDS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(WORDS[(state >> 58) as usize])
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Sends a request from an address of its own, and gives the answer's status; `None` when it hangs up before that.
async fn send(stack: &Stack, n: usize, request: &Request, waits: bool) -> Option<u16> {
    let request = request.clone().with("x-github-delivery", &format!("delivery-{n}"));
    let socket = tokio::net::TcpSocket::new_v4().ok()?;
    socket.bind(format!("127.0.1.{}:0", n + 1).parse().ok()?).ok()?;
    let (mut read, mut write) = socket.connect(stack.ingress.webhooks_addr()).await.ok()?.into_split();
    let mut head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", request.path, request.body.len());
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = request.body;
    let sending = tokio::spawn(async move {
        write.write_all(format!("{head}\r\n").as_bytes()).await?;
        write.write_all(&body).await?;
        Ok::<_, std::io::Error>(write)
    });
    if !waits {
        drop(sending.await);
        return None;
    }
    let mut answer = [0; 12];
    read.read_exact(&mut answer).await.ok()?;
    sending.abort();
    std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_bodies_of_24_mib_stay_within_twice_the_limit_also_when_their_senders_are_gone() {
    let options = Options { no_worker: true, ..Options::default() }.env("MAX_BODY_MEMORY_MIB", BUDGET);
    let stack = Stack::start_with(options).await.unwrap();
    let of = |bytes: usize| {
        let body = format!(r#"{{"commits":[],"a":"{}"}}"#, noise(bytes));
        let json = Delivery::github("push", &Value::Null).bytes(body);
        [json.clone(), json.form()].map(|delivery| delivery.request(stack.sender.secrets()))
    };
    let [large, form] = of(24 << 20);
    let crowd = (0..24).map(|n| send(&stack, n, if n % 2 == 0 { &large } else { &form }, n % 3 == 0));
    let answers = join_all(crowd).await;
    stack.ingress.check().unwrap();
    // Nothing is known of those whose senders are gone, so what follows shows that they are done with.
    let again = async || {
        for (n, request) in of(2 << 20).iter().enumerate() {
            let status = send(&stack, 100 + n, request, true).await;
            anyhow::ensure!(status == Some(200), "{status:?}");
        }
        Ok(())
    };
    stack.eventually("memory is given back", LONG, again).await.unwrap();
    let peak = peak_mb(&stack.ingress.process).unwrap();
    assert!((50.0..TWICE).contains(&peak), "ingress has had {peak} MB: {answers:?}");
}
