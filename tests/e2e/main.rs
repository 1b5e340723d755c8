//! The outer ring: signed deliveries in, documents and notifications out, over real servers.
//!
//! One binary, so that the servers are started once. The folders are kinds of promises, each module is about one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod harness_itself;
mod observe;

mod pipeline;
mod http;
mod resilience;
mod operators;
mod observability;
mod team_page;
mod deployment;

use std::time::Duration;

use harness::stack::{Options, Stack};

/// How long something may take that normally takes a moment. Generous: two cores run many processes.
const SOON: Duration = Duration::from_secs(20);

/// How long something may take that is real work.
const LONG: Duration = Duration::from_secs(90);

/// Everything but workers: for what must reach the stream, or must not.
async fn only_ingress() -> Stack {
    Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap()
}
