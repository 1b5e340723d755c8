//! Addresses without the user and password in them, for logs and reports.

/// `nats://user:password@host` as `nats://…@host`; several, separated by commas, too.
#[must_use]
pub fn without_passwords(urls: &str) -> String {
    urls.split(',').map(|url| without_login(url.trim())).collect::<Vec<_>>().join(",")
}

/// One address without user and password; a password may hold a comma.
///
/// An address without a host may consist of nothing but user and password, so all of it is left out.
#[must_use]
pub fn without_login(url: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").map_or((String::new(), url), |(name, rest)| (format!("{name}://"), rest));
    if let Some((_, host)) = rest.rsplit_once('@') {
        return format!("{scheme}…@{host}");
    }
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    let is_plain = |host: &str| {
        // An IPv6 address has colons of its own.
        let port = host.rsplit_once(']').map_or(host, |(_, port)| port).split_once(':').map(|(_, port)| port);
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if hosts.split(',').all(is_plain) { url.to_owned() } else { format!("{scheme}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_of_addresses() {
        assert_eq!(without_passwords("nats://u:hush@a:1, b:2,tls://c"), "nats://…@a:1,b:2,tls://c");
        assert_eq!(without_login("mongodb://u:h,u@a:1,b:2/x?y=z"), "mongodb://…@a:1,b:2/x?y=z");
        assert_eq!(without_login("mongodb://localhost:27017"), "mongodb://localhost:27017");
        assert_eq!(without_login("mongodb://[::1]:27017,b:1/x?y=a:b"), "mongodb://[::1]:27017,b:1/x?y=a:b");
        assert_eq!(without_login("mongodb://u:hush"), "mongodb://…");
        assert_eq!(without_login("mongodb://u:hush/1@h"), "mongodb://…@h");
        assert_eq!(without_passwords("u:hush,nats://[::1]:4222,nats://a:x"), "…,nats://[::1]:4222,nats://…");
    }
}
