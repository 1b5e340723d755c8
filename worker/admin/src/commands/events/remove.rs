//! `worker events remove`: for events that should never have been accepted, such as forged ones.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use bson::Bson;
use clap::{ArgGroup, Args};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use shared::config::LogArgs;
use shared::envelope::header;
use shared::ids::Project;
use shared::source::Source;
use shared::topology::StreamName;
use worker_core::config::MongoArgs;
use worker_core::store::{RemovedEvents, Store};

use crate::args::time_args::{SequenceRange, TimeArg};
use crate::streams::quiet::while_quiet;
use crate::streams::remove::delete_where;
use crate::streams::scan::Stored;
use crate::streams::{ConnectArgs, Connection, Scan, delete};
use crate::terminal::{Column, CommandError, Interrupt, Output, Progress, Table, counted, notice, print, print_json};

pub(super) const EXAMPLES: &str = "Examples:
  worker events remove --id 72d3162e-cc78-11e3-81ab-4c9367dc0958
  worker events remove --prj PES11A --source excel --since 2026-11-23T10:00:00Z --until 2026-11-23T11:00:00Z --yes
  worker replay --prj PES11A";

/// How many deletions are in flight at once.
const AT_ONCE: usize = 32;

/// Which events.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["id", "prj", "source", "since", "until", "seq"])))]
pub(super) struct Options {
    /// The event of this delivery (X-GitHub-Delivery; ingress's answer names it, too). May be repeated.
    #[arg(long, value_name = "DELIVERY")]
    id: Vec<String>,
    /// Only of this project.
    #[arg(long)]
    prj: Option<Project>,
    /// Only of github, taiga or excel.
    #[arg(long)]
    source: Option<Source>,
    /// Only of this kind, such as push or task.
    #[arg(long)]
    event: Option<String>,
    /// Accepted from then on: RFC 3339, a date (Madrid), or how long ago, such as 2h or 3d.
    #[arg(long)]
    since: Option<TimeArg>,
    /// Accepted before then, written like --since.
    #[arg(long)]
    until: Option<TimeArg>,
    /// Stream sequences, such as 100..200 (both included), 100.. or ..200.
    #[arg(long)]
    seq: Option<SequenceRange>,
    /// Really do it; without it the events are printed and nothing is changed.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Print the events and change nothing; the same as leaving out --yes.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    pub(super) logs: LogArgs,
}

impl Options {
    fn matches(&self, event: &Stored) -> bool {
        let delivery = event.header(header::DELIVERY);
        (self.id.is_empty() || self.id.iter().any(|id| id == delivery))
            && self.since.is_none_or(|since| since.includes(event.stored_at))
            && self.until.is_none_or(|until| !until.includes(event.stored_at))
            && self.seq.is_none_or(|range| range.includes(event.sequence))
    }

    fn start(&self) -> DeliverPolicy {
        match (self.seq.and_then(|range| range.first), self.since) {
            (Some(start_sequence), _) if start_sequence > 1 => DeliverPolicy::ByStartSequence { start_sequence },
            (None, Some(since)) => since.deliver_policy(),
            _ => DeliverPolicy::All,
        }
    }
}

/// The project and source of the documents.
type Owner = (Project, Source);

/// The chosen events.
#[derive(Debug, Default)]
struct Chosen {
    events: Vec<Stored>,
    by_owner: BTreeMap<Owner, RemovedEvents>,
}

pub(super) async fn run(options: &Options, interrupt: &Interrupt) -> Result<(), CommandError> {
    let connection = options.connect.open().await?;
    let store = options.mongo.open().await.map_err(CommandError::usage)?;
    if !options.yes {
        let chosen = choose(options, &connection, interrupt).await?;
        chosen.print(options.output, false);
        remove_from_store(options, &store, &chosen).await?;
        notice("nothing was changed; add --yes to do it");
        return Ok(());
    }
    let removed = while_quiet(&connection, interrupt, async || {
        // Chosen while nothing is in flight, so that no worker writes one of them afterwards.
        let chosen = choose(options, &connection, interrupt).await?;
        let events = connection.stream(StreamName::Events).await?;
        // Documents first: while the events are in the stream, an interrupted command can be repeated.
        remove_from_store(options, &store, &chosen).await?;
        remove_dead_letters(options, &connection, &chosen, interrupt).await?;
        remove_events(&events, &chosen, interrupt).await?;
        Ok(chosen)
    })
    .await?;
    removed.print(options.output, true);
    if removed.events.is_empty() {
        notice("no event matches");
    }
    let projects: BTreeSet<&Project> = removed.by_owner.keys().map(|(prj, _)| prj).collect();
    for prj in projects {
        notice(format_args!("now rebuild its documents from the events that are left: worker replay --prj {prj}"));
    }
    Ok(())
}

