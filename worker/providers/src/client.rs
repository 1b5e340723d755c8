//! One request to a provider: with a permit, a timeout, and its rate limits respected.

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use shared::envelope::header::TRACEPARENT;
use shared::throttle::Throttle;
use shared::trace;

use crate::ProviderError;
use crate::limiter::{QueueSlot, RateLimiter, RequestPermit};
use crate::rate_limit::{self as limits, Judged};
use crate::report::Reporter;
use crate::tokens::CredentialId;

/// Of a request and its whole reply.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// In bytes. A commit's reply holds its patches, which GitHub cuts at a few megabytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

const MAX_REDIRECTS: usize = 5;

/// GitHub refuses requests without one.
const USER_AGENT: &str = concat!("ld-connect/", env!("CARGO_PKG_VERSION"));

/// A provider's API.
#[derive(Debug)]
pub struct ProviderClient {
    provider: &'static str,
    /// Builds requests; only [`call`](Self::call) sends them.
    pub http: Client,
    limiter: RateLimiter,
    outages: Throttle,
}

/// A 2xx, or a 4xx that is not about a rate limit.
#[derive(Debug)]
pub struct ProviderReply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl ProviderClient {
    /// `provider` is its name in metrics.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(provider: &'static str, reporter: Reporter) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(REQUEST_TIMEOUT)
            .user_agent(USER_AGENT)
            .redirect(redirects())
            .build()?;
        let (limiter, outages) = (RateLimiter::new(provider, reporter), Throttle::new(Duration::from_secs(60)));
        Ok(Self { provider, http, limiter, outages })
    }

    /// A slot for a look-up of this token.
    ///
    /// # Errors
    /// [`ProviderError::Limited`].
    pub fn queue_slot(&self, credential: &CredentialId) -> Result<QueueSlot, ProviderError> {
        self.limiter.queue_slot(credential).map_err(ProviderError::Limited)
    }

    /// Sends a request with a permit of its token. `endpoint` is its name in metrics.
    ///
    /// # Errors
    /// When the token must wait or the provider fails. The request can be repeated.
    pub async fn call(
        &self,
        credential: &CredentialId,
        endpoint: &'static str,
        request: RequestBuilder,
    ) -> Result<ProviderReply, ProviderError> {
        let permit = self.limiter.permit(credential).await.map_err(ProviderError::Limited)?;
        let began = Instant::now();
        let answer = exchange(request).await;
        metrics::histogram!("ldconnect_enrich_seconds", "provider" => self.provider)
            .record(began.elapsed().as_secs_f64());
        let status = answer.as_ref().map_or_else(|_| "none".to_owned(), |answer| answer.status.as_str().to_owned());
        metrics::counter!("ldconnect_enrich_calls_total", "provider" => self.provider, "endpoint" => endpoint, "status" => status)
            .increment(1);
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => return Err(self.failed(&permit, error)),
        };
        let now = shared::time::now_ms();
        let headers = &reply.headers;
        let remaining = limits::remaining(headers);
        match limits::judge(reply.status, headers, &reply.body, now) {
            // A bad token is not a failure of the provider. The caller decides.
            Judged::Answer if reply.status == StatusCode::UNAUTHORIZED => Ok(reply),
            Judged::Answer => {
                permit.answered(remaining);
                if self.outages.reset() {
                    tracing::info!(provider = self.provider, "the provider answers again");
                }
                if let Some(wait) = limits::used_up(headers, now) {
                    self.stopped(credential, permit.stop(Some(wait), remaining));
                }
                Ok(reply)
            }
            Judged::Limited(wait) => {
                let wait = permit.stop(wait, remaining);
                self.stopped(credential, wait);
                Err(ProviderError::Limited(wait))
            }
            Judged::Failing => Err(self.failed(&permit, format!("{} answered {}", self.provider, reply.status))),
        }
    }

    /// Starts the token's cooldown for a limit or refusal that only the caller can see in the body.
    pub async fn stop(&self, credential: &CredentialId, wait: Option<Duration>) -> ProviderError {
        match self.limiter.permit(credential).await {
            Ok(permit) => {
                let wait = permit.stop(wait, None);
                self.stopped(credential, wait);
                ProviderError::Limited(wait)
            }
            Err(wait) => ProviderError::Limited(wait),
        }
    }

    fn stopped(&self, credential: &CredentialId, wait: Duration) {
        tracing::info!(
            provider = self.provider,
            token = %credential.label,
            wait = %shared::duration::duration(wait),
            "a token reached its rate limit; its look-ups wait, other tokens' go on"
        );
    }

    fn failed(&self, permit: &RequestPermit<'_>, error: String) -> ProviderError {
        permit.failed();
        if let Some(held_back) = self.outages.open() {
            tracing::warn!(provider = self.provider, %error, held_back, "a provider fails; look-ups wait in LD_ENRICH and are retried");
        }
        ProviderError::Unavailable(error)
    }
}

/// Follows a redirect within one server, as GitHub sends for a renamed repository. To another server it would carry a
/// login (a 307 or 308 repeats the body), so the redirect itself is the reply.
#[must_use]
pub fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
    })
}

/// The error is a sentence without the URL.
async fn exchange(mut request: RequestBuilder) -> Result<ProviderReply, String> {
    if let Some(traceparent) = trace::current() {
        request = request.header(TRACEPARENT, traceparent);
    }
    let mut response = request.send().await.map_err(sentence)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(sentence)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return Err(format!("its reply is over {MAX_BODY} bytes"));
        }
    }
    Ok(ProviderReply { status, headers, body })
}

/// With the causes and without the URL, which names a private repository.
fn sentence(error: reqwest::Error) -> String {
    use std::error::Error as _;
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::github::GithubClient;
    use crate::taiga::TaigaClient;
    use crate::tokens::{Account, Login, Token};

    fn credential() -> CredentialId {
        CredentialId { label: "default".to_owned(), id: "1".to_owned() }
    }

    /// A server that answers everything with a redirect to `other`, and the address of its API.
    async fn redirecting(status: u16, other: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
        let other = other.to_owned();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                let answer = format!(
                    "HTTP/1.1 {status} Redirect\r\nLocation: {other}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        url
    }

    #[tokio::test]
    async fn no_login_follows_a_redirect_to_another_server() {
        drop(rustls::crypto::ring::default_provider().install_default());
        for status in [301, 302, 303, 307, 308] {
            let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            other.set_nonblocking(true).unwrap();
            let url = redirecting(status, &format!("http://{}", other.local_addr().unwrap())).await;
            let taiga = TaigaClient::new(&url, &url, Reporter::silent()).unwrap();
            let password: shared::secret::Secret = "hush".parse().unwrap();
            let with_password = Login::Password { username: "u".to_owned(), password: password.clone() };
            for login in [with_password, Login::Token(password.clone())] {
                let account = Account { credential: credential(), login };
                let answer =
                    taiga.request(&account, "test", (reqwest::Method::GET, "/users/me"), |request| request).await;
                match answer {
                    Ok(reply) => assert_eq!(reply.status.as_u16(), status),
                    Err(error) => assert!(format!("{error:?}").contains(&status.to_string()), "{error:?}"),
                }
            }
            let github = GithubClient::new(&url, Reporter::silent()).unwrap();
            let token = Token { credential: credential(), secret: password };
            let answer = github.request(&token, "test", (reqwest::Method::POST, "/repos/o/r"), |request| request).await;
            assert_eq!(answer.unwrap().status.as_u16(), status);
            assert!(other.accept().is_err(), "{status}: the other server was asked");
        }
    }
}
