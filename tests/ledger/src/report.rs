//! What a run comes to: a table for people, JSON for programs, and whether the promise was kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::book::Outcome;
use super::chaos::{Deed, Done};
use super::outages::Outages;
use super::plan::Plan;
use super::rig::Victim;
use super::settings::Settings;

/// How many findings are kept: the first few say what is wrong, the counts how much.
const FINDINGS: usize = 40;

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it was made with.
    pub settings: Settings,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Deliveries that were sent at least once, forged ones too.
    pub sent: u64,
    /// Genuine ones among them that were answered 200.
    pub acknowledged: u64,
    /// Genuine ones that never were.
    pub unacknowledged: u64,
    /// Forged ones.
    pub forged: u64,
    /// Forged ones that were answered 403.
    pub refused: u64,
    /// Genuine ones that were sent more than once until they were acknowledged.
    pub retried: u64,
    /// Every answer, by its status.
    pub answers: BTreeMap<String, u64>,
    /// Documents in MongoDB.
    pub stored: u64,
    /// Documents of which something was acknowledged; less what was deleted, these are there.
    pub expected: u64,
    /// Parts of documents that do not show what was acknowledged of them.
    pub missing: u64,
    /// Documents that are there more than once.
    pub duplicates: u64,
    /// Documents that were not sent.
    pub unknown: u64,
    /// Acknowledged deliveries that are not in `LD_EVENTS`.
    pub lost_in_stream: u64,
    /// Messages of `LD_EVENTS` that were there already; harmless.
    pub stream_again: u64,
    /// Forged deliveries in MongoDB or in the stream.
    pub forged_stored: u64,
    /// Notifications of forged deliveries.
    pub forged_notified: u64,
    /// Notifications due to acknowledged deliveries that LD Eval got.
    pub notified: u64,
    /// Notifications due that a later one of the same project and event type replaced, because many waited.
    pub replaced: u64,
    /// How many notifications LD Eval accepted in all, repetitions too.
    pub notifications: u64,
    /// Notifications due that never came, or only before the write.
    pub not_notified: u64,
    /// Notifications that came before the write.
    pub early: u64,
    /// Deliveries whose write could be timed.
    pub timed: u64,
    /// The longest time from a 200 to its write, in milliseconds, and of which delivery.
    pub longest_gap: (i64, usize),
    /// Events, notifications and look-ups left behind; none when the text is empty.
    pub left_behind: String,
    /// Messages in `LD_DEAD`.
    pub dead: u64,
    /// Disturbances by victim: kills, freezes, restarts.
    pub disturbances: BTreeMap<String, [u32; 3]>,
    /// How many of those met MongoDB's primary, or the leader of `LD_EVENTS`.
    pub leaders: BTreeMap<String, u32>,
    /// What was away altogether while workers were restarted.
    pub outages: Outages,
    /// Processes that did not end well when asked to. A remark: it is no loss.
    pub unclean: Vec<String>,
    /// What is wrong, for a person.
    pub findings: Vec<String>,
}

impl Report {
    /// A report that knows what was sent and done.
    #[must_use]
    pub fn new(settings: Settings, plan: &Plan, outcomes: &[Outcome], done: &Done) -> Self {
        let entries = || plan.entries.iter().zip(outcomes);
        let genuine = || entries().filter(|(entry, _)| entry.forged.is_none()).map(|(_, o)| o);
        let count = |n: usize| n as u64;
        let disturbances = Victim::ALL.iter().map(|&victim| {
            let counts = Deed::ALL.map(|deed| done.count(victim, deed));
            (victim.name().to_owned(), counts)
        });
        Self {
            settings,
            seconds: 0.0,
            sent: count(outcomes.iter().filter(|o| o.sent.is_some()).count()),
            acknowledged: count(genuine().filter(|o| o.acked.is_some()).count()),
            unacknowledged: count(genuine().filter(|o| o.acked.is_none()).count()),
            forged: count(entries().filter(|(entry, _)| entry.forged.is_some()).count()),
            refused: count(outcomes.iter().filter(|o| o.refused.is_some()).count()),
            retried: count(genuine().filter(|o| o.attempts > 1).count()),
            answers: BTreeMap::new(),
            stored: 0,
            expected: 0,
            missing: 0,
            duplicates: 0,
            unknown: 0,
            lost_in_stream: 0,
            stream_again: 0,
            forged_stored: 0,
            forged_notified: 0,
            notified: 0,
            replaced: 0,
            notifications: 0,
            not_notified: 0,
            early: 0,
            timed: 0,
            longest_gap: (0, 0),
            left_behind: String::new(),
            dead: 0,
            disturbances: disturbances.collect(),
            leaders: done.leaders.iter().map(|(victim, count)| (victim.name().to_owned(), *count)).collect(),
            outages: done.outages,
            unclean: done.unclean.clone(),
            findings: Vec::new(),
        }
    }

