//! The names of streams, subjects and consumers.

use async_nats::jetstream::consumer;

use crate::config::StreamArgs;
use crate::ids::Project;
use crate::source::Source;

/// What stands in a dead letter's subject for a source or project that its headers do not name.
pub const UNKNOWN: &str = "unknown";

/// What follows the source in a subject if the sender is not known.
const UNVERIFIED: &str = "-unverified";

/// The source in the subject of a refusal or of a dead letter, and whether its sender was verified.
#[must_use]
pub fn source_of(word: &str) -> (&str, bool) {
    word.strip_suffix(UNVERIFIED).map_or((word, true), |source| (source, false))
}

/// One of our streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamName {
    /// Webhooks as they came.
    Events,
    /// Notifications that LD Eval has not accepted yet.
    Notify,
    /// Look-ups that have not been made yet.
    Enrich,
    /// Messages that cannot be processed.
    Dead,
    /// Readiness checks.
    Probe,
    /// Facts for the status page.
    Status,
    /// The beats of ingress.
    Beats,
    /// The state of reconciliation.
    Reconcile,
    /// Which worker holds a lease.
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

/// The names of one installation, and the limits of its streams.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: Option<String>,
    pub(super) limits: StreamArgs,
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
        [&self.root(StreamName::Events), source.as_str(), project.as_str(), event].join(".")
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

    /// The subject of a dead letter; `verified`: of a signed event.
    #[must_use]
    pub fn dead_subject(&self, reason: &str, source: &str, project: &str, verified: bool) -> String {
        let suffix = if verified { "" } else { UNVERIFIED };
        format!("{}.{reason}.{source}{suffix}.{project}", self.root(StreamName::Dead))
    }

    /// The subjects of all dead letters of signed events, and of messages that are no events.
    pub fn dead_filters_verified(&self) -> impl Iterator<Item = String> {
        let sources = Source::ALL.into_iter().map(Source::as_str).chain([UNKNOWN]);
        sources.map(|source| format!("{}.*.{source}.*", self.root(StreamName::Dead)))
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

    /// The fact that a webhook was refused: the newest for each reason. Without a project, of one that is not known here.
    ///
    /// Refusals of unverified requests have a subject of their own: anyone can cause them, and they must not replace
    /// the team's own. Both have the same prefix, because `nats-server.conf` lets ingress publish it.
    #[must_use]
    pub fn refused_subject(&self, source: Source, project: Option<&Project>, reason: &str, verified: bool) -> String {
        let root = self.root(StreamName::Status);
        let suffix = if verified { "" } else { UNVERIFIED };
        match project {
            Some(project) => format!("{root}.refused.{source}{suffix}.{project}.{reason}"),
            None => format!("{root}.refused.{source}{suffix}"),
        }
    }

    /// The facts that authentic webhooks of a project were refused, for any reason.
    #[must_use]
    pub fn refused_of(&self, source: Source, project: &Project) -> String {
        self.refused_subject(source, Some(project), "*", true)
    }

    /// The facts that webhooks of a project were refused, of any source and for any reason.
    #[must_use]
    pub fn refused_filter(&self, project: &Project) -> String {
        format!("{}.refused.*.{project}.*", self.root(StreamName::Status))
    }

    /// The facts that webhooks were refused of projects that are not known.
    #[must_use]
    pub fn refused_unknown_filter(&self) -> String {
        format!("{}.refused.*", self.root(StreamName::Status))
    }

    /// The facts that webhooks were refused.
    #[must_use]
    pub fn all_refused_filter(&self) -> String {
        format!("{}.refused.>", self.root(StreamName::Status))
    }

    /// The fact that an authentic webhook is of a kind that is not stored.
    #[must_use]
    pub fn ignored_subject(&self, source: Source, project: &Project) -> String {
        format!("{}.ignored.{source}.{project}", self.root(StreamName::Status))
    }

    /// The facts that such webhooks of a project came, of any source.
    #[must_use]
    pub fn ignored_filter(&self, project: &Project) -> String {
        format!("{}.ignored.*.{project}", self.root(StreamName::Status))
    }

    /// All facts but those of single projects.
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

    /// The fact that LD Eval accepted a notification of a project and event type.
    #[must_use]
    pub fn notified_subject(&self, project: &Project, event_type: &str) -> String {
        format!("{}.{project}.{event_type}", self.notification_subject(true))
    }

    /// The facts that LD Eval accepted notifications, of a project or of any.
    #[must_use]
    pub fn notified_filter(&self, project: Option<&Project>) -> String {
        format!("{}.{}.*", self.notification_subject(true), project.map_or("*", Project::as_str))
    }

    /// The fact of a token's rate limit; `id` is a hash of the token.
    #[must_use]
    pub fn token_subject(&self, provider: &str, id: &str) -> String {
        format!("{}.token.{provider}.{id}", self.root(StreamName::Status))
    }

    /// The subject of a beat of ingress.
    #[must_use]
    pub fn beat_subject(&self) -> String {
        format!("{}.ingress", self.root(StreamName::Beats))
    }

    /// The subject of webhooks that ingress answered 503.
    #[must_use]
    pub fn missed_subject(&self) -> String {
        format!("{}.missed", self.root(StreamName::Beats))
    }

    /// The subject of a state of reconciliation; `key` is words with dots between them.
    #[must_use]
    pub fn reconcile_subject(&self, key: &str) -> String {
        format!("{}.{key}", self.root(StreamName::Reconcile))
    }

    /// The subject of a lease.
    #[must_use]
    pub fn lease_subject(&self, name: &str) -> String {
        format!("{}.{name}", self.root(StreamName::Leases))
    }

    /// The subject of the mark of an event that a worker processes alone, by the event's stream sequence.
    #[must_use]
    pub fn suspect_subject(&self, sequence: u64) -> String {
        format!("{}.suspect.event.{sequence}", self.root(StreamName::Status))
    }

    /// The subject of the mark of a group of redelivered events.
    #[must_use]
    pub fn suspects_subject(&self, id: &str) -> String {
        format!("{}.suspect.group.{id}", self.root(StreamName::Status))
    }

    /// The subjects of all such marks.
    #[must_use]
    pub fn suspect_filter(&self) -> String {
        format!("{}.suspect.>", self.root(StreamName::Status))
    }

    /// The API subject on which a consumer takes pull requests, in the server's own JetStream domain.
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

    /// The name of the durable consumer that workers share.
    #[must_use]
    pub const fn durable(&self, stream: StreamName) -> &'static str {
        match stream {
            StreamName::Notify => "ld-notifier",
            StreamName::Enrich => "ld-enricher",
            _ => "ld-worker",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_separates_installations_on_one_server() {
        let staging = Topology::new(Some("staging"), StreamArgs::default());
        let team = Project::new("TeamA").unwrap();
        assert_eq!(staging.stream(StreamName::Events), "staging_LD_EVENTS");
        assert_eq!(staging.event_subject(Source::Taiga, &team, "task"), "staging.ld.events.taiga.TeamA.task");
    }
}
