//! Stand-ins for GitHub's and Taiga's APIs: real shapes, limits, refusals, slowness and outages on demand, and a log of
//! the requests.
//!
//! Both are on one port: [`Providers::github_url`] and [`Providers::taiga_url`]. Their content is in [`world`]; a token
//! or account is treated as its [`Behaviour`] says.

pub mod world;
pub mod page;
pub mod hooks;
pub mod hub;
pub mod board;
pub mod practice;
mod github;
mod taiga;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::servers::ports;
pub use world::{Behaviour, Commit, World};

/// One request, and what was answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// `github` or `taiga`.
    pub provider: &'static str,
    /// `GET` or `POST`.
    pub method: String,
    /// Without the prefix of [`Providers::github_url`]; with the query.
    pub path: String,
    /// GitHub's token or Taiga's account; empty when there was none.
    pub who: String,
    /// When it came.
    pub at: Instant,
    /// What was answered; 0 while nothing is.
    pub status: u16,
    /// The trace context it carried.
    pub traceparent: Option<String>,
}

/// The stand-ins. They have threads of their own, so that they answer however busy the test is.
pub struct Providers {
    port: u16,
    shared: Arc<Shared>,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    calls: Mutex<Vec<Call>>,
}

/// A request, taken apart.
struct Request {
    method: Method,
    /// Between the slashes.
    path: Vec<String>,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What is answered, before it becomes HTTP.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
    /// Is sent before the answer is; of Taiga the answer is how that went.
    again: Option<hooks::Again>,
}

impl Answer {
    fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, again: None }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Providers {
    /// Starts on a free port, knowing nothing.
    ///
    /// # Errors
    /// When none is free.
    pub fn start() -> anyhow::Result<Self> {
        let providers = Self { port: ports::free_port()?, shared: Arc::default(), runtime: Mutex::new(None) };
        providers.up()?;
        Ok(providers)
    }

    /// For `GITHUB_API_URL`.
    #[must_use]
    pub fn github_url(&self) -> String {
        format!("http://127.0.0.1:{}/github", self.port)
    }

    /// For `TAIGA_API_URL`.
    #[must_use]
    pub fn taiga_url(&self) -> String {
        format!("http://127.0.0.1:{}/taiga/api/v1", self.port)
    }

    /// What they know and how they treat whom, to be changed.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Every request so far, in the order they came.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// The requests of one token or account.
    #[must_use]
    pub fn calls_of(&self, who: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.who == who).collect()
    }

    /// They are gone: connections are cut and new ones refused.
    pub fn down(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            // Waiting for the tasks is not allowed within a runtime, nor is it needed: all are cut off.
            runtime.shutdown_background();
        }
        while !ports::is_free(self.port) {
            std::thread::yield_now();
        }
    }

    /// They are back, on the same port, and remember everything.
    ///
    /// # Errors
    /// When the port was taken in the meantime.
    pub fn up(&self) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let socket = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        socket.set_nonblocking(true)?;
        let app = Router::new().fallback(handle).with_state(Arc::clone(&self.shared));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return };
            // It ends only with the runtime.
            let _ = axum::serve(listener, app).await;
        });
        *lock(&self.runtime) = Some(runtime);
        Ok(())
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let segments: Vec<String> = uri.path().split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let (provider, skip) = match segments.first().map(String::as_str) {
        Some("github") => ("github", 1),
        Some("taiga") => ("taiga", 3),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let path: Vec<_> = segments.into_iter().skip(skip).collect();
    let query = uri.query().unwrap_or_default().to_owned();
    let shown = if query.is_empty() { format!("/{}", path.join("/")) } else { format!("/{}?{query}", path.join("/")) };
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = Request { method: method.clone(), path, query, headers, body };
    let who = match provider {
        "github" => github::who(&request),
        _ => taiga::who(&lock(&shared.world), &request),
    };
    let index = {
        let mut calls = lock(&shared.calls);
        let (method, path) = (method.to_string(), shown.clone());
        calls.push(Call { provider, method, path, who: who.clone(), at, status: 0, traceparent });
        calls.len() - 1
    };
    let behaviour = lock(&shared.world).behaviour_of(&who);
    if let Behaviour::Slow(time) = behaviour {
        tokio::time::sleep(time).await;
    }
    let stumble = {
        let mut world = lock(&shared.world);
        let at = world.stumbles.iter().position(|(part, _)| shown.contains(part.as_str()));
        at.map(|at| world.stumbles.remove(at).1).or_else(|| {
            let refused = world.refusals.iter().find(|(part, _)| shown.contains(part.as_str()));
            refused.map(|(_, status)| *status)
        })
    };
    let mut answer = if let Some(status) = stumble {
        Answer::new(status, Value::Null)
    } else {
        let mut world = lock(&shared.world);
        match provider {
            "github" => github::answer(&mut world, &who, &request),
            _ => taiga::answer(&mut world, &who, &request),
        }
    };
    if let Some(again) = answer.again.take() {
        let status = again.send().await;
        let log = again.done(&mut lock(&shared.world), status);
        if provider == "taiga" {
            answer.body = log;
        }
    }
    if let Some(call) = lock(&shared.calls).get_mut(index) {
        call.status = answer.status;
    }
    respond(answer)
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match status {
        StatusCode::NOT_MODIFIED => status.into_response(),
        _ => (status, axum::Json(answer.body)).into_response(),
    };
    for (name, value) in answer.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The token of `Authorization: Bearer …` (or GitHub's older `token …`); empty when there is none.
fn bearer(headers: &HeaderMap) -> String {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("token "));
    token.unwrap_or_default().to_owned()
}

/// How long, in whole seconds and never too short.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
