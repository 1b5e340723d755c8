//! HMACs over the exact bytes of the body, compared in constant time.
//!
//! A signature is read strictly: its header stands exactly once, with exactly the prefix, the number and the
//! case of hex digits that its sender writes. Everything else is refused.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName};
use sha1::Sha1;
use sha2::Sha256;
use shared::credentials::{Key, KeyKind};

/// What the signature headers of a request claim, well-formed and not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// All of these must be right.
    Signed(Vec<Digest>),
    /// There is no claim, and none is needed: no secret is set, and the source may be unsigned.
    Unsigned,
}

/// One HMAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

/// The key that a right signature was made with; `None` where no secret is set and the source may be unsigned.
pub type SignedWith = Option<KeyKind>;

/// Checks a claim against the bytes it was made over, with the keys in force. `None` when it is wrong.
#[must_use]
pub fn verify(claim: &Claim, body: &[u8], keys: &[Key]) -> Option<SignedWith> {
    match claim {
        // Where a secret is set, it must have signed.
        Claim::Unsigned => keys.is_empty().then_some(None),
        Claim::Signed(digests) => {
            let right = keys.iter().find(|key| are_right(digests, body, key.secret.expose().as_bytes()));
            right.map(|key| Some(key.kind))
        }
    }
}

/// All are always computed: the time that it takes does not depend on which one is wrong.
fn are_right(digests: &[Digest], body: &[u8], key: &[u8]) -> bool {
    let right = digests.iter().map(|digest| match digest {
        Digest::Sha1(expected) => hmac_is::<Hmac<Sha1>>(key, body, expected),
        Digest::Sha256(expected) => hmac_is::<Hmac<Sha256>>(key, body, expected),
    });
    !digests.is_empty() & right.fold(true, |all, one| all & one)
}

fn hmac_is<M: Mac + KeyInit>(key: &[u8], body: &[u8], expected: &[u8]) -> bool {
    // HMAC takes keys of every length.
    <M as KeyInit>::new_from_slice(key).is_ok_and(|mac| mac.chain_update(body).verify_slice(expected).is_ok())
}

/// The value of a header that stands exactly once.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// An HMAC-SHA1 in hex.
pub(super) fn sha1_digest(hex: &[u8]) -> Option<Digest> {
    digest(hex).map(Digest::Sha1)
}

/// An HMAC-SHA256 in hex.
pub(super) fn sha256_digest(hex: &[u8]) -> Option<Digest> {
    digest(hex).map(Digest::Sha256)
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
