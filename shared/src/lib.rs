//! The vocabulary that ingress and worker share: what an event is called, how it travels, how a
//! process is configured, watched and stopped.
//!
//! The arrow points one way: `ingress → shared ← worker`. Nothing here knows about webhooks' HTTP
//! answers or about MongoDB.

pub mod ids;
pub mod time;
pub mod envelope;
pub mod topology;
pub mod nats;
pub mod publish;
pub mod config;
pub mod credentials;
pub mod retry;
pub mod healthcheck;
pub mod lifecycle;
pub mod admin;
pub mod status;
pub mod telemetry;
pub mod trace;
pub mod report;
