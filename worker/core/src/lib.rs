//! From a message of the stream to a document and a notification.
//!
//! Reading order: the path of an event ([`pipeline`]), how it is made true ([`store`]), how LD Eval is notified
//! ([`notify`]), what is looked up at the providers ([`enrich`]), how the process watches itself ([`readiness`],
//! [`streams`], [`problem`], [`meters`]) and what people see ([`read`], [`deliveries`], [`status`]).

pub mod config;
pub mod pipeline;
pub mod store;
pub mod origin;
pub mod notify;
pub mod enrich;
pub mod meters;
pub mod problem;
pub mod streams;
pub mod readiness;
pub mod read;
pub mod deliveries;
pub mod status;
