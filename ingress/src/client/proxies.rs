//! The trusted proxies, which name their clients.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses and networks of proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A part of the list is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be addresses or networks, separated by commas, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidProxy;

impl FromStr for TrustedProxies {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let network = |part: &str| part.parse().or_else(|_| part.parse().map(|address: IpAddr| IpNet::from(address)));
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self).map_err(|_| InvalidProxy)
    }
}

impl TrustedProxies {
    /// Whether an address is a proxy's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client that a proxy names, in `X-Forwarded-For`, else in `Forwarded`: the last address that is not a
    /// proxy's. Each proxy appends the address of its peer, and a client can send such a header itself.
    #[must_use]
    pub fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut named: Vec<_> = parts(headers, &X_FORWARDED_FOR).map(address).collect();
        if named.is_empty() {
            named = parts(headers, &header::FORWARDED).map(|part| address(for_of(part)?)).collect();
        }
        let mut last = None;
        for address in named.into_iter().rev() {
            // What is before an unreadable part was not written by one of our proxies.
            let Some(address) = address else { break };
            last = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        last
    }
}

/// The parts of all headers of a name, in their order.
fn parts<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("unreadable"));
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The value of `for` in a part of `Forwarded`.
fn for_of(part: &str) -> Option<&str> {
    let mut pairs = part.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(value.trim().trim_matches('"'))
}

/// An address, with or without a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(lines: &[(&'static str, &str)]) -> Option<String> {
        let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8:9::/48".parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        proxies.forwarded_for(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_client() {
        let x = "x-forwarded-for";
        for (lines, expected) in [
            (&[][..], None),
            (&[(x, "192.0.2.1")], Some("192.0.2.1")),
            (&[(x, "192.0.2.66, 192.0.2.1, 10.0.0.3")], Some("192.0.2.1")),
            (&[(x, "192.0.2.66"), (x, "192.0.2.1:4711")], Some("192.0.2.1")),
            (&[(x, "10.0.0.4, 10.0.0.3")], Some("10.0.0.4")),
            (&[(x, "192.0.2.66, unknown, 10.0.0.3")], Some("10.0.0.3")),
            (&[(x, "unknown")], None),
            (&[(x, "[2001:db8::1]:80, 2001:db8:9::7")], Some("2001:db8::1")),
            (
                &[("forwarded", "for=192.0.2.66, For=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.3")],
                Some("2001:db8::1"),
            ),
            (&[("forwarded", "proto=https")], None),
            (&[(x, "192.0.2.1"), ("forwarded", "for=192.0.2.2")], Some("192.0.2.1")),
        ] {
            assert_eq!(forwarded(lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_list_holds_addresses_and_networks() {
        let proxies: TrustedProxies = "192.0.2.7, 10.0.0.0/8,2001:db8::/32,".parse().unwrap();
        let contains = |address: &str| proxies.contains(address.parse().unwrap());
        assert!(contains("192.0.2.7") && contains("::ffff:10.1.2.3") && contains("2001:db8::1"));
        assert!(!contains("192.0.2.8") && !contains("2001:db9::1"));
        assert_eq!("proxy.example".parse::<TrustedProxies>(), Err(InvalidProxy));
        assert_eq!("".parse::<TrustedProxies>().map(|proxies| proxies.0.len()), Ok(0));
    }
}
