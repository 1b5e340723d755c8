//! Help texts of the worker's metrics. `docs/metrics.md` lists all of them; a test compares it with a running system.

use metrics::{
    counter, describe_counter as count, describe_gauge as gauge, describe_histogram as histogram, gauge as level,
};
use shared::source::Source;
use shared::topology::{StreamName, Topology};

use worker_event::reason::Reason;

/// The event kinds that are stored. Labels must not come from a message.
const EVENTS: [&str; 10] = [
    "push",
    "issues",
    "pull_request",
    "issue",
    "task",
    "userstory",
    "relateduserstory",
    "epic",
    "milestone",
    "sheets_activity",
];

/// Registers help texts, and at zero the metrics that alerts use before their first event.
pub fn describe() {
    count!("ldconnect_events_total", "Events settled, by source, event and outcome (stored, dead)");
    count!(
        "ldconnect_redeliveries_total",
        "Events redelivered: negative-acknowledged, delayed, or in flight in a worker that died"
    );
    histogram!("ldconnect_store_seconds", "How long a batch took from its first statement to durable documents");
    histogram!("ldconnect_batch_events", "How many events a batch had");
    histogram!("ldconnect_end_to_end_seconds", "From the complete request at ingress to durable documents");
    gauge!("ldconnect_blocked_collections", "Collections that MongoDB does not write to; their events wait");
    gauge!(
        "ldconnect_course_team",
        "1 while the course of this team runs, as the credentials file says; every worker reports the same"
    );
    gauge!("ldconnect_backlog", "Events not settled yet; every worker reports the same");
    gauge!(
        "ldconnect_backlog_seconds",
        "How long the oldest event not settled yet has waited; every worker reports the same"
    );
    gauge!("ldconnect_stream_bytes", "Bytes a stream holds; every worker reports the same");
    gauge!("ldconnect_stream_max_bytes", "Bytes a stream may hold, -1 for no limit; every worker reports the same");
    gauge!(
        "ldconnect_dead_letters_kept",
        "Dead letters that were neither redriven nor purged, of signed events (verified=true) and of others; every worker reports the same"
    );
    count!("ldconnect_dead_letters_total", "Dead letters written, by reason");
    count!(
        "ldconnect_dead_letters_dropped_total",
        "Dead letters that the server removed because their stream was full; every worker reports the same"
    );
    count!("ldconnect_notify_total", "Notifications sent to LD Eval, by outcome (accepted, later, refused)");
    histogram!("ldconnect_notify_seconds", "How long requests to LD Eval took, answered or not");
    gauge!("ldconnect_notify_waiting", "Notifications LD Eval has not accepted yet; every worker reports the same");
    gauge!(
        "ldconnect_notify_last_accepted_timestamp_seconds",
        "When LD Eval last accepted a notification of this worker, in Unix time"
    );
    count!("ldconnect_enrich_total", "Look-ups settled or delayed, by provider and outcome");
    count!(
        "ldconnect_enrich_calls_total",
        "Requests to providers, by endpoint and HTTP status (none without an answer)"
    );
    histogram!("ldconnect_enrich_seconds", "How long a provider took to answer");
    gauge!("ldconnect_enrich_waiting", "Look-ups not made yet; every worker reports the same");
    gauge!(
        "ldconnect_enrich_token_remaining",
        "Requests left of a token, by provider and course, as the provider last said"
    );
    gauge!("ldconnect_enrich_token_stopped", "1 while a token is in cooldown because of a rate limit");
    for outcome in ["accepted", "later", "refused"] {
        counter!("ldconnect_notify_total", "outcome" => outcome).increment(0);
    }
    for reason in Reason::ALL {
        counter!("ldconnect_dead_letters_total", "reason" => reason.as_str()).increment(0);
    }
    counter!("ldconnect_redeliveries_total").increment(0);
    level!("ldconnect_blocked_collections").set(0.0);
    level!("ldconnect_notify_last_accepted_timestamp_seconds").set(0.0);
}

/// Counts an event that became a dead letter. An operator's tool may have written its subject.
pub fn dead(topology: &Topology, subject: &str) {
    let (source, event) = labels(topology, subject);
    counter!("ldconnect_events_total", "source" => source, "event" => event, "outcome" => "dead").increment(1);
}

fn labels(topology: &Topology, subject: &str) -> (&'static str, &'static str) {
    let words = topology.words(StreamName::Events, subject);
    let source = words.first().and_then(|source| source.parse::<Source>().ok());
    let event = EVENTS.into_iter().find(|event| words.get(2) == Some(event));
    (source.map_or("other", Source::as_str), event.unwrap_or("other"))
}

#[cfg(test)]
mod tests {
    use shared::config::StreamArgs;

    use super::*;

    #[test]
    fn labels_never_come_from_a_message() {
        let topology = Topology::new(None, StreamArgs::default());
        let root = topology.all_of(StreamName::Events);
        let of = |rest: &str| labels(&topology, &root.replace('>', rest));
        assert_eq!(of("taiga.TeamA.epic"), ("taiga", "epic"));
        assert_eq!(of("gitlab.TeamA.merge"), ("other", "other"));
        assert_eq!(of(""), ("other", "other"));
    }
}