async fn choose(options: &Options, connection: &Connection, interrupt: &Interrupt) -> Result<Chosen, CommandError> {
    let topology = &connection.topology;
    let stream = connection.stream(StreamName::Events).await?;
    let first_sequence = i64::try_from(stream.cached_info().state.first_sequence).unwrap_or(i64::MAX);
    let filter = topology.event_filter(options.source, options.prj.as_ref(), options.event.as_deref());
    let mut scan = Scan::open(&stream, &filter, options.start(), false).await?;
    let mut progress = Progress::new("looked at", "events", scan.total());
    let mut chosen = Chosen::default();
    loop {
        let batch = scan.next().await?;
        if batch.is_empty() {
            break;
        }
        interrupt.check()?;
        progress.add(batch.len() as u64);
        for mut event in batch.into_iter().filter(|event| options.matches(event)) {
            // `….<source>.<prj>.<event>`
            let words = topology.words(StreamName::Events, &event.subject);
            if let [source, prj, _] = words.as_slice()
                && let (Ok(source), Ok(prj)) = (source.parse::<Source>(), Project::new(prj))
            {
                let of = chosen.by_owner.entry((prj, source)).or_default();
                of.first_sequence = first_sequence;
                of.deliveries.insert(event.header(header::DELIVERY).to_owned());
                let origin = event.header(header::ORIGIN_SEQUENCE).parse::<i64>().ok();
                of.sequences.extend(i64::try_from(event.sequence).ok().into_iter().chain(origin));
                changed(source, &event, &mut of.changed);
            }
            event.payload = Default::default();
            chosen.events.push(event);
        }
    }
    Ok(chosen)
}

/// The fields by which documents are found that an event may have changed beside its own.
fn changed(source: Source, event: &Stored, fields: &mut BTreeMap<&'static str, Vec<Bson>>) {
    let Ok(bytes) = shared::envelope::payload(&event.headers, &event.payload) else { return };
    let payload: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut add = |field: &'static str, value: Option<&Value>| {
        let value = match value {
            Some(Value::Number(number)) => number.as_i64().map(Bson::Int64),
            Some(Value::String(text)) => Some(Bson::String(text.clone())),
            _ => None,
        };
        fields.entry(field).or_default().extend(value);
    };
    match source {
        Source::Github => {
            let commits = payload["commits"].as_array();
            commits.into_iter().flatten().for_each(|commit| add("sha", commit.get("id")));
            // A rename moves all issues and pull requests of a repository.
            if !payload["changes"]["repository"]["name"].is_null() {
                add("repo_name", payload["repository"].get("full_name"));
            }
        }
        Source::Taiga => {
            let data = &payload["data"];
            let own = match payload["type"].as_str() {
                Some("userstory") => Some("userstory_id"),
                Some("milestone") => Some("milestone_id"),
                Some("epic") => Some("epic_id"),
                _ => None,
            };
            if let Some(field) = own {
                add(field, data.get("id"));
            }
            // A delivery also describes the objects inside it.
            for object in [data, &data["user_story"]] {
                add("userstory_id", object["user_story"].get("id"));
                add("milestone_id", object["milestone"].get("id"));
                add("epic_id", object["epic"].get("id"));
            }
        }
        Source::Excel => {}
    }
}

async fn remove_from_store(options: &Options, store: &Store, chosen: &Chosen) -> Result<(), CommandError> {
    for ((prj, source), events) in &chosen.by_owner {
        let removal = store.remove_events(prj, *source, events, options.yes).await.map_err(|error| {
            CommandError::mongo(format_args!("Not all documents of {prj} could be removed"), error)
                .advise("Run the same command again")
        })?;
        for (collection, count) in &removal.removed {
            match (options.output, options.yes) {
                (Output::Json, done) => print_json(&json!({
                    "in": collection, "what": "documents", "count": count, "verb": "removed", "done": done,
                })),
                (Output::Table, true) => print(format_args!("removed {count} documents of {collection}")),
                (Output::Table, false) => print(format_args!("{count} documents of {collection} would be removed")),
            }
        }
        if removal.left > 0 {
            notice(format_args!(
                "{} of {source}_{prj} may show something of these events and cannot be rebuilt, because the stream no \
                 longer holds their events: run `worker backfill {source}` for {prj} after the replay",
                counted(removal.left, "document", "documents")
            ));
        }
    }
    Ok(())
}

