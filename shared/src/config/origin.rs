//! Where the value of a setting comes from.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// A variable of the process.
    Variable,
    /// The file that a variable `NAME_FILE` names.
    File(PathBuf),
    /// `.env` of the working folder.
    Dotenv,
    /// The file that `NAME_FILE` in `.env` names.
    DotenvFile(PathBuf),
    /// One of these under an older name of the variable.
    Older(String, Box<Self>),
    /// The program.
    Default,
    /// It has no value.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Dotenv => f.write_str(".env"),
            Self::DotenvFile(path) => write!(f, "file {}, by .env", path.display()),
            Self::Older(name, origin) => write!(f, "{origin}, as {name}"),
            Self::Default => f.write_str("default"),
            Self::Unset => f.write_str("unset"),
        }
    }
}
