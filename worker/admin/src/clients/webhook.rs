//! Webhooks as GitHub, Taiga and the add-on for Google Sheets sign and send them.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{RequestBuilder, Url};
use sha1::Sha1;
use sha2::Sha256;
use shared::hash::hex;
use shared::secret::Secret;
use shared::source::Source;

/// What a sender says beside the body.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// GitHub's name of the event.
    pub event: &'a str,
    /// GitHub's id of the delivery.
    pub delivery: &'a str,
}

/// A request with the headers that this source's sender sets; unsigned where there is no secret.
pub fn request(
    http: &reqwest::Client,
    url: Url,
    source: Source,
    said: Said<'_>,
    secret: Option<&Secret>,
    body: String,
) -> RequestBuilder {
    let mut request = http.post(url).header("content-type", "application/json");
    let bytes = body.as_bytes();
    if source == Source::Github {
        request = request.header("x-github-event", said.event);
        if !said.delivery.is_empty() {
            request = request.header("x-github-delivery", said.delivery);
        }
    }
    if let Some(secret) = secret {
        let (sha1, sha256) = (mac::<Hmac<Sha1>>(secret, bytes), mac::<Hmac<Sha256>>(secret, bytes));
        request = match source {
            Source::Github => request
                .header("x-hub-signature", format!("sha1={sha1}"))
                .header("x-hub-signature-256", format!("sha256={sha256}")),
            Source::Taiga => request.header("x-taiga-webhook-signature", sha1),
            Source::Excel => request.header("x-sheets-signature", format!("sha256={sha256}")),
        };
    }
    request.body(body)
}

/// The signature in lower-case hex.
fn mac<M: Mac + KeyInit>(secret: &Secret, bytes: &[u8]) -> String {
    let mac = <M as KeyInit>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of every length");
    hex(mac.chain_update(bytes).finalize().into_bytes())
}
