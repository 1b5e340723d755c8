//! LD Eval's stand-in: takes notifications as the real one does, remembers them, and misbehaves on demand.

pub mod ports;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

/// What one notification said, and when.
#[derive(Debug, Clone)]
pub struct Told {
    /// The body, as JSON (null when it was none).
    pub body: Value,
    /// When it came.
    pub at: Instant,
    /// What was answered.
    pub answer: u16,
    /// The trace context it carried.
    pub traceparent: Option<String>,
}

impl Told {
    /// A field as text; empty when it is null or missing.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// `(event_type, author_login, quality_model)`, the form in which tests compare.
    #[must_use]
    pub fn triple(&self) -> (&str, &str, Option<&str>) {
        (self.text("event_type"), self.text("author_login"), self.body.get("quality_model").and_then(Value::as_str))
    }
}

/// How it treats the next notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// 200, at once.
    Accepts,
    /// This status, at once.
    Answers(u16),
    /// 200, after this long.
    Dawdles(Duration),
}

/// What a listener does with every notification, such as printing it.
type Listener = Box<dyn Fn(&Told) + Send + Sync>;

struct Shared {
    told: Mutex<Vec<Told>>,
    mood: Mutex<Mood>,
    listener: Listener,
}

/// The stand-in. It has threads of its own, so that it answers however busy the test is.
pub struct Eval {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl std::fmt::Debug for Eval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eval").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Eval {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When none is free.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(ports::free_port()?, |_| ())
    }

    /// Starts on this port, and hands every notification to `listener` too.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start_with(port: u16, listener: impl Fn(&Told) + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), listener)
    }

    /// Starts on this address, and hands every notification to `listener` too.
    ///
    /// # Errors
    /// When the address is taken, or not this machine's.
    pub fn start_at(address: SocketAddr, listener: impl Fn(&Told) + Send + Sync + 'static) -> anyhow::Result<Self> {
        let shared = Shared { told: Mutex::default(), mood: Mutex::new(Mood::Accepts), listener: Box::new(listener) };
        let eval = Self { address, shared: Arc::new(shared), runtime: Mutex::new(None) };
        eval.up()?;
        Ok(eval)
    }

    /// Where it listens, for `EVAL_PORT`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it does this.
    pub fn mood(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// It is gone: connections are cut and new ones refused.
    pub fn down(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            // Waiting for the tasks is not allowed within a runtime, nor is it needed: all are cut off.
            runtime.shutdown_background();
        }
        // The listening socket closes when its task is dropped, a moment later.
        while !ports::is_free(self.port()) {
            std::thread::yield_now();
        }
    }

    /// It is back, on the same port, and remembers what it was told before.
    ///
    /// # Errors
    /// When the port was taken in the meantime.
    pub fn up(&self) -> anyhow::Result<()> {
        let address = self.address;
        let socket = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        socket.set_nonblocking(true)?;
        let app = Router::new().route("/api/event", post(event)).with_state(Arc::clone(&self.shared));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return };
            // It ends only with the runtime.
            let _ = axum::serve(listener, app).await;
        });
        *lock(&self.runtime) = Some(runtime);
        Ok(())
    }

    /// Everything it was told, in order, refused or not.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        lock(&self.shared.told).clone()
    }

    /// What it was told of a project and accepted.
    #[must_use]
    pub fn accepted(&self, project: &str) -> Vec<Told> {
        let mut told = self.told();
        told.retain(|told| told.text("prj") == project && told.answer < 300);
        told
    }

    /// It has accepted such a notification of a project.
    ///
    /// # Errors
    /// When it has not; the text says what it was told instead.
    pub fn has_accepted(&self, project: &str, wanted: (&str, &str, Option<&str>)) -> anyhow::Result<Told> {
        let told = self.accepted(project);
        match told.iter().find(|told| told.triple() == wanted) {
            Some(found) => {
                let fields = found.body.as_object().map(|body| body.len());
                ensure!(fields == Some(4), "a notification has exactly four fields, not {}", found.body);
                Ok(found.clone())
            }
            None => bail!("LD Eval was not told {wanted:?} of {project}, but {:?}", bodies(&told)),
        }
    }
}

impl Drop for Eval {
    fn drop(&mut self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

fn bodies(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| told.body.to_string()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn event(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let at = Instant::now();
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mood = *lock(&shared.mood);
    if let Mood::Dawdles(time) = mood {
        tokio::time::sleep(time).await;
    }
    let status = match mood {
        Mood::Answers(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Mood::Accepts | Mood::Dawdles(_) => StatusCode::OK,
    };
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let told = Told { body, at, answer: status.as_u16(), traceparent };
    (shared.listener)(&told);
    lock(&shared.told).push(told);
    (status, r#"{"status":"received"}"#)
}
