//! Compares, by id, what was acknowledged with what MongoDB holds, what the stream holds and what LD
//! Eval received.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;

use super::book::Outcome;
use super::claims::{Part, Verdict, name_of, shown};
use super::notified::Times;
use super::plan::Plan;
use super::report::Report;
use super::rig::Rig;
use super::saying::entry_of;
use super::watch::{MARKS, Seen};

/// How long one message of the stream may take to be read.
const READ: Duration = Duration::from_secs(5);

/// The parts of a document of which something is claimed.
#[derive(Debug, Clone, Default)]
struct Shown {
    copies: u64,
    state: Option<String>,
    milestone: Option<String>,
    epic: Option<String>,
}

/// Looks at every document there is and compares it with what was acknowledged of it.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn documents(db: &Database, plan: &Plan, outcomes: &[Outcome], report: &mut Report) -> anyhow::Result<()> {
    let mut found: HashMap<usize, Shown> = HashMap::new();
    for collection in db.list_collection_names().await? {
        if collection.starts_with("ld_") || collection.starts_with("system.") || collection == MARKS {
            continue;
        }
        let mut all = db.collection::<Document>(&collection).find(doc! {}).await?;
        while let Some(document) = all.try_next().await? {
            report.stored += 1;
            let name = name_of(&collection, &document);
            match name.as_ref().and_then(|name| plan.claims.find(name)) {
                Some(subject) => {
                    let part = |part| shown(part, &collection, &document).map(str::to_owned);
                    let entry = found.entry(subject).or_default();
                    entry.copies += 1;
                    // A document that only a link has made shows no state yet, but it is there.
                    entry.state = Some(part(Part::State).unwrap_or_default());
                    (entry.milestone, entry.epic) = (part(Part::Milestone), part(Part::Epic));
                }
                None => {
                    report.unknown += 1;
                    report.find(format!("{collection} holds a document that was not sent: {name:?}"));
                }
            }
        }
    }
    for (index, subject) in plan.claims.subjects.iter().enumerate() {
        let shown = found.get(&index).cloned().unwrap_or_default();
        if subject.forged {
            if shown.copies > 0 {
                report.forged_stored += 1;
                report.find(format!("{} comes of a forged delivery", subject.name));
            }
            continue;
        }
        if shown.copies > 1 {
            report.duplicates += shown.copies - 1;
            report.find(format!("{} is there {} times", subject.name, shown.copies));
        }
        let acked = |entry: usize| outcomes[entry].acked.is_some();
        let sent = |entry: usize| outcomes[entry].sent.is_some();
        report.expected += u64::from(subject.registers[0].claims.iter().any(|claim| acked(claim.entry)));
        for register in &subject.registers {
            let value = match register.part {
                Part::State => shown.state.as_deref(),
                // What is deleted has no milestone and no epic to compare.
                _ if shown.state.is_none() => continue,
                Part::Milestone => shown.milestone.as_deref(),
                Part::Epic => shown.epic.as_deref(),
            };
            if let Verdict::Wrong(text) = register.judge(value, acked, sent) {
                report.missing += 1;
                report.find(format!("{}: {text}", subject.name));
            }
        }
    }
    Ok(())
}

/// Looks at every message of `LD_EVENTS`: which deliveries are in it?
///
/// # Errors
/// When NATS cannot be read.
pub async fn stream(rig: &Rig, plan: &Plan, outcomes: &[Outcome], report: &mut Report) -> anyhow::Result<()> {
    let stream = rig.jetstream().await?.get_stream("LD_EVENTS").await?;
    let state = stream.cached_info().state.clone();
    let mut copies = vec![0_u64; plan.entries.len()];
    for sequence in state.first_sequence..=state.last_sequence {
        let message = tokio::time::timeout(READ, stream.get_raw_message(sequence)).await;
        let message = message.context("NATS does not answer")?.with_context(|| format!("event {sequence}"))?;
        match entry_of(&message.payload).and_then(|entry| copies.get_mut(entry)) {
            Some(count) => *count += 1,
            None => report.find(format!("event {sequence} of LD_EVENTS is none of ours")),
        }
    }
    for (entry, (&copies, outcome)) in copies.iter().zip(outcomes).enumerate() {
        report.stream_again += copies.saturating_sub(1);
        if outcome.acked.is_some() && copies == 0 {
            report.lost_in_stream += 1;
            report.find(format!("delivery {entry} was answered 200 and is not in LD_EVENTS"));
        }
        if plan.entries[entry].forged.is_some() && copies > 0 {
            report.forged_stored += 1;
            report.find(format!("delivery {entry} is forged and in LD_EVENTS"));
        }
    }
    Ok(())
}

