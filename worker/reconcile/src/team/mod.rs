//! One place of a team beside the team's documents: what differs is published, what is gone is removed.

pub mod github;
pub mod taiga;

use shared::ids::Project;

use crate::client::Halt;

/// What was read is no event: a bug of ours, or a provider that changed.
fn refused(reject: String) -> Halt {
    Halt::failed(format_args!("What was read cannot become an event: {reject}"), "Report this")
}

/// What a person is told of a removal that waits for them.
fn unconfirmed(count: usize, what: &str, prj: &Project) -> String {
    format!(
        "{count} {what} of {prj} are gone, more than a third: nothing was removed. If that is right, run: worker reconcile --prj {prj} --yes"
    )
}
