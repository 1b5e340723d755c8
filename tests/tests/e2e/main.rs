//! The outer ring: signed deliveries in, documents and notifications out, over real servers.
//!
//! One binary, so that the servers are started once. Each module is about one promise.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod packaging;
mod openapi;
mod migrate;
mod sheets_add_on;
mod answers;
mod outages;
mod in_the_stream;
mod documents;
mod enrich;
mod enrich_taiga;
mod survival;
mod ledger;
mod commands;
mod replaying;
mod forgetting;
mod doctor;
mod walkthroughs;
mod residue;
mod moving;
mod backfill;
mod redeliver;
mod hooks;
mod harness;
mod observe;
mod metrics;
mod status;
mod traces;
mod notifications;
mod dead_letters;
mod healing;
mod readiness;
mod rolling;
mod raw_socket;
mod payloads;
mod memory;
mod privileges;
mod tls;
mod secrets;
mod creds;

use std::time::Duration;

use tests::stack::{Options, Stack};

/// How long something may take that normally takes a moment. Generous: two cores run many processes.
const SOON: Duration = Duration::from_secs(20);

/// How long something may take that is real work.
const LONG: Duration = Duration::from_secs(90);

/// Everything but workers: for what must reach the stream, or must not.
async fn only_ingress() -> Stack {
    Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap()
}
