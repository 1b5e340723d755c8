//! How much a finding matters.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Well,
    /// Somebody should look; events are safe.
    Look,
    /// Something does not work now.
    Broken,
}
