//! `worker forget`: removes a project, or takes a person out of one.
//!
//! A project: no worker is given events while its messages and documents are removed, and what workers had in hand
//! is waited for before; so nothing that was under way brings them back. (A purge alone would hide what is in
//! hand: the server then forgets who has a message that is gone.) A person: it is remembered first that the name is
//! to be forgotten, and once every worker heeds that, documents are changed.
//! What this does not reach is in docs/privacy.md.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use async_nats::datetime;
use async_nats::jetstream::consumer::{DeliverPolicy, Info};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use clap::Args;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use shared::config::LogArgs;
use shared::ids::Project;
use shared::topology::{ACK_WAIT, StreamName, UNKNOWN};

use crate::terminal::{
    ConnectArgs, Connection, Exit, Interrupt, Output, Progress, count, delete, finish, init_logs, say, tell,
};
use worker_core::config::MongoArgs;
use worker_core::pipeline::dead_letter;
use worker_core::store::REFRESH;
use worker_core::store::Store;
use worker_event::privacy::Rules;

/// How long is waited for what workers have in hand: a worker that died gives it back after the ack wait.
const PATIENCE: Duration = ACK_WAIT.saturating_mul(3);

/// For how long workers are given nothing at most, should this command die before it says otherwise.
const PAUSE: Duration = ACK_WAIT.saturating_mul(8);

/// How often it is looked whether that is done.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What to forget.
#[derive(Debug, Args)]
pub struct Options {
    /// The project.
    #[arg(long)]
    prj: Project,
    /// Only this person of it, by any name that documents show: a login at GitHub, a user name at Taiga, a name
    /// in commits or in the sheet. May be repeated. Without it the whole project is removed.
    #[arg(long, value_parser = name)]
    login: Vec<String>,
    /// Also delete the processed messages that name the person from LD_EVENTS and LD_DEAD, now and not when they
    /// are too old. A replay into an empty database will lack those events.
    #[arg(long, requires = "login")]
    erase_messages: bool,
    /// Really do it; without it the numbers are told and nothing is changed.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Tell the numbers and change nothing; the same as leaving out --yes.
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
    logs: LogArgs,
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() { Err("write a name, such as mduran".to_owned()) } else { Ok(name.to_owned()) }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    init_logs(&options.logs);
    finish(async move {
        let interrupt = Interrupt::listen();
        let connection = options.connect.open().await?;
        let store = options.mongo.open().await?;
        let errand = Errand { options, connection, store, interrupt };
        match errand.options.login.is_empty() {
            true => errand.project().await,
            false => errand.person().await,
        }
    })
    .await
}

struct Errand {
    options: Options,
    connection: Connection,
    store: Store,
    interrupt: Interrupt,
}

impl Errand {
    async fn project(&self) -> Result<Exit, String> {
        let (prj, yes) = (&self.options.prj, self.options.yes);
        let documents = self.store.project(prj).await.map_err(|error| error.to_string())?;
        let messages = match yes {
            false => self.project_messages(false).await?,
            true => match self.while_nothing_is_pulled().await? {
                Some(messages) => messages,
                None => return Ok(Exit::Interrupted),
            },
        };
        let nothing = documents.is_empty() && messages.iter().all(|(_, count)| *count == 0);
        for (collection, count) in &documents {
            self.told("removed", "documents", collection, *count);
        }
        for (stream, count) in &messages {
            self.told("removed", "messages", stream, *count);
        }
        if nothing {
            tell(format_args!("there is nothing of a project {prj}"));
        }
        if !yes {
            tell("nothing was changed; add --yes to do it");
            return Ok(Exit::Done);
        }
        let back = self.store.project(prj).await.map_err(|error| error.to_string())?;
        let events = self.connection.stream(StreamName::Events).await?;
        let filter = self.connection.topology.event_filter(None, Some(prj), None);
        if !back.is_empty() || count(&events, &filter, DeliverPolicy::All).await? > 0 {
            return Err(format!(
                "events of {prj} came in meanwhile, and there are documents of it again: somebody still sends them. \
                 Delete its hooks first (at GitHub, Taiga and in the sheet), then run the same command again"
            ));
        }
        Ok(Exit::Done)
    }

