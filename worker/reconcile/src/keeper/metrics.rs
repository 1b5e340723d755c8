//! Help texts of reconciliation's metrics, and at zero those that alerts use before their first event.

use metrics::{counter, describe_counter, describe_gauge};
use shared::source::Source;

/// Requests to the providers.
pub(super) const SOURCES: [Source; 2] = [Source::Github, Source::Taiga];

/// Failures of a provider.
pub(super) fn failed(source: Source) {
    counter!("ldconnect_reconcile_failures_total", "source" => source.as_str()).increment(1);
}

pub fn describe() {
    describe_counter!(
        "ldconnect_reconcile_documents_total",
        "Documents compared with their provider, repaired and removed"
    );
    describe_counter!("ldconnect_reconcile_failures_total", "Teams that could not be compared, and are retried");
    describe_counter!("ldconnect_reconcile_gaps_total", "Gaps: times in which webhooks may have been lost");
    describe_gauge!("ldconnect_reconcile_findings", "Findings of a team's last reconciliation");
    describe_gauge!(
        "ldconnect_reconcile_last_timestamp_seconds",
        "When a team was last compared with its provider, in Unix time"
    );
    describe_gauge!(
        "ldconnect_reconcile_unconfirmed",
        "Documents of a team that are gone at the provider and wait for an operator's --yes"
    );
    counter!("ldconnect_reconcile_gaps_total").increment(0);
    for source in SOURCES {
        counter!("ldconnect_reconcile_failures_total", "source" => source.as_str()).increment(0);
    }
}
