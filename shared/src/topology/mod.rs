//! Streams, subjects and consumers: the only file with their names and limits.
//!
//! | stream | subjects | holds |
//! |---|---|---|
//! | `LD_EVENTS` | `ld.events.<source>.<prj>.<event>` | webhooks as they came, for replay |
//! | `LD_NOTIFY` | `ld.notify.<prj>.<key>` | notifications that LD Eval has not accepted yet, one message a key |
//! | `LD_ENRICH` | `ld.enrich.<source>.<prj>.<key>` | look-ups that have not been made yet, one message a key |
//! | `LD_DEAD` | `ld.dead.<reason>.<source>.<prj>` | messages that cannot be processed |
//! | `LD_PROBE` | `ld.probe.<process>` | the last readiness check of each process |
//! | `LD_BEATS` | `ld.beats.<…>` | that ingress could publish, every 10 s, and when it could not ([`crate::beat`]) |
//! | `LD_RECONCILE` | `ld.reconcile.<…>` | the state of reconciliation, and pages of the providers' lists, the newest a subject |
//! | `LD_LEASES` | `ld.leases.<name>` | which worker holds a lease, until it expires |
//! | `LD_STATUS` | `ld.status.<…>` | for the status page, the newest fact a subject (see `facts`) |
//!
//! With `NATS_PREFIX=staging` every stream is `staging_LD_…` and every subject `staging.ld.…`, so that
//! several installations (or tests) share a server.
//!
//! **No acknowledged event is dropped to make room.** `LD_EVENTS` refuses new messages at its limit
//! instead of discarding old ones; the worker makes room by removing the oldest events that are already
//! processed. The stream fills up only while no worker is processing it; then ingress answers 503.
//!
//! **What is found is compared with what must be** (see [`streams`] and [`consumers`]): a setting that breaks a promise is
//! repaired; what NATS cannot change is an error that says what to do; what an operator has widened stays.

mod names;
mod settings;
mod compare;
pub mod streams;
pub mod consumers;
mod error;

pub use error::{EnsureError, Unfit};
pub use names::{StreamName, Topology, UNKNOWN, source_of};
pub use settings::{ACK_WAIT, DUPLICATE_WINDOW, LEASE, PAUSE_MAX};
