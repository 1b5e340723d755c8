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
    /// All that are there must be right.
    Signed { sha1: Option<[u8; 20]>, sha256: Option<[u8; 32]> },
    /// There is no claim, and none is needed: no secret is set, and the source may be unsigned.
    Unsigned,
}

/// The block of both hashes, in bytes.
const BLOCK: usize = 64;

/// The key that a right signature was made with; `None` where no secret is set and the source may be unsigned.
pub type SignedWith = Option<KeyKind>;

/// Checks a claim against the bytes it was made over, with the keys in force. `None` when it is wrong.
#[must_use]
pub fn verify(claim: &Claim, body: &[u8], keys: &[Key]) -> Option<SignedWith> {
    match claim {
        // Where a secret is set, it must have signed.
        Claim::Unsigned => keys.is_empty().then_some(None),
        Claim::Signed { sha1, sha256 } => {
            let has_signed = |key: &&Key| {
                let key = key.secret.expose().as_bytes();
                match (sha1, sha256) {
                    (Some(sha1), Some(sha256)) => are_right(sha1, sha256, body, key),
                    (Some(sha1), None) => is_right::<Hmac<Sha1>>(sha1, body, key),
                    (None, Some(sha256)) => is_right::<Hmac<Sha256>>(sha256, body, key),
                    (None, None) => false,
                }
            };
            keys.iter().find(has_signed).map(|key| Some(key.kind))
        }
    }
}

fn is_right<M: Mac + KeyInit>(expected: &[u8], body: &[u8], key: &[u8]) -> bool {
    new::<M>(key).is_some_and(|mac| mac.chain_update(body).verify_slice(expected).is_ok())
}

/// Both are always computed: the time that it takes does not depend on which one is wrong.
fn are_right(sha1: &[u8], sha256: &[u8], body: &[u8], key: &[u8]) -> bool {
    let (Some(mut of_sha1), Some(mut of_sha256)) = (new::<Hmac<Sha1>>(key), new::<Hmac<Sha256>>(key)) else {
        return false;
    };
    // Block by block, by turns: the processor then works on both at once, which takes three quarters of the time.
    for block in body.chunks(BLOCK) {
        of_sha1.update(block);
        of_sha256.update(block);
    }
    of_sha1.verify_slice(sha1).is_ok() & of_sha256.verify_slice(sha256).is_ok()
}

/// HMAC takes keys of every length.
fn new<M: KeyInit>(key: &[u8]) -> Option<M> {
    M::new_from_slice(key).ok()
}

/// The value of a header that stands exactly once.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// Exactly `2 N` lower-case hex digits.
pub(super) fn digest<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
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
