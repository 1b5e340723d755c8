//! Which client a connection or a request belongs to, and how much one client may hold.
//!
//! A client is an IPv4 address or the /64 of an IPv6 address: that of the connection or, behind one of our proxies, the
//! one that the proxy names.

mod proxies;
mod proxy_protocol;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use shared::server::{Client, Fair, Peer, Taken};

pub use proxies::{InvalidProxy, TrustedProxies};
pub use proxy_protocol::{InvalidHeader, read_header};

/// What clients share: connections, and requests that come through a proxy.
#[derive(Debug)]
pub struct Clients {
    proxies: TrustedProxies,
    connections: Arc<Fair>,
    forwarded: Arc<Fair>,
}

impl Clients {
    /// Shares this many connections. Behind a proxy, this many requests: one connection of a proxy carries requests of
    /// many clients.
    #[must_use]
    pub fn new(proxies: TrustedProxies, connections: usize) -> Self {
        Self { proxies, connections: Fair::new(connections), forwarded: Fair::new(connections) }
    }

    /// Whether a peer is one of our proxies, which name their clients.
    #[must_use]
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.contains(peer)
    }

    /// A connection of a client, unless it has its share. A proxy's connections carry its clients' requests, and do not
    /// count.
    #[must_use]
    pub fn connect(&self, peer: IpAddr) -> Option<Option<Taken>> {
        if self.is_proxy(peer) { Some(None) } else { self.connections.take(Client::of(peer), 1).map(Some) }
    }

    /// The same, and waits so long for a connection to end.
    pub async fn connect_within(&self, peer: IpAddr, wait: Duration) -> Option<Option<Taken>> {
        if self.is_proxy(peer) {
            return Some(None);
        }
        self.connections.take_within(Client::of(peer), 1, wait).await.map(Some)
    }

    /// The client of a request; the request counts if it came through a proxy. `None` when its client has its share.
    #[must_use]
    pub fn request(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<(Client, Option<Taken>)> {
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        if !self.is_proxy(peer) {
            return Some((Client::of(peer), None));
        }
        // A proxy that names no client is the client itself, such as for its health check.
        let Some(address) = self.proxies.forwarded_for(headers) else { return Some((Client::of(peer), None)) };
        let client = Client::of(address);
        Some((client, Some(self.forwarded.take(client, 1)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_address_counts_only_from_a_proxy_of_ours() {
        let clients = Clients::new("10.0.0.0/8".parse().unwrap(), 4);
        let headers = [(http::HeaderName::from_static("x-forwarded-for"), "192.0.2.7".parse().unwrap())];
        let headers: HeaderMap = headers.into_iter().collect();
        let of = |peer: &str, headers: &HeaderMap| {
            clients
                .request(Some(Peer(peer.parse().unwrap())), headers)
                .map(|(client, taken)| (client.to_string(), taken))
        };
        assert!(matches!(of("198.51.100.1", &headers), Some((client, None)) if client == "198.51.100.1"));
        assert!(matches!(of("10.1.1.1", &HeaderMap::new()), Some((client, None)) if client == "10.1.1.1"));
        let first = of("10.1.1.1", &headers).unwrap();
        assert!(first.0 == "192.0.2.7" && first.1.is_some());
        let _second = of("10.1.1.1", &headers).unwrap();
        assert!(of("10.1.1.2", &headers).is_none(), "it holds as many requests as are free");
    }
}
