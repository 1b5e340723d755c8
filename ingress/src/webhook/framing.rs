//! Ambiguous HTTP framing, which two readers could parse differently: the host, and where a body ends.
//!
//! hyper refuses the rest itself (different lengths, folded headers, invalid chunk sizes). A request with both a length
//! and chunks is read by its chunks, and its connection is closed afterwards.

use http::{HeaderMap, Version, header};

use super::refusal::Refusal;

/// Refuses a request that a proxy in front of us could read in another way.
///
/// # Errors
/// [`Refusal::Framing`] when HTTP/1.1 has not exactly one `Host`, or a body is coded in any way but `chunked`.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    if version == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Refusal::Framing("Host is required as header, exactly once"));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::Framing("Transfer-Encoding must be chunked, once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(version: Version, lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        check(version, &headers).is_err()
    }

    #[test]
    fn one_host_and_at_most_one_chunked() {
        let host = ("host", "x");
        let coded = |coding| ("transfer-encoding", coding);
        assert!(!refuses(Version::HTTP_11, &[host]) && !refuses(Version::HTTP_10, &[]));
        assert!(!refuses(Version::HTTP_11, &[host, coded(" Chunked ")]));
        assert!(refuses(Version::HTTP_11, &[]) && refuses(Version::HTTP_11, &[host, host]));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            assert!(refuses(Version::HTTP_11, &[host, coded(coding)]), "{coding}");
        }
        assert!(refuses(Version::HTTP_11, &[host, coded("chunked"), coded("chunked")]));
    }
}
