//! Clients that connect and send nothing, or next to nothing, keep nobody else from a page.

use std::net::SocketAddr;

use anyhow::ensure;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{links, serving, two_teams};
use crate::observe::{push, send, stored};
use crate::{LONG, SOON};

/// More than a listener of the worker allows.
const CONNECTIONS: usize = 300;

/// The status of a page, asked from an address of this machine.
async fn status(from: &str, url: &str) -> anyhow::Result<u16> {
    let client = reqwest::Client::builder().no_proxy().local_address(Some(from.parse()?)).build()?;
    Ok(client.get(url).send().await?.status().as_u16())
}

#[tokio::test]
async fn slow_clients_of_one_address_keep_no_other_from_a_page_and_no_event_from_being_stored() {
    let stack = serving("slow-clients", &two_teams(), &[]).await;
    let link = links(&stack, &[]).await.remove("Ours").unwrap();
    let (pages, admin) = (stack.worker().team_pages(), stack.worker().admin());
    let mut slow = Vec::new();
    for base in [&pages, &admin] {
        let addr: SocketAddr = base.strip_prefix("http://").unwrap().parse().unwrap();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            // Those over the limit are closed at once.
            drop(stream.write_all(b"GET /team/Ours/").await);
            slow.push(stream);
        }
    }
    let (page, ready) = (format!("{pages}{link}"), format!("{admin}/readyz"));
    let refused = async || {
        for url in [&page, &ready] {
            ensure!(status("127.0.0.1", url).await.is_err(), "an address has all of {url}");
        }
        Ok(())
    };
    stack.eventually("the slow client's address has its share", SOON, refused).await.unwrap();
    for url in [&page, &ready] {
        assert_eq!(status("127.0.0.2", url).await.unwrap(), 200, "{url}");
    }
    send(&stack, &push("Ours", 1)).await;
    stored(&stack, "Ours", 1, SOON).await;
    let served = async || {
        for url in [&page, &ready] {
            ensure!(status("127.0.0.1", url).await? == 200, "{url}");
        }
        Ok(())
    };
    stack.eventually("connections without a request are closed", LONG, served).await.unwrap();
    drop(slow);
}
