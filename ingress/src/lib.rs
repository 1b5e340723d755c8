//! http → verify → envelope → publish.
//!
//! A webhook is answered 200 when JetStream has acknowledged it and not before; nothing here looks at
//! MongoDB, and the sender's bytes are never changed.

// The process.
pub mod cli;
pub mod app;
pub mod config;

// The path of a request.
pub mod client;
pub mod server;
pub mod webhook;
pub mod publish;
pub mod limits;

// For operators.
pub mod metrics;
pub mod readiness;
pub mod beat;
pub mod openapi;
pub mod open_files;