    /// Removes the project while workers are given no events; what there was in the streams. `None` when interrupted.
    async fn while_nothing_is_pulled(&self) -> Result<Option<Vec<(String, u64)>>, String> {
        // Once before, too: what a worker that died had in hand is only given to another one who may pull.
        if !self.in_hand_is_settled().await? {
            return Ok(None);
        }
        let events = self.connection.stream(StreamName::Events).await?;
        let names: Vec<String> = events.consumer_names().try_collect().await.map_err(|error| unread(&error))?;
        let removed = match self.pause(&events, &names).await {
            Ok(()) => self.remove().await,
            Err(error) => Err(error),
        };
        for name in &names {
            // A replay may have ended meanwhile, and its consumer with it.
            if let Err(error) = events.resume_consumer(name).await
                && events.consumer_info(name).await.is_ok()
            {
                tell(format_args!("{name} is given no events for {} s more: {error}", PAUSE.as_secs()));
            }
        }
        removed
    }

    /// Lets consumers of `LD_EVENTS` wait, those of replays too.
    async fn pause(&self, events: &Stream, names: &[String]) -> Result<(), String> {
        let until = datetime::add_std_duration(datetime::now(), PAUSE).map_err(|error| error.to_string())?;
        for name in names {
            events.pause_consumer(name, until).await.map_err(|error| {
                format!("nothing was removed: {name} cannot be paused ({error}); that needs nats-server 2.11 or later")
            })?;
        }
        Ok(())
    }

    async fn remove(&self) -> Result<Option<Vec<(String, u64)>>, String> {
        if !self.in_hand_is_settled().await? {
            return Ok(None);
        }
        let prj = &self.options.prj;
        // Notifications and look-ups of what was in hand go with the rest.
        let messages = self.project_messages(true).await?;
        self.store.forget_project(prj).await.map_err(|error| format!("{error}; run the same command again"))?;
        Ok(Some(messages))
    }

    /// Purges what the streams have of the project (or counts it).
    async fn project_messages(&self, yes: bool) -> Result<Vec<(String, u64)>, String> {
        let (topology, prj) = (&self.connection.topology, &self.options.prj);
        let mut all = Vec::new();
        for (name, filter) in [
            (StreamName::Events, topology.event_filter(None, Some(prj), None)),
            (StreamName::Enrich, topology.enrich_filter(prj)),
            (StreamName::Dead, topology.dead_filter(None, Some(prj))),
            (StreamName::Status, topology.refused_filter(prj)),
        ] {
            if name == StreamName::Dead && prj.as_str() == UNKNOWN {
                // Its letters are among those of nobody, which are looked at one by one.
                continue;
            }
            let stream = self.connection.stream(name).await?;
            let messages = if yes {
                let purged = stream.purge().filter(filter).await;
                purged.map_err(|error| format!("{} cannot be purged: {error}", topology.stream(name)))?.purged
            } else {
                let subjects = stream.info_with_subjects(filter).await;
                let subjects =
                    subjects.map_err(|error| format!("{} cannot be read: {error}", topology.stream(name)))?;
                let counts = subjects.map_ok(|(_, count)| count as u64).try_collect::<Vec<_>>().await;
                counts.map_err(|error| format!("{} cannot be read: {error}", topology.stream(name)))?.iter().sum()
            };
            all.push((topology.stream(name), messages));
        }
        // Whose these are only their payload tells.
        for (name, filter) in [
            (StreamName::Notify, topology.all_of(StreamName::Notify)),
            (StreamName::Dead, topology.dead_filter_unknown()),
        ] {
            let stream = self.connection.stream(name).await?;
            let of_project = |message: &StreamMessage| is_of(message, prj);
            let messages = self.delete_where(&stream, &filter, u64::MAX, yes, of_project).await?;
            let full = topology.stream(name);
            match all.iter_mut().find(|(stream, _)| *stream == full) {
                Some((_, count)) => *count += messages,
                None => all.push((full, messages)),
            }
        }
        Ok(all)
    }

