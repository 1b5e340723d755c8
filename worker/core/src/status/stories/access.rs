//! Who may send something again: whoever has `ADMIN_TOKEN`, by a form of our own pages.

use axum::http::{HeaderMap, header};
use shared::hash::sha256_hex;
use shared::secret::Secret;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `ADMIN_TOKEN` is unset.
    Off,
    /// Another site's page sent the form.
    CrossSite,
    Token,
}

/// Looks at a request with a form.
///
/// # Errors
/// When it may not.
pub fn check(token: Option<&Secret>, headers: &HeaderMap, sent: &str) -> Result<(), Refused> {
    let token = token.ok_or(Refused::Off)?;
    if !is_of_our_page(headers) {
        return Err(Refused::CrossSite);
    }
    // Hashes take the same time to compare, wherever the texts differ.
    if sha256_hex(sent) == sha256_hex(token.expose()) { Ok(()) } else { Err(Refused::Token) }
}

/// Browsers say where a form comes from, in one of two headers at least. What is no browser has no page that could
/// be misled.
fn is_of_our_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site".parse().unwrap_or(header::ORIGIN)) {
        return matches!(site, "same-origin" | "none");
    }
    match (headers.get(header::ORIGIN), text(header::ORIGIN), text(header::HOST)) {
        (None, ..) => true,
        (_, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_page_with_the_token_may() {
        let token: Secret = "the-token".parse().unwrap();
        let may = |pairs: &[_], sent: &str| check(Some(&token), &headers(pairs), sent);
        let host = ("host", "ld.example:5081");
        assert_eq!(may(&[host], "the-token"), Ok(()), "curl");
        assert_eq!(may(&[host, ("origin", "http://ld.example:5081")], "the-token"), Ok(()));
        assert_eq!(may(&[host, ("sec-fetch-site", "same-origin")], "the-token"), Ok(()));
        for cross_site in [
            &[host, ("sec-fetch-site", "cross-site")][..],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "http://ld.example:5081.evil.example")],
            &[host, ("origin", "null")],
            &[("origin", "http://ld.example:5081")],
        ] {
            assert_eq!(may(cross_site, "the-token"), Err(Refused::CrossSite), "{cross_site:?}");
        }
        assert_eq!(may(&[host], "the-token "), Err(Refused::Token));
        assert_eq!(check(None, &headers(&[host]), ""), Err(Refused::Off));
    }
}
