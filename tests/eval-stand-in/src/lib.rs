//! LD Eval's stand-in: takes notifications as the real one does, records them, and answers as a test wants.

pub mod ports;

use std::collections::BTreeMap;
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

/// One notification that was received.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The body, as JSON (null when it was none).
    pub body: Value,
    /// When it came.
    pub at: Instant,
    /// The status that was answered; 0 of one that is never answered.
    pub answer: u16,
    /// The trace context it carried.
    pub traceparent: Option<String>,
}

impl Notification {
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

    /// Whether 2xx was answered.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.answer)
    }
}

/// How notifications are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 200, at once.
    Accepted,
    /// This status, at once.
    Status(u16),
    /// 200, after this long.
    After(Duration),
    /// The request is read and never answered.
    Never,
}

/// What a listener does with every notification, such as printing it.
type Listener = Box<dyn Fn(&Notification) + Send + Sync>;

struct Shared {
    received: Mutex<Vec<Notification>>,
    replies: Mutex<Replies>,
    listener: Listener,
}

struct Replies {
    usual: Reply,
    by_project: BTreeMap<String, Reply>,
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
    pub fn start_with(port: u16, listener: impl Fn(&Notification) + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), listener)
    }

    /// Starts on this address, and hands every notification to `listener` too.
    ///
    /// # Errors
    /// When the address is taken, or not this machine's.
    pub fn start_at(
        address: SocketAddr,
        listener: impl Fn(&Notification) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let replies = Replies { usual: Reply::Accepted, by_project: BTreeMap::new() };
        let shared = Shared { received: Mutex::default(), replies: Mutex::new(replies), listener: Box::new(listener) };
        let eval = Self { address, shared: Arc::new(shared), runtime: Mutex::new(None) };
        eval.up()?;
        Ok(eval)
    }

    /// Where it listens, for `EVAL_PORT`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers like this from now on, except for projects with a reply of their own.
    pub fn reply(&self, reply: Reply) {
        lock(&self.shared.replies).usual = reply;
    }

    /// Answers notifications of this project (`prj`) like this from now on.
    pub fn reply_to(&self, project: &str, reply: Reply) {
        lock(&self.shared.replies).by_project.insert(project.to_owned(), reply);
    }

    /// Stops it: connections are cut and new ones refused.
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

    /// Starts it again on the same port. What it received before is kept.
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

    /// Everything it received, in order, whatever was answered.
    #[must_use]
    pub fn received(&self) -> Vec<Notification> {
        lock(&self.shared.received).clone()
    }

    /// What it received of a project and answered with 2xx.
    #[must_use]
    pub fn accepted(&self, project: &str) -> Vec<Notification> {
        let mut received = self.received();
        received.retain(|one| one.text("prj") == project && one.is_accepted());
        received
    }

    /// Such a notification of a project, once it has accepted one.
    ///
    /// # Errors
    /// When it has not; the text says what it accepted instead.
    pub fn has_accepted(&self, project: &str, wanted: (&str, &str, Option<&str>)) -> anyhow::Result<Notification> {
        let accepted = self.accepted(project);
        match accepted.iter().find(|one| one.triple() == wanted) {
            Some(found) => {
                let fields = found.body.as_object().map(|body| body.len());
                ensure!(fields == Some(4), "a notification has exactly four fields, not {}", found.body);
                Ok(found.clone())
            }
            None => {
                let bodies: Vec<_> = accepted.iter().map(|one| one.body.to_string()).collect();
                bail!("LD Eval has accepted no {wanted:?} of {project}, but {bodies:?}")
            }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn event(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let at = Instant::now();
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let project = body.get("prj").and_then(Value::as_str).unwrap_or_default();
    let reply = {
        let replies = lock(&shared.replies);
        replies.by_project.get(project).copied().unwrap_or(replies.usual)
    };
    if let Reply::After(time) = reply {
        tokio::time::sleep(time).await;
    }
    let status = match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Reply::Accepted | Reply::After(_) | Reply::Never => StatusCode::OK,
    };
    let answer = if reply == Reply::Never { 0 } else { status.as_u16() };
    let notification = Notification { body, at, answer, traceparent };
    (shared.listener)(&notification);
    lock(&shared.received).push(notification);
    if reply == Reply::Never {
        // Ends when the client hangs up or the stand-in stops.
        std::future::pending::<()>().await;
    }
    (status, r#"{"status":"received"}"#)
}