    /// Notes something that is wrong.
    pub fn find(&mut self, text: String) {
        if self.findings.len() < FINDINGS {
            self.findings.push(text);
        }
    }

    /// Notes the time from a 200 to its write.
    pub(super) fn gap(&mut self, milliseconds: i64, entry: usize) {
        self.longest_gap = self.longest_gap.max((milliseconds, entry));
    }

    /// Everything that must be zero, and is not.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        let unrefused = self.forged - self.refused;
        let must_be_none = [
            ("deliveries never acknowledged", self.unacknowledged),
            ("forged deliveries not refused", unrefused),
            ("missing", self.missing),
            ("duplicates", self.duplicates),
            ("documents that were not sent", self.unknown),
            ("lost in the stream", self.lost_in_stream),
            ("forged deliveries stored", self.forged_stored),
            ("notified of a forged delivery", self.forged_notified),
            ("not notified", self.not_notified),
            ("notified too early", self.early),
            ("dead letters", self.dead),
            ("left behind", u64::from(!self.left_behind.is_empty())),
            // Whatever else was found: answers that break the contract among it.
            ("findings", self.findings.len() as u64),
        ];
        must_be_none.into_iter().filter(|(_, count)| *count > 0).map(|(what, _)| what).collect()
    }
}

impl fmt::Display for Report {
    /// A table in Markdown, to be read as it is or pasted into `docs/durability.md`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { events, seed, senders, ingresses, workers, pauses, sending, cluster, .. } = &self.settings;
        let servers = if *cluster { "a cluster of three nats-servers" } else { "one nats-server" };
        writeln!(
            f,
            "Seed {seed}: {events} events from {senders} senders over {} s, {ingresses} ingress(es), {workers} worker(s), \
             {servers}, three mongod, a disturbance every {:.1}–{:.1} s; {:.0} s in all.\n",
            sending.as_secs(),
            pauses.0.as_secs_f64(),
            pauses.1.as_secs_f64(),
            self.seconds
        )?;
        let answers: Vec<_> = self.answers.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let rows = [
            ("sent", self.sent.to_string()),
            ("acknowledged (200)", self.acknowledged.to_string()),
            ("never acknowledged", self.unacknowledged.to_string()),
            ("forged, of them refused (403)", format!("{}, {}", self.forged, self.refused)),
            ("sent again until acknowledged", self.retried.to_string()),
            ("answers", answers.join(", ")),
            ("documents stored", self.stored.to_string()),
            ("**missing**", self.missing.to_string()),
            ("**duplicates**", self.duplicates.to_string()),
            ("documents of forged or unknown origin", (self.forged_stored + self.unknown).to_string()),
            ("acknowledged, but not in the stream", self.lost_in_stream.to_string()),
            ("notifications due and received", self.notified.to_string()),
            ("notifications due and replaced by a later one", self.replaced.to_string()),
            ("notifications due and not received", self.not_notified.to_string()),
            ("notified too early", self.early.to_string()),
            ("notified of a forged delivery", self.forged_notified.to_string()),
            ("notifications received in all", self.notifications.to_string()),
            ("longest gap between a 200 and its write", format!("{:.1} s", self.longest_gap.0 as f64 / 1000.0)),
            ("dead letters", self.dead.to_string()),
            ("left behind", if self.left_behind.is_empty() { "nothing".into() } else { self.left_behind.clone() }),
        ];
        writeln!(f, "| | |\n|---|---|")?;
        for (what, value) in rows {
            writeln!(f, "| {what} | {value} |")?;
        }
        writeln!(f, "\n| victim | kills | freezes | restarts |\n|---|---|---|---|")?;
        for (victim, [kills, freezes, restarts]) in &self.disturbances {
            writeln!(f, "| {victim} | {kills} | {freezes} | {restarts} |")?;
        }
        for (victim, count) in &self.leaders {
            writeln!(f, "\n{count} of those of {victim} met the one that led.")?;
        }
        let Outages { mongo, nats, killed, stopped } = self.outages;
        writeln!(
            f,
            "\nMongoDB was away {mongo} times and NATS {nats} times, while workers were killed {killed} times and stopped \
             {stopped} times."
        )?;
        for text in &self.unclean {
            writeln!(f, "\nremark: {text}")?;
        }
        for text in &self.findings {
            writeln!(f, "\nWRONG: {text}")?;
        }
        Ok(())
    }
}
