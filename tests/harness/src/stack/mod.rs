//! Our own binaries on real servers: built ([`build`]), started as processes ([`service`]), put together
//! with a stand-in for LD Eval and a sender ([`Stack`]), and looked into from outside ([`inspect`]).

pub mod build;
pub mod inspect;
pub mod service;
pub mod secrets;
mod whole;

pub use service::{Binary, Service};
pub use whole::{Options, Stack};