/// When LD Eval was last notified of each event type of each project.
fn newest(notified: &HashMap<String, Times>) -> HashMap<String, i64> {
    let mut newest = HashMap::new();
    for (key, times) in notified {
        let last = newest.entry(project_and_kind(key)).or_insert(times.last);
        *last = times.last.max(*last);
    }
    newest
}

/// The first two parts of a notification's key.
fn project_and_kind(key: &str) -> String {
    key.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// Was LD Eval notified of everything, and never before the document was visible? Where many notifications of a project wait,
/// one for each event type remains: then a later one of the same project and type counts.
pub fn notifications(
    plan: &Plan,
    outcomes: &[Outcome],
    seen: &HashMap<usize, Vec<Seen>>,
    notified: &HashMap<String, Times>,
    report: &mut Report,
) {
    let newest = newest(notified);
    for (number, (entry, outcome)) in plan.entries.iter().zip(outcomes).enumerate() {
        let heard_of = || entry.keys().map(|key| (notified.get(&key).copied(), key));
        if entry.forged.is_some() {
            // The notification of a forged delivery would have a key of its own.
            for (_, key) in heard_of().filter(|(times, _)| times.is_some()) {
                report.forged_notified += 1;
                report.find(format!("LD Eval was notified of {key} of the forged delivery {number}"));
            }
            continue;
        }
        let (Some(sent), Some(acked)) = (outcome.sent, outcome.acked) else { continue };
        let written = written(plan, number, seen);
        if let Some(written) = written {
            report.timed += 1;
            report.gap(written - acked, number);
        }
        for (times, key) in heard_of() {
            let Some(times) = times else {
                let since = sent.max(written.unwrap_or(sent));
                if newest.get(&project_and_kind(&key)).is_some_and(|last| *last >= since) {
                    report.replaced += 1;
                    continue;
                }
                report.not_notified += 1;
                report.find(format!("LD Eval was not notified of {key} of delivery {number}"));
                continue;
            };
            report.notified += 1;
            let when = || {
                let after = |at: i64| at - sent;
                let (first, last) = (after(times.first), after(times.last));
                format!(
                    "notified after {first} and last after {last} ms, 200 after {}, written after {:?}",
                    after(acked),
                    written.map(after)
                )
            };
            if times.last < sent.max(written.unwrap_or(sent)) {
                report.not_notified += 1;
                report.find(format!(
                    "LD Eval was notified of {key} only before delivery {number} was stored: {}",
                    when()
                ));
            } else if entry.alone && written.is_some_and(|written| times.first < written) {
                report.early += 1;
                report.find(format!("LD Eval was notified of {key} before delivery {number} was stored: {}", when()));
            }
        }
    }
}

/// When everything that a delivery claims for itself was visible; none when some of it never was, because
/// something newer came first.
fn written(plan: &Plan, number: usize, seen: &HashMap<usize, Vec<Seen>>) -> Option<i64> {
    let mut last = None;
    for &index in &plan.entries[number].subjects {
        for (register, claimed) in plan.claims.subjects[index].registers.iter().enumerate() {
            for claim in claimed.claims.iter().filter(|claim| claim.own && claim.entry == number) {
                let of_part = seen.get(&index)?.iter().filter(|seen| seen.register == register);
                // Taken up in one batch with its deletion it is never visible; then what is visible of the
                // document later says nothing of it.
                if claimed.is_deleted_after(claim.rank) {
                    return None;
                }
                let first = of_part.filter(|seen| seen.rank >= claim.rank).map(|seen| seen.at).min()?;
                last = last.max(Some(first));
            }
        }
    }
    last
}
