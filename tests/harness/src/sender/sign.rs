//! The three signatures, computed here once more, so that ingress's own cannot agree with itself only.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What the senders sign with.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// `GITHUB_SECRET`.
    pub github: String,
    /// `TAIGA_SECRET`.
    pub taiga: String,
    /// `EXCEL_SECRET`; none leaves sheets unsigned.
    pub excel: Option<String>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            github: "github-secret".to_owned(),
            taiga: "taiga-secret".to_owned(),
            excel: Some("excel-secret".to_owned()),
        }
    }
}

/// HMAC-SHA1 in lower-case hex.
#[must_use]
pub fn hmac_sha1(key: &str, bytes: &[u8]) -> String {
    mac::<Hmac<Sha1>>(key, bytes)
}

/// HMAC-SHA256 in lower-case hex.
#[must_use]
pub fn hmac_sha256(key: &str, bytes: &[u8]) -> String {
    mac::<Hmac<Sha256>>(key, bytes)
}

/// SHA-256 in lower-case hex: the identity of a sheet's row.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn mac<M: Mac + KeyInit>(key: &str, bytes: &[u8]) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(bytes);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // GitHub, "Validating webhook deliveries".
        let secret = "It's a Secret to Everybody";
        let known = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(hmac_sha256(secret, b"Hello, World!"), known);
        // RFC 2202, test case 2.
        assert_eq!(hmac_sha1("Jefe", b"what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
