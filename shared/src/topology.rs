//! Streams, subjects and consumers: the only file that knows their names and limits.
//!
//! | stream | subjects | holds |
//! |---|---|---|
//! | `LD_EVENTS` | `ld.events.<source>.<prj>.<event>` | webhooks as they came, for replay |
//! | `LD_NOTIFY` | `ld.notify.<prj>.<key>` | notifications that LD Eval has not accepted yet, one message a key |
//! | `LD_ENRICH` | `ld.enrich.<source>.<prj>.<key>` | look-ups that have not been made yet, one message a key |
//! | `LD_DEAD` | `ld.dead.<reason>.<source>.<prj>` | what could not be processed |
//! | `LD_PROBE` | `ld.probe.<process>` | the last readiness check of each process |
//! | `LD_BEATS` | `ld.beats.<…>` | that ingress could publish, every 10 s, and when it could not ([`crate::beat`]) |
//! | `LD_RECONCILE` | `ld.reconcile.<…>` | how far reconciliation is, and pages of the providers' lists, the newest a subject |
//! | `LD_LEASES` | `ld.leases.<name>` | which worker does what only one may do, until it expires |
//! | `LD_STATUS` | `ld.status.<…>` | for the status page, the newest fact a subject (see `facts`) |
//!
//! With `NATS_PREFIX=staging` every stream is `staging_LD_…` and every subject `staging.ld.…`, so that
//! several installations (or tests) share a server.
//!
//! **No acknowledged event is dropped to make room.** `LD_EVENTS` refuses new messages at its ceiling
//! instead of discarding old ones; the worker makes room by removing the oldest events that are already
//! processed. The stream fills up only while no worker is processing it; then ingress answers 503.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};

use crate::config::StreamArgs;
use crate::ids::Project;
use crate::source::Source;

/// How long the server remembers a `Nats-Msg-Id`.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// How long a message may be in flight, without an acknowledgement or a sign of progress, before it is redelivered.
pub const ACK_WAIT: Duration = Duration::from_secs(20);

/// What stands in a dead letter's subject for a source or project that its headers do not name.
pub const UNKNOWN: &str = "unknown";

/// What follows the source in the subject of a refusal whose sender is not known.
pub const UNVERIFIED: &str = "-unverified";

/// Ceiling of the facts for the status page; each has some 200 bytes.
const STATUS_MAX_BYTES: i64 = 8 * 1024 * 1024;

/// How long such a fact is kept.
const STATUS_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How much beats may take: a month of them.
const BEATS_MAX_BYTES: i64 = 64 * 1024 * 1024;

/// How long a gap is found in them.
const BEATS_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much reconciliation may remember. The oldest goes first, and is read anew.
const RECONCILE_MAX_BYTES: i64 = 256 * 1024 * 1024;

/// How long it remembers: pages hold what people wrote.
const RECONCILE_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// After how long a lease that its holder does not renew expires.
pub const LEASE: Duration = Duration::from_secs(30);

/// How many messages all workers together may have in flight.
const MAX_ACK_PENDING: i64 = 50_000;

/// One of our streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamName {
    /// Webhooks as they came.
    Events,
    /// Notifications that LD Eval has not accepted yet.
    Notify,
    /// Look-ups that have not been made yet.
    Enrich,
    /// What could not be processed.
    Dead,
    /// Readiness checks.
    Probe,
    /// Facts for the status page.
    Status,
    /// That ingress could publish.
    Beats,
    /// What reconciliation remembers.
    Reconcile,
    /// Which worker does what only one may do.
    Leases,
}

impl StreamName {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Events,
        Self::Notify,
        Self::Enrich,
        Self::Dead,
        Self::Probe,
        Self::Status,
        Self::Beats,
        Self::Reconcile,
        Self::Leases,
    ];

    /// Its name without the installation's prefix, for metrics.
    #[must_use]
    pub const fn plain(self) -> &'static str {
        self.parts().0
    }

    const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Events => ("LD_EVENTS", "ld.events"),
            Self::Notify => ("LD_NOTIFY", "ld.notify"),
            Self::Enrich => ("LD_ENRICH", "ld.enrich"),
            Self::Dead => ("LD_DEAD", "ld.dead"),
            Self::Probe => ("LD_PROBE", "ld.probe"),
            Self::Status => ("LD_STATUS", "ld.status"),
            Self::Beats => ("LD_BEATS", "ld.beats"),
            Self::Reconcile => ("LD_RECONCILE", "ld.reconcile"),
            Self::Leases => ("LD_LEASES", "ld.leases"),
        }
    }
}

