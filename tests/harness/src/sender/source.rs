//! The three sources. The harness has names of its own, so that it is built without the code under test.

use std::fmt;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A GitHub webhook.
    Github,
    /// A Taiga webhook.
    Taiga,
    /// The Google Sheets add-on.
    Excel,
}

impl Source {
    pub const ALL: [Self; 3] = [Self::Github, Self::Taiga, Self::Excel];

    /// Its name in the path of its endpoint, `/webhook/<name>`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Taiga => "taiga",
            Self::Excel => "excel",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
