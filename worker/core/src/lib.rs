//! From a message of the stream to a document and a notification.
//!
//! Reading order: the path of an event ([`pipeline`]), how its effects are written ([`store`]), how LD Eval is notified
//! ([`notify`]), what is looked up at the providers ([`enrich`]), the state of the process ([`readiness`], [`streams`],
//! [`problem`], [`meters`]) and what people see ([`read`], [`deliveries`], [`status`], [`team_page`]).

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
mod html;
pub mod status;
pub mod team_page;
