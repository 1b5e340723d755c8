//! What ingress and worker share: how an event travels, and how a process is configured, observed and stopped.
//!
//! The arrow points one way: `ingress → shared ← worker`. Nothing here depends on webhooks' HTTP answers or on
//! MongoDB. Names and the envelope are in the package `vocabulary`, which needs no runtime. Within the crate, a module
//! imports only modules above it in this list.

#![warn(missing_docs)]

pub use vocabulary::{hash, ids, source, time};

// Leaves.
pub mod secret;
pub mod redact;
pub mod duration;
pub mod throttle;
pub mod retry;
pub mod version;

// A process.
pub mod config;
pub mod telemetry;
#[cfg(feature = "trace")]
pub mod trace;
pub mod lifecycle;
pub mod server;
pub mod admin;
pub mod systemd;
pub mod healthcheck;

// The queue.
pub mod envelope;
pub mod topology;
pub mod nats;
pub mod publish;
pub mod facts;
pub mod beat;

// Files that people edit.
pub mod credentials;
pub mod config_report;
