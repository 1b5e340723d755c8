//! Names that are checked once, where they enter, and trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name outside its alphabet. The text says what is allowed and never repeats the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {allowed}")]
pub struct InvalidName {
    what: &'static str,
    allowed: &'static str,
}

impl InvalidName {
    /// What the name is for, and its alphabet.
    #[must_use]
    pub const fn new(what: &'static str, allowed: &'static str) -> Self {
        Self { what, allowed }
    }
}

/// The alphabet of a project id and a quality model: safe in a subject, a collection and a file name.
const NAME: &str = "1 to 64 characters of A-Z, a-z, 0-9, _ and -";

fn is_name(s: &str) -> bool {
    (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the alphabet.
            ///
            /// # Errors
            /// When the name is empty, too long or has a character outside `[A-Za-z0-9_-]`.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                if is_name(name) { Ok(Self(name.into())) } else { Err(InvalidName { what: $what, allowed: NAME }) }
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> { Self::new(s) }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, InvalidName> { Self::new(&s) }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self { name.0.as_ref().to_owned() }
        }
    };
}

checked_name!(
    /// A team's project, the `prj` of every webhook's URL: `[A-Za-z0-9_-]{1,64}`.
    Project, "prj"
);
checked_name!(
    /// The quality model LD Eval applies, the optional `quality_model` of a webhook's URL; same alphabet as [`Project`].
    QualityModel, "quality_model"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_id_is_safe_in_subjects_and_collections() {
        for good in ["a", "AMEP11Beats", "x_y-z", &"p".repeat(64)] {
            assert_eq!(Project::new(good).map(|p| p.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a.b", "a b", "a*", "a>", "é", "a/b", "$x", "a\0", &"p".repeat(65)] {
            let error = Project::new(bad).expect_err(bad).to_string();
            assert_eq!(error, "prj must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -");
        }
    }
}
