//! Sends requests and reads answers.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::{Delivery, Request, Secrets};

/// Longer than ingress's own deadline, so that its answer is what a test sees.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What ingress answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The body as JSON; text that is none as a JSON string.
    pub body: Value,
    /// `Retry-After`.
    pub retry_after: Option<String>,
}

/// Everybody who sends webhooks to one ingress.
#[derive(Debug, Clone)]
pub struct Sender {
    base: String,
    secrets: Secrets,
    http: reqwest::Client,
}

impl Sender {
    /// Sends to `http://<address>`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, secrets: Secrets) -> anyhow::Result<Self> {
        // The client insists on a TLS provider, though it only ever speaks plain HTTP here. A second
        // sender finds one installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().context("no HTTP client")?;
        Ok(Self { base: base.to_owned(), secrets, http })
    }

    /// What deliveries are signed with.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The same senders for an ingress elsewhere.
    #[must_use]
    pub fn to(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Signs and sends.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn send(&self, delivery: &Delivery) -> anyhow::Result<Answer> {
        self.request(&delivery.request(&self.secrets)).await
    }

    /// Sends what may be spoiled.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn request(&self, request: &Request) -> anyhow::Result<Answer> {
        let method = request.method.parse()?;
        let mut builder = self.http.request(method, format!("{}{}", self.base, request.path));
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let answer = builder.body(request.body.clone()).send().await.context("ingress did not answer")?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = answer.text().await.context("the answer broke off")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, retry_after })
    }

    /// Asks something else than a webhook, such as the admin port's `/metrics`.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn get(&self, url: &str) -> anyhow::Result<(u16, String)> {
        let answer = self.http.get(url).send().await.with_context(|| format!("{url} did not answer"))?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}
