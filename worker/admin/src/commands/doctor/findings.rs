//! What the status page finds about teams, in its words: who was never heard of, which source stopped, what was refused.

use shared::credentials::Handle;
use shared::ids::Project;
use worker_core::status::collect::StatusCollector;
use worker_core::status::findings::Finding;
use worker_core::status::i18n::{Language, Texts};
use worker_core::status::level::Level;
use worker_core::status::say::{Said, say};

use super::checks::Checks;
use crate::streams::Connection;

const NAME: &str = "findings";

/// Looks as the status page does, at the whole event stream.
pub async fn check(checks: &mut Checks, streams: &Connection, courses: Handle, prj: Option<&Project>) {
    // This process has no problems of its own: NATS, MongoDB and the queues have checks of their own here.
    let (_sender, problems) = tokio::sync::watch::channel(Vec::new());
    let collector = StatusCollector::new(streams.jetstream.clone(), streams.topology.clone(), courses, problems);
    let status = collector.complete_status().await;
    let found = status.findings.iter().filter(|finding| concerns(finding, prj));
    let mut is_any = false;
    for finding in found {
        let Said { what, advice } = say(Texts::of(Language::En), status.at, finding);
        match finding.level() {
            Level::Well => checks.note(NAME, what),
            Level::Look | Level::Broken => {
                is_any = true;
                checks.bad(NAME, what, advice);
            }
        }
    }
    if !is_any {
        checks.ok(NAME, "no team is silent that should not be, and what was refused last is accepted since");
    }
}

/// Those about teams, of one of them if only it is looked at.
fn concerns(finding: &Finding, prj: Option<&Project>) -> bool {
    match finding {
        Finding::NeverHeard { teams, .. }
        | Finding::SourceNeverHeard { teams, .. }
        | Finding::Stopped { teams, .. }
        | Finding::Refused { teams, .. }
        | Finding::Unverified { teams, .. } => prj.is_none_or(|prj| teams.iter().any(|team| team == prj.as_str())),
        Finding::Reconciliation { prj: of, .. } => prj.is_none_or(|prj| prj == of),
        Finding::UnknownProject { .. } => prj.is_none(),
        _ => false,
    }
}
