//! SHA-256 as text.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes, as 64 lower-case hex digits.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// The first 128 bits of [`sha256_hex`]: for identities that go into a subject or a name.
#[must_use]
pub fn short_sha256(bytes: impl AsRef<[u8]>) -> String {
    short_hex(Sha256::digest(bytes))
}

/// The first 16 of some bytes as hex: of a SHA-256 that was made of several parts.
#[must_use]
pub fn short_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(&bytes.as_ref()[..bytes.as_ref().len().min(16)])
}

/// Bytes as lower-case hex digits, two a byte.
#[must_use]
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_lower_case_hex() {
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(short_sha256("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(hex([0, 0x0a, 0xff]), "000aff");
    }
}
