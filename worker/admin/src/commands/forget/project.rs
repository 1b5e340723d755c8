//! Removes a project: messages of every stream, documents, and `ld_…` documents.

use async_nats::jetstream::consumer::DeliverPolicy;
use futures::TryStreamExt as _;
use shared::topology::{StreamName, UNKNOWN};

use super::command::{ForgetCommand, is_of, mongo};
use crate::streams::count;
use crate::streams::quiet::while_quiet;
use crate::streams::remove::delete_where;
use crate::streams::scan::Stored;
use crate::terminal::{CommandError, notice};

impl ForgetCommand {
    pub(super) async fn project(&self) -> Result<(), CommandError> {
        let (prj, yes) = (&self.options.prj, self.options.yes);
        let documents = self.store.project(prj).await.map_err(mongo)?;
        let messages = match yes {
            false => self.project_messages(false).await?,
            true => while_quiet(&self.connection, &self.interrupt, async || self.remove().await).await?,
        };
        let nothing = documents.is_empty() && messages.iter().all(|(_, count)| *count == 0);
        for (collection, count) in &documents {
            self.print("removed", "documents", collection, *count);
        }
        for (stream, count) in &messages {
            self.print("removed", "messages", stream, *count);
        }
        if nothing {
            notice(format_args!("there is nothing of a project {prj}"));
        }
        if !yes {
            notice("nothing was changed; add --yes to do it");
            return Ok(());
        }
        let back = self.store.project(prj).await.map_err(mongo)?;
        let events = self.connection.stream(StreamName::Events).await?;
        let filter = self.connection.topology.event_filter(None, Some(prj), None);
        if !back.is_empty() || count(&events, &filter, DeliverPolicy::All).await? > 0 {
            return Err(CommandError::failed(
                format_args!("events of {prj} came in meanwhile, and there are documents of it again"),
                "Delete its hooks first (at GitHub, Taiga and in the sheet), then run the same command again",
            ));
        }
        Ok(())
    }

    async fn remove(&self) -> Result<Vec<(String, u64)>, CommandError> {
        // Notifications and look-ups of events that were in flight are removed too.
        let messages = self.project_messages(true).await?;
        self.store.forget_project(&self.options.prj).await.map_err(mongo)?;
        Ok(messages)
    }

    /// Removes (or counts) the project's messages.
    async fn project_messages(&self, yes: bool) -> Result<Vec<(String, u64)>, CommandError> {
        let (topology, prj) = (&self.connection.topology, &self.options.prj);
        let mut all = Vec::new();
        for (name, filter) in [
            (StreamName::Events, topology.event_filter(None, Some(prj), None)),
            (StreamName::Enrich, topology.enrich_filter(prj)),
            (StreamName::Dead, topology.dead_filter(None, Some(prj))),
            (StreamName::Reconcile, topology.reconcile_subject(&format!("done.*.{prj}"))),
            (StreamName::Reconcile, topology.reconcile_subject(&format!("owed.{prj}"))),
            // Stored pages do not name their project; those of other projects are read again.
            (StreamName::Reconcile, topology.reconcile_subject("page.>")),
        ] {
            if name == StreamName::Dead && prj.as_str() == UNKNOWN {
                // Its dead letters are among those without a project, which are checked one by one.
                continue;
            }
            let stream = self.connection.stream(name).await?;
            let full = topology.stream(name);
            let messages = if yes {
                let purged = stream.purge().filter(filter).await;
                purged.map_err(|error| CommandError::nats(format_args!("{full} cannot be purged"), error))?.purged
            } else {
                let unread = |error| CommandError::nats(format_args!("{full} cannot be read"), error);
                let subjects = stream.info_with_subjects(filter).await.map_err(|error| unread(error.to_string()))?;
                let counts = subjects.map_ok(|(_, count)| count as u64).try_collect::<Vec<_>>().await;
                counts.map_err(|error| unread(error.to_string()))?.iter().sum()
            };
            match all.iter_mut().find(|(stream, _)| *stream == full) {
                Some((_, count)) => *count += messages,
                None => all.push((full, messages)),
            }
        }
        // Only the payload of these names the project.
        for (name, filter) in [
            (StreamName::Notify, topology.all_of(StreamName::Notify)),
            (StreamName::Dead, topology.dead_filter_unknown()),
            (StreamName::Status, topology.all_of(StreamName::Status)),
        ] {
            let stream = self.connection.stream(name).await?;
            let of_project = |message: &Stored| is_of(message, prj);
            let messages = delete_where(&stream, &filter, u64::MAX, yes, &self.interrupt, of_project).await?;
            let full = topology.stream(name);
            match all.iter_mut().find(|(stream, _)| *stream == full) {
                Some((_, count)) => *count += messages,
                None => all.push((full, messages)),
            }
        }
        Ok(all)
    }
}