    async fn person(&self) -> Result<Exit, String> {
        let Options { prj, login, yes, erase_messages, .. } = &self.options;
        let rules = Rules::of(prj.as_str(), login);
        let outage = |error| format!("{error}; run the same command again");
        if *yes {
            self.store.remember_to_forget(prj, login).await.map_err(outage)?;
            tell(format_args!("waiting {} s until every worker heeds it", REFRESH.as_secs() + 1));
            self.interrupt.pause(REFRESH + Duration::from_secs(1)).await;
            if !self.in_hand_is_settled().await? {
                return Ok(Exit::Interrupted);
            }
        }
        let changed = match yes {
            true => self.store.anonymise(prj, &rules).await.map_err(outage)?,
            false => self.store.naming(prj, &rules).await.map_err(outage)?,
        };
        for (collection, count) in &changed {
            self.told("changed", "documents", collection, *count);
        }
        if changed.is_empty() {
            tell(format_args!("no document of {prj} names them"));
        }
        if *erase_messages {
            self.erase_messages().await?;
        }
        if !yes {
            tell("nothing was changed; add --yes to do it");
        }
        Ok(Exit::Done)
    }

    /// Deletes the messages that name the person, of those that are processed.
    async fn erase_messages(&self) -> Result<(), String> {
        let Options { prj, login, yes, .. } = &self.options;
        let topology = &self.connection.topology;
        let names: HashSet<String> = login.iter().map(|name| name.to_lowercase()).collect();
        let consumer = topology.consumer(&self.connection.jetstream, StreamName::Events).await;
        let settled = consumer.map_err(|error| error.to_string())?.cached_info().ack_floor.stream_sequence;
        for (name, filter, up_to) in [
            (StreamName::Events, topology.event_filter(None, Some(prj), None), settled),
            (StreamName::Dead, topology.dead_filter(None, Some(prj)), u64::MAX),
        ] {
            let stream = self.connection.stream(name).await?;
            let named = |message: &StreamMessage| payload(message).is_some_and(|payload| names_any(&payload, &names));
            let erased = self.delete_where(&stream, &filter, up_to, *yes, named).await?;
            self.told("erased", "messages", &topology.stream(name), erased);
            let left = stream.cached_info().state.last_sequence > up_to;
            if left && name == StreamName::Events {
                let start = DeliverPolicy::ByStartSequence { start_sequence: up_to + 1 };
                let waiting = count(&stream, &filter, start).await?;
                if waiting > 0 {
                    tell(format_args!(
                        "{waiting} events of {prj} are not processed yet and were left; run it again later"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Deletes (or counts) the messages of a stream that are so, up to a sequence.
    async fn delete_where(
        &self,
        stream: &Stream,
        filter: &str,
        up_to: u64,
        yes: bool,
        wanted: impl Fn(&StreamMessage) -> bool,
    ) -> Result<u64, String> {
        let state = &stream.cached_info().state;
        let (up_to, name) = (up_to.min(state.last_sequence), &stream.cached_info().config.name);
        let mut progress = Progress::new("looked at", "messages", state.messages);
        let (mut found, mut from) = (0, state.first_sequence.max(1));
        while from <= up_to && !self.interrupt.is_stopping() {
            let message = match stream.get_first_raw_message_by_subject(filter, from).await {
                Ok(message) if message.sequence <= up_to => message,
                Ok(_) => break,
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => break,
                Err(error) => return Err(format!("{name} cannot be read: {error}; run the same command again")),
            };
            from = message.sequence + 1;
            progress.add(1);
            // What was settled a moment ago is gone by itself.
            if wanted(&message) && (!yes || delete(stream, message.sequence).await?) {
                found += 1;
            }
        }
        Ok(found)
    }

    /// Waits until what workers (and replays) have in hand now is settled. `false` when interrupted.
    async fn in_hand_is_settled(&self) -> Result<bool, String> {
        let events = self.connection.stream(StreamName::Events).await?;
        let in_hand: Vec<Info> = events.consumers().try_collect().await.map_err(|error| unread(&error))?;
        let began = Instant::now();
        for before in in_hand.iter().filter(|info| info.num_ack_pending > 0) {
            loop {
                if self.interrupt.is_stopping() {
                    tell("interrupted: run the same command again for the rest");
                    return Ok(false);
                }
                // A consumer that is gone has nothing in hand.
                let Ok(info) = events.consumer_info(&before.name).await else { break };
                let settled = info.ack_floor.stream_sequence >= before.delivered.stream_sequence;
                if settled || info.num_ack_pending == 0 {
                    break;
                }
                if began.elapsed() > PATIENCE {
                    return Err(format!(
                        "a worker has had events in hand for {} s ({}); nothing was removed from MongoDB yet: look at \
                         the workers' logs, then run the same command again",
                        PATIENCE.as_secs(),
                        info.name
                    ));
                }
                self.interrupt.pause(LOOK_AGAIN).await;
            }
        }
        Ok(!self.interrupt.is_stopping())
    }

    fn told(&self, verb: &str, things: &str, of: &str, count: u64) {
        let done = self.options.yes;
        match self.options.output {
            Output::Json => say(json!({ "in": of, "what": things, "count": count, "verb": verb, "done": done })),
            Output::Table if done => say(format_args!("{verb} {count} {things} of {of}")),
            Output::Table => say(format_args!("{count} {things} of {of} would be {verb}")),
        }
    }
}

fn unread(error: &dyn std::fmt::Display) -> String {
    format!("the consumers of LD_EVENTS cannot be read: {error}; check NATS_URL")
}

/// The JSON of a message, if it is any.
fn payload(message: &StreamMessage) -> Option<Value> {
    let bytes = shared::envelope::payload(&message.headers, &message.payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a message without a project in its subject is the project's: a notification, a look-up, or a letter of one.
fn is_of(message: &StreamMessage, prj: &Project) -> bool {
    let payload = payload(message).unwrap_or_default();
    let named = [&payload["prj"], &payload["asker"]["prj"]].into_iter().find_map(Value::as_str);
    // What is neither was an event: `….<prj>.<event>`.
    let from = || message.headers.get(dead_letter::SUBJECT)?.as_str().rsplit('.').nth(1);
    named.or_else(from) == Some(prj.as_str())
}

/// Whether a name is a text of the JSON, whole or as one of a list with commas.
fn names_any(value: &Value, names: &HashSet<String>) -> bool {
    match value {
        Value::String(text) => {
            text.split(',').chain([text.as_str()]).any(|name| names.contains(&name.trim().to_lowercase()))
        }
        Value::Array(all) => all.iter().any(|value| names_any(value, names)),
        Value::Object(all) => all.values().any(|value| names_any(value, names)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_is_a_text_of_its_own() {
        let names = HashSet::from(["mduran".to_owned(), "mireia duran".to_owned()]);
        for (payload, found) in [
            (json!({ "sender": { "login": "MDuran" } }), true),
            (json!({ "members": "Roger, Mireia Duran" }), true),
            (json!({ "members": ["Roger", " Mireia Duran "] }), true),
            (json!({ "message": "thanks to mduran" }), false),
            (json!({ "mduran": 1 }), false),
        ] {
            assert_eq!(names_any(&payload, &names), found, "{payload}");
        }
    }
}
