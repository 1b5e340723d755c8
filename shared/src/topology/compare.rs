//! Compares a stream or consumer with its configuration: pure, so that every setting has a test.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy};
use async_nats::jetstream::stream::{self, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType};

use super::settings::{ACK_WAIT, MAX_ACK_PENDING, PAUSE_MAX};

/// Commands read a stream with consumers of their own, beside that of the workers.
const MAX_CONSUMERS: i32 = 16;

/// The server's default for a pull consumer: how many pulls may wait.
const MAX_WAITING: i64 = 512;

/// How a stream differs from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamDifference {
    /// The stream's configuration, with what breaks a promise repaired.
    pub(super) repaired: stream::Config,
    /// As `repaired`, and with what is narrower than ours widened.
    pub(super) widened: stream::Config,
    /// The names of the settings that are repaired.
    pub(super) repairs: Vec<&'static str>,
    /// What NATS cannot change, to follow the stream's name.
    pub(super) unfit: Vec<&'static str>,
}

/// Compares a stream. `held` is how many bytes it has: a new limit must remove none of them.
pub(super) fn stream(found: &stream::Config, wanted: &stream::Config, held: u64) -> StreamDifference {
    let (repaired, repairs) = repair(found, wanted, held);
    StreamDifference { widened: widen(&repaired, wanted), repaired, repairs, unfit: unfit(found, wanted) }
}

fn unfit(found: &stream::Config, wanted: &stream::Config) -> Vec<&'static str> {
    let is_queue = |config: &stream::Config| config.retention == RetentionPolicy::WorkQueue;
    let rules = [
        (
            found.storage != wanted.storage && found.storage == StorageType::Memory,
            "is stored in memory, so a restart of NATS loses it",
        ),
        (
            found.persist_mode == Some(PersistenceMode::Async),
            "is written to disk after it is acknowledged, so a crash loses acknowledged messages",
        ),
        (
            is_queue(found) && !is_queue(wanted),
            "is a work queue, so a processed message is gone and cannot be replayed",
        ),
        (!is_queue(found) && is_queue(wanted), "is no work queue, so finished work stays in it"),
        (found.mirror.is_some(), "is a mirror of another stream, so it accepts none of our messages"),
        (
            found.sources.as_ref().is_some_and(|all| !all.is_empty()),
            "copies messages of other streams, whose signatures were not checked",
        ),
        (found.sealed, "is sealed, so it accepts no message"),
        (found.deny_delete, "has deny_delete, so no person's data can be removed"),
        (found.deny_purge, "has deny_purge, so workers cannot make room in it"),
        (found.allow_message_counter, "holds counters, so it accepts none of our messages"),
        ((1..MAX_CONSUMERS).contains(&found.max_consumers), "allows too few consumers for workers and commands"),
    ];
    rules.into_iter().filter_map(|(is_so, what)| is_so.then_some(what)).collect()
}

fn repair(found: &stream::Config, wanted: &stream::Config, held: u64) -> (stream::Config, Vec<&'static str>) {
    let mut out = found.clone();
    let mut repairs = Vec::new();
    let mut when = |is_wrong: bool, name: &'static str| {
        if is_wrong {
            repairs.push(name);
        }
        is_wrong
    };
    if when(wanted.subjects.iter().any(|subject| !found.subjects.contains(subject)), "subjects") {
        // NATS refuses subjects that overlap, also of one stream.
        out.subjects.retain(|subject| !wanted.subjects.iter().any(|ours| overlap(subject, ours)));
        out.subjects.extend(wanted.subjects.iter().cloned());
    }
    // Interest is dropped where no consumer is; NATS changes it to limits, not to a work queue.
    let drops = found.retention == RetentionPolicy::Interest && wanted.retention == RetentionPolicy::Limits;
    if when(drops, "retention") {
        out.retention = wanted.retention;
    }
    if when(found.discard != wanted.discard, "discard") {
        out.discard = wanted.discard;
    }
    if when(found.discard_new_per_subject, "discard_new_per_subject") {
        out.discard_new_per_subject = false;
    }
    // In each limit, the server says "none" with a value that is not positive.
    if when(found.max_messages > 0, "max_msgs") {
        out.max_messages = -1;
    }
    if when(found.max_message_size > 0, "max_msg_size") {
        out.max_message_size = -1;
    }
    let per_subject = |config: &stream::Config| config.max_messages_per_subject.max(0);
    if when(per_subject(found) != per_subject(wanted), "max_msgs_per_subject") {
        out.max_messages_per_subject = wanted.max_messages_per_subject;
    }
    if when(found.duplicate_window < wanted.duplicate_window.min(age_of(found)), "duplicate_window") {
        out.duplicate_window = wanted.duplicate_window.min(age_of(found));
    }
    if when(found.no_ack, "no_ack") {
        out.no_ack = false;
    }
    if when(found.subject_transform.is_some(), "subject_transform") {
        out.subject_transform = None;
    }
    // Each marker would be a message that workers cannot read.
    if when(found.subject_delete_marker_ttl.is_some_and(|ttl| !ttl.is_zero()), "subject_delete_marker_ttl") {
        out.subject_delete_marker_ttl = None;
    }
    let is_limited = |limits: &stream::ConsumerLimits| (1..MAX_ACK_PENDING).contains(&limits.max_ack_pending);
    if when(found.consumer_limits.as_ref().is_some_and(is_limited), "consumer_limits") {
        out.consumer_limits = None;
    }
    if when(wanted.allow_direct && !found.allow_direct, "allow_direct") {
        out.allow_direct = true;
    }
    // A stream that drops the oldest has a limit because unauthenticated clients can fill it.
    let is_unbounded = wanted.discard == DiscardPolicy::Old && wanted.max_bytes > 0 && found.max_bytes <= 0;
    if when(is_unbounded, "max_bytes") {
        out.max_bytes = wanted.max_bytes.max(i64::try_from(held).unwrap_or(i64::MAX));
    }
    (out, repairs)
}

