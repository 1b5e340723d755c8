//! Values of settings that more than one group checks.

/// A setting that cannot work; its text shows what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(pub(super) &'static str);

/// A host as it stands in a URL: an IPv6 address between brackets.
pub(super) fn host(text: &str) -> Result<String, Invalid> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{bare}]"));
    }
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.chars().all(good) {
        true => Ok(text.to_owned()),
        false => Err(Invalid("write a host name or an address alone, such as ld_eval, 10.0.0.7 or ::1")),
    }
}
