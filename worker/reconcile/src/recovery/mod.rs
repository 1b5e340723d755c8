//! HTTP for the "recover" buttons of the Learning Dashboard's administration tool, on the worker's admin address.
//!
//! A recovery is a reconciliation of one team with the addresses in the request. It continues if the client
//! disconnects. Reading order: the request (`request`), which addresses are accepted (`address`), why a request is
//! refused (`invalid`), the work (`run`),
//! HTTP (`routes`).

mod address;
mod invalid;
mod request;
mod run;
mod routes;

pub use self::address::Hosts;
pub use self::routes::{Recovery, routes};