/// Whether a message can match both subjects.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// What `found` has, and what ours needs beside it; nothing is removed.
fn widen(found: &stream::Config, wanted: &stream::Config) -> stream::Config {
    let mut out = found.clone();
    if out.max_bytes > 0 && (wanted.max_bytes <= 0 || wanted.max_bytes > out.max_bytes) {
        out.max_bytes = wanted.max_bytes;
    }
    if !out.max_age.is_zero() && (wanted.max_age.is_zero() || wanted.max_age > out.max_age) {
        out.max_age = wanted.max_age;
    }
    out.duplicate_window = out.duplicate_window.max(wanted.duplicate_window).min(age_of(&out));
    out.num_replicas = out.num_replicas.max(wanted.num_replicas);
    out.allow_atomic_publish |= wanted.allow_atomic_publish;
    out
}

/// The server refuses a duplicate window longer than the age; zero is no age.
const fn age_of(config: &stream::Config) -> Duration {
    if config.max_age.is_zero() { Duration::MAX } else { config.max_age }
}

/// How a consumer differs from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConsumerDifference {
    None,
    /// Its settings are to be these; a pause is to be lifted.
    Repair {
        config: Box<consumer::Config>,
        names: Vec<&'static str>,
        is_paused: bool,
    },
    /// It has passed over messages, or NATS cannot change it: create it again, from the stream's beginning.
    CreateAgain(Vec<&'static str>),
}

/// Compares the consumer of all workers.
pub(super) fn consumer(info: &consumer::Info) -> ConsumerDifference {
    let found = &info.config;
    let has_filter =
        !found.filter_subject.is_empty() || found.filter_subjects.iter().any(|subject| !subject.is_empty());
    let has_groups = !found.priority_groups.is_empty() || found.priority_policy != PriorityPolicy::None;
    let again = named([
        (found.deliver_subject.is_some(), "deliver_subject"),
        (has_filter, "filter_subject"),
        (found.max_deliver > 0, "max_deliver"),
        (found.deliver_policy != DeliverPolicy::All, "deliver_policy"),
        (found.ack_policy != AckPolicy::Explicit, "ack_policy"),
        (found.replay_policy != ReplayPolicy::Instant, "replay_policy"),
        (found.headers_only, "headers_only"),
        (found.memory_storage, "mem_storage"),
        (has_groups, "priority_groups"),
        ((1..MAX_WAITING).contains(&found.max_waiting), "max_waiting"),
    ]);
    if !again.is_empty() {
        return ConsumerDifference::CreateAgain(again);
    }
    let is_paused = info.paused && info.pause_remaining.is_none_or(|left| left > PAUSE_MAX);
    let names = named([
        (is_paused, "pause_until"),
        (found.ack_wait < ACK_WAIT, "ack_wait"),
        ((1..MAX_ACK_PENDING).contains(&found.max_ack_pending), "max_ack_pending"),
        (!found.backoff.is_empty(), "backoff"),
        (!found.inactive_threshold.is_zero(), "inactive_threshold"),
        (found.max_batch > 0, "max_batch"),
        (found.max_bytes > 0, "max_bytes"),
        (!found.max_expires.is_zero(), "max_expires"),
    ]);
    if names.is_empty() {
        return ConsumerDifference::None;
    }
    let mut config = found.clone();
    if is_paused {
        config.pause_until = None;
    }
    config.ack_wait = found.ack_wait.max(ACK_WAIT);
    if config.max_ack_pending > 0 {
        config.max_ack_pending = found.max_ack_pending.max(MAX_ACK_PENDING);
    }
    config.backoff.clear();
    config.inactive_threshold = Duration::ZERO;
    config.max_batch = 0;
    config.max_bytes = 0;
    config.max_expires = Duration::ZERO;
    ConsumerDifference::Repair { config: Box::new(config), names, is_paused }
}

