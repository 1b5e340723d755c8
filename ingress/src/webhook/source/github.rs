//! GitHub: two HMACs, the event and its id in headers, JSON or a form.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use shared::hash::sha256_hex;
use shared::source::Source;

use crate::webhook::form;
use crate::webhook::inspect::{Inspected, check_object, ignored, stored, text, walk};
use crate::webhook::refusal::Refusal;
use crate::webhook::signature::{Claim, digest, single};

const SIGNATURE_SHA1: HeaderName = HeaderName::from_static("x-hub-signature");
const SIGNATURE_SHA256: HeaderName = HeaderName::from_static("x-hub-signature-256");
const EVENT: HeaderName = HeaderName::from_static("x-github-event");
/// The id of a delivery, which GitHub shows too.
pub const DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");

/// The event of which only some actions are stored.
const REPOSITORY: &str = "repository";

/// GitHub sends two signatures, and both must be right.
pub(super) fn claim(headers: &HeaderMap) -> Option<Claim> {
    let sha1 = single(headers, &SIGNATURE_SHA1)?.strip_prefix(b"sha1=")?;
    let sha256 = single(headers, &SIGNATURE_SHA256)?.strip_prefix(b"sha256=")?;
    Some(Claim::Signed { sha1: Some(digest(sha1)?), sha256: Some(digest(sha256)?) })
}

/// Without a delivery id, the hash of the body is the identity.
pub(super) fn inspect(headers: &HeaderMap, body: Bytes) -> Result<Inspected, Refusal> {
    if body.is_empty() {
        return Err(Refusal::NoJson);
    }
    let payload = if is_form(headers) { form::payload(&body)?.into() } else { body.clone() };
    let text = text(&payload)?;
    check_object(text)?;
    let event = headers.get(EVENT).map(|value| value.as_bytes().trim_ascii()).filter(|name| !name.is_empty());
    let event = event.ok_or(Refusal::NoEvent)?;
    let name = String::from_utf8_lossy(event);
    let Some(event) = stored(Source::Github, &name).filter(|event| *event != REPOSITORY || is_moved(text)) else {
        return Ok(ignored(&name));
    };
    // The header is not signed: it must at least be safe as a header of the message and in the answer.
    let delivery = headers
        .get(DELIVERY)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| sha256_hex(&body), str::to_owned);
    Ok(Inspected::Event { event, delivery, payload })
}

/// Whether a `repository` event is a rename or a transfer.
fn is_moved(text: &str) -> bool {
    let mut action = None;
    // Of a repeated field the last one counts, as in most readers.
    let read = walk(text, |name, value| {
        if name == b"action" {
            action = Some(value.get());
        }
    });
    read.is_ok() && matches!(action, Some(r#""renamed""# | r#""transferred""#))
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = declared.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}
