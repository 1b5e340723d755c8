//! http → verify → envelope → publish.
//!
//! A webhook is answered 200 when JetStream has acknowledged it and not before; nothing here looks at
//! MongoDB, and the sender's bytes are never changed.

// The process.
pub mod app;
pub mod commands;
pub mod config;

// Connections and what they may cost.
pub mod limits;
pub mod pulse;
pub mod server;
pub mod tls;

// One request, in the order in which it is checked.
pub mod webhook;
pub mod framing;
pub mod target;
pub mod body;
pub mod signature;
pub mod inspect;
pub mod form;
pub mod publish;

// What is told to senders and to operators.
pub mod error;
pub mod description;
pub mod meters;
pub mod probe;
