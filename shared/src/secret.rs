//! A value that must not appear in a log, an error or a `Debug` dump.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

/// A secret: never printed, wiped when the last clone is dropped, never empty.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// The secret itself. Do not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(set)")
    }
}

/// The text of a secret is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an empty secret is no secret")]
pub struct EmptySecret;

impl FromStr for Secret {
    type Err = EmptySecret;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.is_empty() { Err(EmptySecret) } else { Ok(Self(Arc::new(s.into()))) }
    }
}
