//! Google Sheets: one HMAC; every body is an activity, and its hash is the identity.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use shared::hash::sha256_hex;

use crate::webhook::inspect::{Inspected, check_object, text};
use crate::webhook::refusal::Refusal;
use crate::webhook::signature::{Claim, sha256_digest, single};

const SIGNATURE_SHA256: HeaderName = HeaderName::from_static("x-sheets-signature");

/// The only kind of event that a sheet sends.
const EVENT: &str = "sheets_activity";

pub(super) fn claim(headers: &HeaderMap) -> Option<Claim> {
    let sha256 = single(headers, &SIGNATURE_SHA256)?.strip_prefix(b"sha256=")?;
    Some(Claim::Signed(vec![sha256_digest(sha256)?]))
}

/// Apps Script declares a form by default and sends JSON, so the declared content type does not count.
pub(super) fn inspect(body: Bytes) -> Result<Inspected, Refusal> {
    check_object(text(&body)?)?;
    Ok(Inspected::Event { event: EVENT, delivery: sha256_hex(&body), payload: body })
}
