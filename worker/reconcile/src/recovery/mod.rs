//! The Learning Dashboard's administration tool: its buttons "recover", as HTTP on the worker's admin address.
//!
//! A recovery is a reconciliation of one team with the addresses in the request. It goes on when the client hangs up.
//! Reading order: what is asked for (`request`), which addresses are accepted (`address`), the work (`run`), HTTP
//! (`routes`).

mod address;
mod request;
mod run;
mod routes;

pub use self::address::Hosts;
pub use self::routes::{Recovery, routes};
