//! Taiga: one HMAC; kind and identity in the body.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use shared::hash::{hex, sha256_hex};
use shared::source::Source;

use crate::webhook::inspect::{Inspected, NOT_AN_OBJECT, check_object, ignored, stored, text, walk};
use crate::webhook::refusal::Refusal;
use crate::webhook::signature::{Claim, digest, single};

/// Taiga also sends `X-Hub-Signature`, which has no meaning here.
const SIGNATURE_SHA1: HeaderName = HeaderName::from_static("x-taiga-webhook-signature");

pub(super) fn claim(headers: &HeaderMap) -> Option<Claim> {
    Some(Claim::Signed { sha1: Some(digest(single(headers, &SIGNATURE_SHA1)?)?), sha256: None })
}

pub(super) fn inspect(body: Bytes) -> Result<Inspected, Refusal> {
    let text = text(&body)?;
    // Names are read as bytes, where a raw control character would go unnoticed. Compact JSON has none at all.
    if text.bytes().any(|byte| byte < b' ') {
        check_object(text)?;
    }
    let Some(fields) = TaigaFields::read(text)? else {
        return Err(NOT_AN_OBJECT);
    };
    let kind = fields.kind.filter(|raw| raw.get().starts_with('"'));
    let kind = kind.ok_or(Refusal::Json("The body has no text as type, which every webhook of Taiga has"))?;
    let kind = plain(kind).unwrap_or_default();
    let Some(event) = stored(Source::Taiga, &kind) else { return Ok(ignored(&kind)) };
    let delivery = fields.identity(event).unwrap_or_else(|| sha256_hex(&body));
    Ok(Inspected::Event { event, delivery, payload: body })
}

/// The text of a JSON string; `None` for anything else, and for a text that is not Unicode.
fn plain(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    Some(text.into())
}

/// The fields of a Taiga body that its kind and identity are made of, as raw JSON. Of a repeated field the last
/// counts, as in most readers.
#[derive(Default)]
struct TaigaFields<'a> {
    kind: Option<&'a RawValue>,
    action: Option<&'a RawValue>,
    date: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
}

impl<'a> TaigaFields<'a> {
    fn read(text: &'a str) -> Result<Option<Self>, Refusal> {
        let mut fields = Self::default();
        let is_object = walk(text, |name, value| match name {
            b"type" => fields.kind = Some(value),
            b"action" => fields.action = Some(value),
            b"date" => fields.date = Some(value),
            b"data" => fields.data = Some(value),
            _ => {}
        })?;
        Ok(is_object.then_some(fields))
    }

    /// The hash of (type, action, data.id, date), so that a resend, which has another key order and another
    /// signature, is the same delivery. `None` when one of them is missing.
    fn identity(&self, event: &str) -> Option<String> {
        let mut id = None;
        walk(self.data?.get(), |name, value| {
            if name == b"id" {
                id = Some(value);
            }
        })
        .ok()?;
        let id =
            id.map(RawValue::get).filter(|id| id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()))?;
        let mut hash = Sha256::new();
        for part in [event, &plain(self.action?)?, id, &plain(self.date?)?] {
            // With its length, so that no two quadruples are the same text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Some(hex(hash.finalize()))
    }
}
