//! One delivery: what is said, for whom, and how it is signed. And the request that comes of it, which a
//! test may spoil.

use bytes::Bytes;
use rand::Rng as _;
use serde_json::Value;

use super::Source;
use super::sign::{self, Secrets};

/// What a provider has to say, before it is signed.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose endpoint it goes to.
    pub source: Source,
    /// `prj`.
    pub project: String,
    /// `quality_model`.
    pub quality_model: Option<String>,
    /// GitHub's event name.
    pub event: String,
    /// GitHub's delivery id.
    pub id: String,
    pub json: Bytes,
    form: bool,
}

impl Delivery {
    /// What GitHub sends, with a delivery id of its own.
    #[must_use]
    pub fn github(event: &str, body: &Value) -> Self {
        Self::new(Source::Github, event, body)
    }

    /// What Taiga sends.
    #[must_use]
    pub fn taiga(body: &Value) -> Self {
        Self::new(Source::Taiga, "", body)
    }

    /// What the add-on sends.
    #[must_use]
    pub fn sheets(body: &Value) -> Self {
        Self::new(Source::Excel, "", body)
    }

    fn new(source: Source, event: &str, body: &Value) -> Self {
        let json = body.to_string().into();
        let id = guid();
        Self { source, project: "Team".to_owned(), quality_model: None, event: event.to_owned(), id, json, form: false }
    }

    #[must_use]
    pub fn project(mut self, project: &str) -> Self {
        self.project = project.to_owned();
        self
    }

    #[must_use]
    pub fn quality_model(mut self, model: &str) -> Self {
        self.quality_model = Some(model.to_owned());
        self
    }

    /// With exactly these bytes instead of the JSON.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.json = bytes.into();
        self
    }

    /// As `application/x-www-form-urlencoded`: of GitHub a form with the JSON as its field `payload`, of
    /// Apps Script the bare JSON all the same.
    #[must_use]
    pub fn form(mut self) -> Self {
        self.form = true;
        self
    }

    /// The signed request.
    #[must_use]
    pub fn request(&self, secrets: &Secrets) -> Request {
        let body = if self.form && self.source == Source::Github { form(&self.json) } else { self.json.clone() };
        let kind = if self.form { "application/x-www-form-urlencoded" } else { "application/json" };
        let mut headers = vec![("content-type", kind.to_owned())];
        match self.source {
            Source::Github => headers.extend([
                ("user-agent", "GitHub-Hookshot/0000000".to_owned()),
                ("x-github-event", self.event.clone()),
                ("x-github-delivery", self.id.clone()),
                ("x-hub-signature", format!("sha1={}", sign::hmac_sha1(&secrets.github, &body))),
                ("x-hub-signature-256", format!("sha256={}", sign::hmac_sha256(&secrets.github, &body))),
            ]),
            Source::Taiga => {
                let signature = sign::hmac_sha1(&secrets.taiga, &body);
                let hub = format!("sha1={signature}");
                headers.extend([("x-taiga-webhook-signature", signature), ("x-hub-signature", hub)]);
            }
            Source::Excel => headers.extend(
                secrets
                    .excel
                    .iter()
                    .map(|key| ("x-sheets-signature", format!("sha256={}", sign::hmac_sha256(key, &body)))),
            ),
        }
        let model = self.quality_model.iter().map(|model| format!("&quality_model={model}"));
        let path = format!("/webhook/{}?prj={}{}", self.source, self.project, model.collect::<String>());
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Request { method: "POST".to_owned(), path, headers, body }
    }
}

/// The bytes that go over the wire, as a test may spoil them.
#[derive(Debug, Clone)]
pub struct Request {
    /// Usually `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Without `Host` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// What was signed.
    pub body: Bytes,
}

impl Request {
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// With this path and query.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(had, _)| had != name);
        self
    }

    /// With another value of a header.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let mut changed = self.without(name);
        changed.headers.push((name.to_owned(), value.to_owned()));
        changed
    }

    /// The value of a header; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(had, _)| had == name).map_or("", |(_, value)| value)
    }

    /// The same request for a terminal. Its body is between single quotes, so it must hold none.
    #[must_use]
    pub fn curl(&self, base: &str) -> String {
        let mut line = format!("curl -X {} '{base}{}'", self.method, self.path);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "user-agent") {
            line += &format!(" \\\n  -H '{name}: {value}'");
        }
        line + &format!(" \\\n  --data-binary '{}'", String::from_utf8_lossy(&self.body).replace('\'', "'\\''"))
    }
}

/// An id like those of GitHub's deliveries.
#[must_use]
pub fn guid() -> String {
    let n = format!("{:032x}", rand::rng().random::<u128>());
    format!("{}-{}-{}-{}-{}", &n[..8], &n[8..12], &n[12..16], &n[16..20], &n[20..])
}

/// `payload=<percent-encoded>`, with `+` for spaces, as GitHub writes it.
fn form(json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + json.len() / 2);
    out.extend_from_slice(b"payload=");
    for &byte in json {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'*' => out.push(byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    out.into()
}