/// A redrive must not store them again either.
async fn remove_dead_letters(
    options: &Options,
    connection: &Connection,
    chosen: &Chosen,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let stream = connection.stream(StreamName::Dead).await?;
    let mut removed = 0;
    for ((prj, source), events) in &chosen.by_owner {
        let of_event = |letter: &Stored| {
            letter.header(header::SOURCE) == source.as_str()
                && events.deliveries.contains(letter.header(header::DELIVERY))
        };
        let filter = connection.topology.dead_filter(None, Some(prj));
        removed += delete_where(&stream, &filter, u64::MAX, true, interrupt, of_event).await?;
    }
    if removed > 0 && options.output == Output::Table {
        print(format_args!("removed {} of them", counted(removed, "dead letter", "dead letters")));
    }
    Ok(())
}

async fn remove_events(stream: &Stream, chosen: &Chosen, interrupt: &Interrupt) -> Result<(), CommandError> {
    let mut progress = Progress::new("removed", "events", chosen.events.len() as u64);
    for portion in chosen.events.chunks(AT_ONCE) {
        interrupt.check()?;
        let deleted = futures::stream::iter(portion).map(|event| delete(stream, event.sequence));
        deleted.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await?;
        progress.add(portion.len() as u64);
    }
    Ok(())
}

impl Chosen {
    fn print(&self, output: Output, removed: bool) {
        let columns = ["accepted at", "source", "project", "event", "delivery"].map(Column::Left);
        let columns: Vec<_> = std::iter::once(Column::Right("sequence")).chain(columns).collect();
        let mut table = Table::new(&columns);
        for event in &self.events {
            let at = i64::try_from(event.stored_at / 1_000_000).unwrap_or(i64::MAX);
            let at = shared::time::rfc3339(at);
            let [source, prj, kind, delivery] =
                [header::SOURCE, header::PROJECT, header::EVENT, header::DELIVERY].map(|name| event.header(name));
            match output {
                Output::Table => table.row(&[&event.sequence, &at, &source, &prj, &kind, &delivery]),
                Output::Json => print_json(&json!({
                    "sequence": event.sequence, "at": at, "source": source, "prj": prj, "event": kind,
                    "delivery": delivery, "removed": removed,
                })),
            }
        }
        if output == Output::Table {
            if !self.events.is_empty() {
                table.print();
            }
            let count = counted(self.events.len() as u64, "event", "events");
            print(if removed { format!("removed {count}") } else { format!("{count} would be removed") });
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn fields(source: Source, payload: &Value) -> Vec<(&'static str, Vec<Bson>)> {
        let event = Stored {
            sequence: 1,
            stored_at: 0,
            subject: String::new(),
            headers: HeaderMap::new(),
            payload: payload.to_string().into(),
        };
        let mut all = BTreeMap::new();
        changed(source, &event, &mut all);
        all.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    }

    #[test]
    fn an_event_may_have_changed_what_its_objects_are_shown_in() {
        let push = json!({ "commits": [{ "id": "a1" }, { "id": "b2" }] });
        assert_eq!(fields(Source::Github, &push), [("sha", vec!["a1".into(), "b2".into()])]);
        let milestone = json!({ "type": "milestone", "data": { "id": 5 } });
        assert_eq!(fields(Source::Taiga, &milestone), [("milestone_id", vec![Bson::Int64(5)])]);
        let task = json!({ "type": "task", "data": { "id": 1, "milestone": { "id": 5 },
                           "user_story": { "id": 8, "milestone": { "id": 6 } } } });
        let shown = fields(Source::Taiga, &task);
        assert_eq!(
            shown,
            [("milestone_id", vec![Bson::Int64(5), Bson::Int64(6)]), ("userstory_id", vec![Bson::Int64(8)])]
        );
        assert!(fields(Source::Excel, &json!({})).is_empty());
    }
}
