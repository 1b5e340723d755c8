//! Forged requests do not exhaust the memory: two hundred at once, each with the largest body that is allowed.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use harness::eventually::Alive as _;
use harness::process::usage::peak_mb;
use harness::sender::{Delivery, github};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{SOON, only_ingress};

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