fn named<const N: usize>(rules: [(bool, &'static str); N]) -> Vec<&'static str> {
    rules.into_iter().filter_map(|(is_so, name)| is_so.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StreamArgs;
    use crate::topology::{StreamName, Topology};

    fn ours(age: Duration, bytes: u64) -> stream::Config {
        let bytes = bytesize::ByteSize(bytes);
        let limits = StreamArgs { ld_events_max_age: age, ld_events_max_bytes: bytes, ..StreamArgs::default() };
        Topology::new(None, limits).config(StreamName::Events, true)
    }

    #[test]
    fn an_operators_wider_limits_stay() {
        let ours = ours(Duration::from_secs(3600), 1000);
        let mut theirs = ours.clone();
        theirs.max_bytes = 5000;
        theirs.max_age = Duration::ZERO;
        theirs.subjects.push("ld.legacy.>".into());
        theirs.duplicate_window = Duration::from_secs(1200);
        theirs.num_replicas = 3;
        let found = stream(&theirs, &ours, 0);
        assert_eq!((found.widened, found.repairs, found.unfit), (theirs, vec![], vec![]));
    }

    #[test]
    fn a_narrower_stream_is_widened_to_ours() {
        let ours = ours(Duration::from_secs(3600), 1000);
        let mut theirs = ours.clone();
        theirs.max_bytes = 10;
        theirs.max_age = Duration::from_secs(60);
        theirs.duplicate_window = Duration::from_secs(60);
        theirs.allow_atomic_publish = false;
        theirs.subjects.clear();
        assert_eq!(stream(&theirs, &ours, 0).widened, ours);
    }

    /// A foreign setting, and how a stream with it is repaired.
    type Foreign = (&'static str, fn(&mut stream::Config));

    #[test]
    fn a_setting_that_loses_or_refuses_messages_is_repaired() {
        let ours = ours(Duration::ZERO, 0);
        let cases: [Foreign; 11] = [
            ("discard", |config| config.discard = DiscardPolicy::Old),
            ("max_msgs", |config| config.max_messages = 5),
            ("max_msg_size", |config| config.max_message_size = 100),
            ("max_msgs_per_subject", |config| config.max_messages_per_subject = 1),
            ("duplicate_window", |config| config.duplicate_window = Duration::from_secs(1)),
            ("no_ack", |config| config.no_ack = true),
            ("discard_new_per_subject", |config| config.discard_new_per_subject = true),
            ("retention", |config| config.retention = RetentionPolicy::Interest),
            ("subject_delete_marker_ttl", |config| config.subject_delete_marker_ttl = Some(Duration::from_secs(9))),
            ("allow_direct", |config| config.allow_direct = false),
            ("subjects", |config| config.subjects = vec!["ld.events.github.>".into()]),
        ];
        for (name, set) in cases {
            let mut theirs = ours.clone();
            set(&mut theirs);
            let found = stream(&theirs, &ours, 0);
            assert_eq!((found.repairs, found.unfit), (vec![name], vec![]), "{name}");
            assert_eq!(stream(&found.repaired, &ours, 0).repairs, Vec::<&str>::new(), "{name} is repaired at once");
        }
    }

    #[test]
    fn subjects_that_overlap_with_ours_are_replaced_and_others_stay() {
        let ours = ours(Duration::ZERO, 0);
        let mut theirs = ours.clone();
        for (subjects, repaired) in [
            (&["ld.events.taiga.>", "extra.>"][..], &["extra.>", "ld.events.>"][..]),
            (&["ld.*.github.*.push", "ld.eventsx.>", "ld.events"], &["ld.eventsx.>", "ld.events", "ld.events.>"]),
            (&["ld.>"], &["ld.events.>"]),
        ] {
            theirs.subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
            assert_eq!(stream(&theirs, &ours, 0).repaired.subjects, repaired, "{subjects:?}");
        }
    }

    #[test]
    fn a_setting_that_nats_cannot_change_is_named() {
        let ours = ours(Duration::ZERO, 0);
        let cases: [Foreign; 8] = [
            ("memory", |config| config.storage = StorageType::Memory),
            ("work queue", |config| config.retention = RetentionPolicy::WorkQueue),
            ("mirror", |config| config.mirror = Some(stream::Source::default())),
            ("other streams", |config| config.sources = Some(vec![stream::Source::default()])),
            ("sealed", |config| config.sealed = true),
            ("purge", |config| config.deny_purge = true),
            ("delete", |config| config.deny_delete = true),
            ("after it is acknowledged", |config| config.persist_mode = Some(PersistenceMode::Async)),
        ];
        for (word, set) in cases {
            let mut theirs = ours.clone();
            set(&mut theirs);
            let found = stream(&theirs, &ours, 0).unfit;
            assert!(found.len() == 1 && found[0].contains(word), "{word}: {found:?}");
        }
    }

    #[test]
    fn dead_letters_get_a_ceiling_that_removes_none_of_them() {
        let limits = StreamArgs { ld_dead_max_bytes: bytesize::ByteSize(1000), ..StreamArgs::default() };
        let ours = Topology::new(None, limits).config(StreamName::Dead, true);
        let mut theirs = ours.clone();
        theirs.max_bytes = -1;
        assert_eq!(stream(&theirs, &ours, 10).repaired.max_bytes, 1000);
        assert_eq!(stream(&theirs, &ours, 4000).repaired.max_bytes, 4000);
        theirs.max_bytes = 5000;
        assert_eq!(stream(&theirs, &ours, 10).repairs, Vec::<&str>::new());
    }
}