/// Why the streams are not as they must be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {name}: {error}")]
pub struct EnsureError {
    what: &'static str,
    name: String,
    error: String,
}

impl EnsureError {
    fn new(what: &'static str, name: &str, error: impl ToString) -> Self {
        Self { what, name: name.to_owned(), error: error.to_string() }
    }
}

/// The names of one installation, and the limits of its streams.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: Option<String>,
    limits: StreamArgs,
}

impl Topology {
    /// The installation that `NATS_PREFIX` names (usually none).
    #[must_use]
    pub fn new(prefix: Option<&str>, limits: StreamArgs) -> Self {
        Self { prefix: prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned), limits }
    }

    /// The stream's full name.
    #[must_use]
    pub fn stream(&self, stream: StreamName) -> String {
        let name = stream.parts().0;
        self.prefix.as_ref().map_or_else(|| name.to_owned(), |prefix| format!("{prefix}_{name}"))
    }

    fn root(&self, stream: StreamName) -> String {
        let root = stream.parts().1;
        self.prefix.as_ref().map_or_else(|| root.to_owned(), |prefix| format!("{prefix}.{root}"))
    }

    /// The subject of a webhook.
    #[must_use]
    pub fn event_subject(&self, source: Source, project: &Project, event: &str) -> String {
        format!("{}.{source}.{project}.{event}", self.root(StreamName::Events))
    }

    /// The subjects of all events that match; `None` matches any.
    #[must_use]
    pub fn event_filter(&self, source: Option<Source>, project: Option<&Project>, event: Option<&str>) -> String {
        let source = source.map_or("*", Source::as_str);
        let project = project.map_or("*", Project::as_str);
        format!("{}.{source}.{project}.{}", self.root(StreamName::Events), event.unwrap_or("*"))
    }

    /// The subject of a notification; `key` is a hash of what makes two notifications the same.
    #[must_use]
    pub fn notify_subject(&self, project: &Project, key: &str) -> String {
        format!("{}.{project}.{key}", self.root(StreamName::Notify))
    }

    /// The subjects of a project's notifications.
    #[must_use]
    pub fn notify_filter(&self, project: &Project) -> String {
        format!("{}.{project}.*", self.root(StreamName::Notify))
    }

    /// The subject of a look-up; `key` is a hash of what makes two look-ups the same.
    #[must_use]
    pub fn enrich_subject(&self, source: Source, project: &Project, key: &str) -> String {
        format!("{}.{source}.{project}.{key}", self.root(StreamName::Enrich))
    }

    /// The subjects of a project's look-ups.
    #[must_use]
    pub fn enrich_filter(&self, project: &Project) -> String {
        format!("{}.*.{project}.>", self.root(StreamName::Enrich))
    }

    /// The subjects of a stream, all of them.
    #[must_use]
    pub fn all_of(&self, stream: StreamName) -> String {
        format!("{}.>", self.root(stream))
    }

    /// The subject of a dead letter.
    #[must_use]
    pub fn dead_subject(&self, reason: &str, source: &str, project: &str) -> String {
        format!("{}.{reason}.{source}.{project}", self.root(StreamName::Dead))
    }

    /// The subjects of all dead letters that match; `None` matches any.
    #[must_use]
    pub fn dead_filter(&self, reason: Option<&str>, project: Option<&Project>) -> String {
        let (reason, project) = (reason.unwrap_or("*"), project.map_or("*", Project::as_str));
        format!("{}.{reason}.*.{project}", self.root(StreamName::Dead))
    }

    /// The subjects of dead letters without a project: notifications, and messages that ingress did not write.
    #[must_use]
    pub fn dead_filter_unknown(&self) -> String {
        format!("{}.*.*.{UNKNOWN}", self.root(StreamName::Dead))
    }

    /// The subject on which a process proves that it can publish.
    #[must_use]
    pub fn probe_subject(&self, process: &str) -> String {
        format!("{}.{process}", self.root(StreamName::Probe))
    }

    /// The fact that a webhook was refused; without a project, of one that is not known here.
    ///
    /// Refusals before the signature was found right have a subject of their own: anyone can cause them, and they must
    /// not replace what the team itself caused. Both begin alike, because `nats-server.conf` lets ingress publish these.
    #[must_use]
    pub fn refused_subject(&self, source: Source, project: Option<&Project>, verified: bool) -> String {
        let root = self.root(StreamName::Status);
        let suffix = if verified { "" } else { UNVERIFIED };
        match project {
            Some(project) => format!("{root}.refused.{source}{suffix}.{project}"),
            None => format!("{root}.refused.{source}{suffix}"),
        }
    }

    /// The facts that webhooks of a project were refused, of any source.
    #[must_use]
    pub fn refused_filter(&self, project: &Project) -> String {
        format!("{}.refused.*.{project}", self.root(StreamName::Status))
    }

    /// All facts but refusals of known projects.
    #[must_use]
    pub fn general_facts(&self) -> Vec<String> {
        let root = self.root(StreamName::Status);
        ["told", "untold", "refused.*", "token.*.*"].map(|fact| format!("{root}.{fact}")).into()
    }

    /// The fact that LD Eval accepted (or did not accept) a notification.
    #[must_use]
    pub fn notification_subject(&self, accepted: bool) -> String {
        format!("{}.{}", self.root(StreamName::Status), if accepted { "told" } else { "untold" })
    }

    /// The fact how much of a token's rate limit is left; `id` is a hash of the token.
    #[must_use]
    pub fn token_subject(&self, provider: &str, id: &str) -> String {
        format!("{}.token.{provider}.{id}", self.root(StreamName::Status))
    }

    /// Where ingress says that it can publish.
    #[must_use]
    pub fn beat_subject(&self) -> String {
        format!("{}.ingress", self.root(StreamName::Beats))
    }

    /// Where ingress says, once it can again, that it could not publish.
    #[must_use]
    pub fn missed_subject(&self) -> String {
        format!("{}.missed", self.root(StreamName::Beats))
    }

    /// Where reconciliation remembers something; `key` is words with dots between them.
    #[must_use]
    pub fn reconcile_subject(&self, key: &str) -> String {
        format!("{}.{key}", self.root(StreamName::Reconcile))
    }

    /// Where a worker says that it does what only one may do.
    #[must_use]
    pub fn lease_subject(&self, name: &str) -> String {
        format!("{}.{name}", self.root(StreamName::Leases))
    }

    /// Where a worker marks an event that it works on alone, by the event's stream sequence.
    #[must_use]
    pub fn suspect_subject(&self, sequence: u64) -> String {
        format!("{}.suspect.event.{sequence}", self.root(StreamName::Status))
    }

    /// Where a worker marks events that were delivered before and that it works on together.
    #[must_use]
    pub fn suspects_subject(&self, id: &str) -> String {
        format!("{}.suspect.group.{id}", self.root(StreamName::Status))
    }

    /// The subjects of all such marks.
    #[must_use]
    pub fn suspect_filter(&self) -> String {
        format!("{}.suspect.>", self.root(StreamName::Status))
    }

    /// Where a consumer is asked for messages. Like every API subject of ours it is the server's own JetStream domain.
    #[must_use]
    pub fn pull_subject(&self, consumer: &consumer::Info) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", consumer.stream_name, consumer.name)
    }

    /// The tokens of a subject after the installation's prefix and the stream's own part: `["github", "TeamA", "push"]`.
    #[must_use]
    pub fn words<'s>(&self, stream: StreamName, subject: &'s str) -> Vec<&'s str> {
        let rest = subject.strip_prefix(&self.root(stream)).and_then(|rest| rest.strip_prefix('.'));
        rest.map_or_else(Vec::new, |rest| rest.split('.').collect())
    }

    /// The configuration that a stream must have.
    fn config(&self, stream: StreamName, atomic: bool) -> Config {
        let base = Config {
            name: self.stream(stream),
            subjects: vec![self.all_of(stream)],
            storage: StorageType::File,
            num_replicas: self.limits.ld_replicas,
            duplicate_window: DUPLICATE_WINDOW,
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_messages_per_subject: -1,
            allow_direct: true,
            allow_atomic_publish: atomic,
            ..Config::default()
        };
        let max_age = self.limits.ld_events_max_age;
        match stream {
            StreamName::Events => Config {
                description: Some("Webhooks as they came, kept for replay".into()),
                max_age,
                // The server refuses a window longer than the age.
                duplicate_window: if max_age.is_zero() { DUPLICATE_WINDOW } else { DUPLICATE_WINDOW.min(max_age) },
                max_bytes: self.limits.events_max_bytes(),
                ..base
            },
            // One message a subject, and the older one goes: a newer notification replaces an unsent one.
            StreamName::Notify | StreamName::Enrich => Config {
                description: Some("Work that has not been done yet, one message a key".into()),
                retention: RetentionPolicy::WorkQueue,
                max_messages_per_subject: 1,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Dead => {
                Config { description: Some("What could not be processed; see `worker dead-letters`".into()), ..base }
            }
            StreamName::Probe => Config {
                description: Some("The last readiness check of each process".into()),
                max_messages_per_subject: 1,
                max_age: Duration::from_secs(3600),
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Beats => Config {
                description: Some("That ingress could publish, and when it could not".into()),
                max_bytes: BEATS_MAX_BYTES,
                max_age: BEATS_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Reconcile => Config {
                description: Some("What reconciliation remembers, the newest a subject".into()),
                max_messages_per_subject: 1,
                max_bytes: RECONCILE_MAX_BYTES,
                max_age: RECONCILE_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
            StreamName::Leases => Config {
                description: Some("Which worker does what only one may do".into()),
                max_messages_per_subject: 1,
                max_age: LEASE,
                // The server refuses a window longer than the age.
                duplicate_window: LEASE,
                discard: DiscardPolicy::Old,
                ..base
            },
            // An unauthenticated client can cause a message here, so the stream is bounded.
            StreamName::Status => Config {
                description: Some("For the status page, the newest fact a subject".into()),
                max_messages_per_subject: 1,
                max_bytes: STATUS_MAX_BYTES,
                max_age: STATUS_MAX_AGE,
                discard: DiscardPolicy::Old,
                ..base
            },
        }
    }

    /// Creates the streams that are missing and widens those that are too narrow. Never narrows.
    ///
    /// Idempotent, and safe to run from several processes at once.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; the message names the stream.
    pub async fn ensure(&self, jetstream: &Context) -> Result<(), EnsureError> {
        // Before the first round trip the client does not know the server's version.
        if let Err(error) = jetstream.client().flush().await {
            return Err(EnsureError::new("reach", "NATS", error));
        }
        // Atomic batches need server 2.12; an older one would silently drop the setting.
        let atomic = jetstream.client().is_server_compatible(2, 12, 0);
        for stream in StreamName::ALL {
            self.ensure_stream(jetstream, self.config(stream, atomic)).await?;
        }
        Ok(())
    }

    async fn ensure_stream(&self, jetstream: &Context, wanted: Config) -> Result<(), EnsureError> {
        let name = wanted.name.clone();
        let existing = match jetstream.get_stream(&name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(error) if is_missing(&error.kind()) => {
                match jetstream.create_stream(wanted.clone()).await {
                    Ok(_) => {
                        tracing::info!(stream.name = %name, "created a stream");
                        return Ok(());
                    }
                    // Another process was faster, perhaps with other limits.
                    Err(error) if is_taken(&error.kind()) => jetstream
                        .get_stream(&name)
                        .await
                        .map_err(|error| EnsureError::new("read stream", &name, error))?
                        .cached_info()
                        .config
                        .clone(),
                    Err(error) => return Err(EnsureError::new("create stream", &name, error)),
                }
            }
            Err(error) => return Err(EnsureError::new("read stream", &name, error)),
        };
        let widened = widen(&existing, &wanted);
        if !same_limits(&widened, &existing) {
            jetstream.update_stream(widened).await.map_err(|error| EnsureError::new("widen stream", &name, error))?;
            tracing::info!(stream.name = %name, "widened a stream");
        }
        Ok(())
    }

    /// The name of the durable consumer that workers share.
    #[must_use]
    pub const fn durable(&self, stream: StreamName) -> &'static str {
        match stream {
            StreamName::Notify => "ld-notifier",
            StreamName::Enrich => "ld-enricher",
            _ => "ld-worker",
        }
    }

    /// The durable consumer that workers share, created when it is missing.
    ///
    /// # Errors
    /// When the stream is missing or the server does not answer.
    pub async fn consumer(&self, jetstream: &Context, stream: StreamName) -> Result<PullConsumer, EnsureError> {
        let name = self.stream(stream);
        let durable = self.durable(stream);
        let config = pull::Config {
            durable_name: Some(durable.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        let stream: Stream<()> =
            jetstream.get_stream_no_info(&name).await.map_err(|error| EnsureError::new("read stream", &name, error))?;
        match stream.get_consumer(durable).await {
            Ok(consumer) => Ok(consumer),
            Err(_) => {
                let made = stream.create_consumer(config).await;
                made.map_err(|error| EnsureError::new("create consumer", &format!("{durable} on {name}"), error))
            }
        }
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn is_taken(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

/// The existing configuration with what ours needs added and nothing taken away.
fn widen(existing: &Config, wanted: &Config) -> Config {
    let mut out = existing.clone();
    for subject in &wanted.subjects {
        if !out.subjects.contains(subject) {
            out.subjects.push(subject.clone());
        }
    }
    // In both limits, the server says "none" with a value that is not positive.
    if out.max_bytes > 0 && (wanted.max_bytes <= 0 || wanted.max_bytes > out.max_bytes) {
        out.max_bytes = wanted.max_bytes;
    }
    if !out.max_age.is_zero() && (wanted.max_age.is_zero() || wanted.max_age > out.max_age) {
        out.max_age = wanted.max_age;
    }
    out.duplicate_window = out.duplicate_window.max(wanted.duplicate_window);
    if !out.max_age.is_zero() {
        out.duplicate_window = out.duplicate_window.min(out.max_age);
    }
    out.allow_atomic_publish |= wanted.allow_atomic_publish;
    out
}

fn same_limits(a: &Config, b: &Config) -> bool {
    (a.subjects == b.subjects)
        && (a.max_bytes, a.max_age, a.duplicate_window) == (b.max_bytes, b.max_age, b.duplicate_window)
        && a.allow_atomic_publish == b.allow_atomic_publish
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(age: Duration, bytes: u64) -> Topology {
        let limits =
            StreamArgs { ld_events_max_age: age, ld_events_max_bytes: bytesize::ByteSize(bytes), ld_replicas: 1 };
        Topology::new(None, limits)
    }

    #[test]
    fn an_operators_wider_limits_stay() {
        let ours = topology(Duration::from_secs(3600), 1000).config(StreamName::Events, true);
        let mut theirs = ours.clone();
        theirs.max_bytes = 5000;
        theirs.max_age = Duration::ZERO;
        theirs.subjects.push("ld.legacy.>".into());
        theirs.duplicate_window = Duration::from_secs(1200);
        assert!(same_limits(&widen(&theirs, &ours), &theirs));
    }

    #[test]
    fn a_narrower_stream_is_widened_to_ours() {
        let ours = topology(Duration::from_secs(3600), 1000).config(StreamName::Events, true);
        let mut theirs = ours.clone();
        theirs.max_bytes = 10;
        theirs.max_age = Duration::from_secs(60);
        theirs.duplicate_window = Duration::from_secs(60);
        theirs.allow_atomic_publish = false;
        theirs.subjects.clear();
        assert!(same_limits(&widen(&theirs, &ours), &ours));
    }

    #[test]
    fn a_prefix_separates_installations_on_one_server() {
        let limits = topology(Duration::ZERO, 0).limits;
        let staging = Topology::new(Some("staging"), limits);
        let team = Project::new("TeamA").unwrap();
        assert_eq!(staging.stream(StreamName::Events), "staging_LD_EVENTS");
        assert_eq!(staging.event_subject(Source::Taiga, &team, "task"), "staging.ld.events.taiga.TeamA.task");
    }
}
