//! Who sent it: HMACs over the exact bytes of the body, compared in constant time.
//!
//! A signature is read strictly: its header stands exactly once, with exactly the prefix, the number and the
//! case of hex digits that its sender writes. Everything else is a forgery or a fault, and both are refused.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName};
use sha1::Sha1;
use sha2::Sha256;
use shared::credentials::SigningKeys;
use shared::ids::Source;

const HUB_SHA1: HeaderName = HeaderName::from_static("x-hub-signature");
const HUB_SHA256: HeaderName = HeaderName::from_static("x-hub-signature-256");
const TAIGA_SHA1: HeaderName = HeaderName::from_static("x-taiga-webhook-signature");
const SHEETS_SHA256: HeaderName = HeaderName::from_static("x-sheets-signature");

/// The digests a request claims to have, well-formed and not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// GitHub sends two, and both must be right.
    Github {
        /// Of `X-Hub-Signature`.
        sha1: [u8; 20],
        /// Of `X-Hub-Signature-256`.
        sha256: [u8; 32],
    },
    /// Of `X-TAIGA-WEBHOOK-SIGNATURE`.
    Taiga([u8; 20]),
    /// Of `X-Sheets-Signature`.
    Sheets([u8; 32]),
    /// A sheet where no secret is set: nothing is claimed.
    Unsigned,
}

/// What a right signature was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The current secret.
    Current,
    /// Its predecessor: that sender has still to be changed.
    Previous,
    /// Nothing: a sheet where no secret is set.
    Unsigned,
}

/// Reads the signature headers of a source. `None` when one is absent, repeated or malformed; the body need not
/// be kept then.
#[must_use]
pub fn claim(source: Source, headers: &HeaderMap, secret_set: bool) -> Option<Claim> {
    match source {
        Source::Github => Some(Claim::Github {
            sha1: digest(only(headers, &HUB_SHA1)?.strip_prefix(b"sha1=")?)?,
            sha256: digest(only(headers, &HUB_SHA256)?.strip_prefix(b"sha256=")?)?,
        }),
        Source::Taiga => digest(only(headers, &TAIGA_SHA1)?).map(Claim::Taiga),
        Source::Excel if secret_set => {
            digest(only(headers, &SHEETS_SHA256)?.strip_prefix(b"sha256=")?).map(Claim::Sheets)
        }
        Source::Excel => Some(Claim::Unsigned),
    }
}

/// Checks a claim against the bytes it was made over. `None` when it is wrong.
#[must_use]
pub fn verify(claim: &Claim, body: &[u8], keys: Option<&SigningKeys>) -> Option<Signed> {
    let Some(keys) = keys else {
        return (*claim == Claim::Unsigned).then_some(Signed::Unsigned);
    };
    if is_right(claim, body, keys.current.expose().as_bytes()) {
        return Some(Signed::Current);
    }
    let previous = keys.previous.as_ref()?;
    is_right(claim, body, previous.expose().as_bytes()).then_some(Signed::Previous)
}

fn is_right(claim: &Claim, body: &[u8], key: &[u8]) -> bool {
    match claim {
        // Both are always computed: how long it takes does not tell which one is wrong.
        Claim::Github { sha1, sha256 } => {
            hmac_is::<Hmac<Sha1>>(key, body, sha1) & hmac_is::<Hmac<Sha256>>(key, body, sha256)
        }
        Claim::Taiga(sha1) => hmac_is::<Hmac<Sha1>>(key, body, sha1),
        Claim::Sheets(sha256) => hmac_is::<Hmac<Sha256>>(key, body, sha256),
        // A secret is set, so an unsigned sheet is a forgery.
        Claim::Unsigned => false,
    }
}

fn hmac_is<M: Mac + KeyInit>(key: &[u8], body: &[u8], expected: &[u8]) -> bool {
    // HMAC takes keys of every length.
    <M as KeyInit>::new_from_slice(key).is_ok_and(|mac| mac.chain_update(body).verify_slice(expected).is_ok())
}

/// The value of a header that stands exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// Exactly `2 N` lower-case hex digits.
fn digest<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
pub(crate) mod tests;
