//! The version of this build.

use std::sync::LazyLock;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("LD_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
});

/// The version, with the commit where the build was told it by the variable `LD_COMMIT`, as images and packages are.
#[must_use]
pub fn version() -> &'static str {
    &VERSION
}
