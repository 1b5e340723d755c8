//! Removes a person from a project.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use serde_json::Value;
use shared::publish::{Outgoing, Publisher};
use shared::topology::StreamName;
use worker_core::store::REFRESH;
use worker_event::privacy::{ANONYMOUS, Rules};

use super::command::{ForgetCommand, Options, is_of, mongo, payload};
use crate::streams::count;
use crate::streams::quiet::in_flight_is_settled;
use crate::streams::remove::delete_where;
use crate::streams::scan::{Scan, Stored};
use crate::terminal::{CommandError, notice};

impl ForgetCommand {
    pub(super) async fn person(&self) -> Result<(), CommandError> {
        let Options { prj, login, yes, erase_messages, .. } = &self.options;
        let rules = Rules::of(prj.as_str(), login);
        if *yes {
            self.store.remember_to_forget(prj, login).await.map_err(mongo)?;
            notice(format_args!("waiting {} s until every worker applies it", REFRESH.as_secs() + 1));
            self.interrupt.pause(REFRESH + Duration::from_secs(1)).await;
            in_flight_is_settled(&self.connection, &self.interrupt).await?;
        }
        let changed = match yes {
            true => self.store.anonymise(prj, &rules).await.map_err(mongo)?,
            false => self.store.naming(prj, &rules).await.map_err(mongo)?,
        };
        for (collection, count) in &changed {
            self.print("changed", "documents", collection, *count);
        }
        if changed.is_empty() {
            notice(format_args!("no document of {prj} names them"));
        }
        let names = comparable(login);
        self.anonymise_work(&names).await?;
        if *yes {
            self.forget_pages().await?;
        }
        if *erase_messages {
            self.erase_messages(&names).await?;
        }
        if !yes {
            notice("nothing was changed; add --yes to do it");
        }
        Ok(())
    }

    /// The providers' lists are read again, and names in them are removed by the rules.
    async fn forget_pages(&self) -> Result<(), CommandError> {
        let stream = self.connection.stream(StreamName::Reconcile).await?;
        let pages = self.connection.topology.reconcile_subject("page.>");
        let purged = stream.purge().filter(pages).await;
        purged.map(drop).map_err(|error| CommandError::nats("LD_RECONCILE cannot be purged", error))
    }

    /// Changes waiting notifications and look-ups: they remain, without the name.
    async fn anonymise_work(&self, names: &HashSet<String>) -> Result<(), CommandError> {
        let Options { prj, yes, .. } = &self.options;
        let topology = &self.connection.topology;
        for (name, filter) in [
            (StreamName::Notify, topology.all_of(StreamName::Notify)),
            (StreamName::Enrich, topology.enrich_filter(prj)),
        ] {
            let stream = self.connection.stream(name).await?;
            let publisher = Publisher::new(self.connection.client.clone());
            let mut scan = Scan::open(&stream, &filter, DeliverPolicy::All, false).await?;
            let mut changed = 0;
            loop {
                let batch = scan.next().await?;
                if batch.is_empty() {
                    break;
                }
                for message in batch {
                    self.interrupt.check()?;
                    let Some(mut work) = payload(&message).filter(|_| is_of(&message, prj)) else { continue };
                    if !anonymise(&mut work, names) {
                        continue;
                    }
                    changed += 1;
                    if *yes {
                        replace(&publisher, message, &work).await?;
                    }
                }
            }
            if changed > 0 {
                self.print("changed", "messages", &topology.stream(name), changed);
            }
        }
        Ok(())
    }

    /// Deletes processed messages that name the person.
    async fn erase_messages(&self, names: &HashSet<String>) -> Result<(), CommandError> {
        let Options { prj, yes, .. } = &self.options;
        let topology = &self.connection.topology;
        let consumer = topology.consumer(&self.connection.jetstream, StreamName::Events).await;
        let consumer = consumer.map_err(|error| CommandError::nats("The workers' consumer cannot be read", error))?;
        let settled = consumer.cached_info().ack_floor.stream_sequence;
        let named = |message: &Stored| payload(message).is_some_and(|payload| names_any(&payload, names));
        let events = self.connection.stream(StreamName::Events).await?;
        let filter = topology.event_filter(None, Some(prj), None);
        let erased = delete_where(&events, &filter, settled, *yes, &self.interrupt, named).await?;
        self.print("erased", "messages", &topology.stream(StreamName::Events), erased);
        let start = DeliverPolicy::ByStartSequence { start_sequence: settled + 1 };
        let waiting = count(&events, &filter, start).await?;
        if waiting > 0 {
            notice(format_args!("{waiting} events of {prj} are not processed yet and were left; run it again later"));
        }
        let dead = self.connection.stream(StreamName::Dead).await?;
        let mut erased = 0;
        // Dead letters of notifications and look-ups name the project in their payload only.
        for filter in [topology.dead_filter(None, Some(prj)), topology.dead_filter_unknown()] {
            let named = |message: &Stored| is_of(message, prj) && named(message);
            erased += delete_where(&dead, &filter, u64::MAX, *yes, &self.interrupt, named).await?;
        }
        self.print("erased", "messages", &topology.stream(StreamName::Dead), erased);
        Ok(())
    }
}

/// Publishes a message of a work queue again. The stream keeps one message a subject, so it replaces the old one.
async fn replace(publisher: &Publisher, message: Stored, work: &Value) -> Result<(), CommandError> {
    let mut headers = HeaderMap::new();
    for (name, values) in message.headers.iter().filter(|(name, _)| !name.to_string().starts_with("Nats-")) {
        values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
    }
    let replacement = Outgoing { subject: message.subject, headers, payload: work.to_string().into() };
    let published = publisher.publish(replacement).await;
    published.map(drop).map_err(|error| CommandError::nats("A waiting message still names the person", error))
}

/// Names in the form in which they are compared.
fn comparable(names: &[String]) -> HashSet<String> {
    names.iter().map(|name| name.trim().to_lowercase()).collect()
}

/// Replaces each text of the JSON that is one of the names by `anonymous`; returns whether there was one.
fn anonymise(value: &mut Value, names: &HashSet<String>) -> bool {
    match value {
        Value::String(text) if names.contains(&text.trim().to_lowercase()) => {
            ANONYMOUS.clone_into(text);
            true
        }
        Value::Array(all) => all.iter_mut().fold(false, |any, value| anonymise(value, names) | any),
        Value::Object(all) => all.values_mut().fold(false, |any, value| anonymise(value, names) | any),
        _ => false,
    }
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
    use serde_json::json;

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

    #[test]
    fn waiting_work_goes_on_without_the_name() {
        let names = comparable(&["mduran".to_owned()]);
        let mut work = json!({ "asker": { "prj": "A", "author_login": "MDuran" }, "shas": ["mduran2"] });
        assert!(anonymise(&mut work, &names));
        assert_eq!(work, json!({ "asker": { "prj": "A", "author_login": "anonymous" }, "shas": ["mduran2"] }));
        assert!(!anonymise(&mut work, &names));
    }
}
