//! Compares one place of a team with the team's documents: differences are published, documents that are gone are
//! removed.

pub mod github;
pub mod taiga;

use shared::ids::Project;
use worker_event::effect::Reject;

use crate::client::Halt;

/// What was read is not an event: a bug in our code, or a provider that changed.
fn refused(reject: Reject) -> Halt {
    Halt::failed(format_args!("What was read cannot become an event: {reject}"), "Report this")
}

/// The finding about a removal that waits for an operator.
fn unconfirmed(count: usize, what: &str, prj: &Project) -> String {
    format!(
        "{count} {what} of {prj} are gone, more than a third: nothing was removed. If that is right, run: worker reconcile --prj {prj} --yes"
    )
}
