//! One request to a provider: in its turn, within its time, and with its limits heeded.

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use shared::envelope::header::TRACEPARENT;
use shared::throttle::Throttle;
use shared::trace;

use crate::NotYet;
use crate::budget::{Budget, Seat, Turn};
use crate::rate_limit::{self as limits, Judged};
use crate::report::Teller;
use crate::tokens::Payer;

/// How long an answer may take, with its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// How large an answer may be: a commit's has its patches, which GitHub cuts at a few megabytes.
const LARGEST: usize = 32 * 1024 * 1024;

const MAX_REDIRECTS: usize = 5;

/// What we call ourselves; GitHub refuses whoever does not.
const USER_AGENT: &str = concat!("ld-connect/", env!("CARGO_PKG_VERSION"));

/// A provider's API.
#[derive(Debug)]
pub struct Api {
    provider: &'static str,
    /// Makes requests; they go out by [`call`](Self::call) alone.
    pub http: Client,
    budget: Budget,
    outages: Throttle,
}

/// An answer that says something about what was asked: 2xx, or a 4xx that is about no limit.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Api {
    /// For a provider, by the name metrics have.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(provider: &'static str, teller: Teller) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(PATIENCE)
            .user_agent(USER_AGENT)
            .redirect(redirects())
            .build()?;
        let (budget, outages) = (Budget::new(provider, teller), Throttle::new(Duration::from_secs(60)));
        Ok(Self { provider, http, budget, outages })
    }

    /// A place for a look-up of this token.
    ///
    /// # Errors
    /// [`NotYet::Wait`].
    pub fn seat(&self, payer: &Payer) -> Result<Seat, NotYet> {
        self.budget.seat(payer).map_err(NotYet::Wait)
    }

    /// Sends a request in its token's turn. `endpoint` is its name in metrics.
    ///
    /// # Errors
    /// When the token must wait or the provider fails; the request may be sent again.
    pub async fn call(&self, payer: &Payer, endpoint: &'static str, request: RequestBuilder) -> Result<Reply, NotYet> {
        let turn = self.budget.turn(payer).await.map_err(NotYet::Wait)?;
        let began = Instant::now();
        let answer = exchange(request).await;
        metrics::histogram!("ldconnect_enrich_seconds", "provider" => self.provider)
            .record(began.elapsed().as_secs_f64());
        let status = answer.as_ref().map_or_else(|_| "none".to_owned(), |answer| answer.status.as_str().to_owned());
        metrics::counter!("ldconnect_enrich_calls_total", "provider" => self.provider, "endpoint" => endpoint, "status" => status)
            .increment(1);
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => return Err(self.failed(&turn, error)),
        };
        let now = shared::time::now_ms();
        let headers = &reply.headers;
        let remaining = limits::remaining(headers);
        match limits::judge(reply.status, headers, &reply.body, now) {
            // The provider is well, the token is not: whoever asked decides what that means.
            Judged::Answer if reply.status == StatusCode::UNAUTHORIZED => Ok(reply),
            Judged::Answer => {
                turn.answered(remaining);
                if self.outages.reset() {
                    tracing::info!(provider = self.provider, "the provider answers again");
                }
                if let Some(wait) = limits::used_up(headers, now) {
                    self.stopped(payer, turn.stop(Some(wait), remaining));
                }
                Ok(reply)
            }
            Judged::Limited(wait) => {
                let wait = turn.stop(wait, remaining);
                self.stopped(payer, wait);
                Err(NotYet::Wait(wait))
            }
            Judged::Failing => Err(self.failed(&turn, format!("{} answered {}", self.provider, reply.status))),
        }
    }

    /// A limit or refusal that only the body told: the token rests, ever longer when it is not said how long.
    pub async fn stop(&self, payer: &Payer, wait: Option<Duration>) -> NotYet {
        match self.budget.turn(payer).await {
            Ok(turn) => {
                let wait = turn.stop(wait, None);
                self.stopped(payer, wait);
                NotYet::Wait(wait)
            }
            Err(wait) => NotYet::Wait(wait),
        }
    }

    fn stopped(&self, payer: &Payer, wait: Duration) {
        tracing::info!(
            provider = self.provider,
            token = %payer.label,
            wait_s = wait.as_secs(),
            "a token is at its limit; its look-ups wait, everything else goes on"
        );
    }

    fn failed(&self, turn: &Turn<'_>, error: String) -> NotYet {
        turn.failed();
        if let Some(held_back) = self.outages.open() {
            tracing::warn!(provider = self.provider, %error, held_back, "a provider fails; look-ups wait in LD_ENRICH");
        }
        NotYet::Failing(error)
    }
}

/// Follows a redirect within one server, as GitHub sends for a renamed repository. To another server it would carry a
/// login (a 307 or 308 repeats the body), so the redirect itself is the answer.
#[must_use]
pub fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
    })
}

/// Sends and receives all of it; the error is a sentence without the URL.
async fn exchange(mut request: RequestBuilder) -> Result<Reply, String> {
    if let Some(traceparent) = trace::current() {
        request = request.header(TRACEPARENT, traceparent);
    }
    let mut response = request.send().await.map_err(sentence)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(sentence)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            return Err(format!("its answer is over {LARGEST} bytes"));
        }
    }
    Ok(Reply { status, headers, body })
}

/// The error with its causes and without the URL, which names a private repository.
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
    use crate::github::Github;
    use crate::taiga::Taiga;
    use crate::tokens::{Account, Login, Token};

    fn payer() -> Payer {
        Payer { label: "default".to_owned(), id: "1".to_owned() }
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
            let taiga = Taiga::new(&url, &url, Teller::silent()).unwrap();
            let password: shared::secret::Secret = "hush".parse().unwrap();
            let with_password = Login::Password { username: "u".to_owned(), password: password.clone() };
            for login in [with_password, Login::Token(password.clone())] {
                let account = Account { payer: payer(), login };
                let answer =
                    taiga.request(&account, "test", (reqwest::Method::GET, "/users/me"), |request| request).await;
                match answer {
                    Ok(reply) => assert_eq!(reply.status.as_u16(), status),
                    Err(error) => assert!(format!("{error:?}").contains(&status.to_string()), "{error:?}"),
                }
            }
            let github = Github::new(&url, Teller::silent()).unwrap();
            let token = Token { payer: payer(), secret: password };
            let answer = github.request(&token, "test", (reqwest::Method::POST, "/repos/o/r"), |request| request).await;
            assert_eq!(answer.unwrap().status.as_u16(), status);
            assert!(other.accept().is_err(), "{status}: the other server was asked");
        }
    }
}
