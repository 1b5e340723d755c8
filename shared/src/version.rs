//! The version of this build.

use std::sync::LazyLock;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("LD_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
});

/// The version, with the commit where the variable `LD_COMMIT` was set at the build, as it is for images and packages.
#[must_use]
pub fn version() -> &'static str {
    &VERSION
}
