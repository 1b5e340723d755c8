//! LD Eval as the reader of our documents: what it computes of a notification, and what it does when it cannot.
//!
//! The facts are those of the public service: every notification recomputes only the metrics of its own type; a query
//! that fails (`$subtract` of a text) gives up the rest of that event; an unknown quality model computes nothing; a user
//! that may not write gets 200 all the same, and nothing is stored.

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use mongodb::Database;

use crate::eval::{Eval, Notification};

/// Quality models, in lower case; LD Eval does not heed case. The empty one is its default.
const MODELS: [&str; 2] = ["", "amep"];

/// What it does at midnight: everything.
const TYPES: [&str; 4] = ["push", "task", "userstory", "sheets_activity"];

/// Computes what [`Eval`] was notified of, with a user of its own.
#[derive(Debug)]
pub struct LdEval {
    db: Database,
    done: usize,
    /// What it could not compute, and why.
    pub given_up: Vec<String>,
}

/// One metric of one event type: its name, the collection it reads, how it is computed.
type Metric = (&'static str, String, Vec<Document>);

impl LdEval {
    /// In this database, as the user of its client.
    #[must_use]
    pub const fn new(db: Database) -> Self {
        Self { db, done: 0, given_up: Vec::new() }
    }

    /// Computes everything that was accepted since the last time.
    pub async fn work(&mut self, eval: &Eval) {
        let received = eval.received();
        for notification in &received[self.done..] {
            if notification.is_accepted() {
                self.compute(notification).await;
            }
        }
        self.done = received.len();
    }

    /// What it computes at midnight.
    pub async fn midnight(&mut self, prj: &str) {
        for event_type in TYPES {
            self.recompute(event_type, prj).await;
        }
    }

    async fn compute(&mut self, notification: &Notification) {
        let model = notification.text("quality_model").to_lowercase();
        if MODELS.contains(&model.as_str()) {
            self.recompute(notification.text("event_type"), notification.text("prj")).await;
        }
    }

    async fn recompute(&mut self, event_type: &str, prj: &str) {
        for (name, collection, pipeline) in metrics(event_type, prj) {
            let computed = async {
                let mut found = self.db.collection::<Document>(&collection).aggregate(pipeline).await?;
                let value = match found.advance().await? {
                    true => found.deserialize_current()?.get("value").cloned().unwrap_or(Bson::Null),
                    false => Bson::Null,
                };
                let metric = doc! { "$set": { "value": value, "prj": prj } };
                let all = self.db.collection::<Document>(&format!("metrics.{prj}"));
                all.update_one(doc! { "_id": name }, metric).upsert(true).await
            };
            if let Err(error) = computed.await {
                // The rest of the event goes with it, and the answer was 200 already.
                self.given_up.push(format!("{event_type} of {prj}, at {name}: {error}"));
                return;
            }
        }
    }

    /// Which metrics of a project are stored.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn stored(db: &Database, prj: &str) -> anyhow::Result<BTreeSet<String>> {
        let names = db.collection::<Document>(&format!("metrics.{prj}")).distinct("_id", doc! {}).await?;
        Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// The value of a metric.
    ///
    /// # Errors
    /// When it is not stored, or MongoDB does not answer.
    pub async fn value(db: &Database, prj: &str, name: &str) -> anyhow::Result<Bson> {
        let found = db.collection::<Document>(&format!("metrics.{prj}")).find_one(doc! { "_id": name }).await?;
        let value = found.and_then(|metric| metric.get("value").cloned());
        value.ok_or_else(|| anyhow::anyhow!("{name} of {prj} is not stored"))
    }
}

fn metrics(event_type: &str, prj: &str) -> Vec<Metric> {
    let share = |of: Bson| vec![doc! { "$group": { "_id": null, "value": { "$avg": { "$cond": [of, 1, 0] } } } }];
    let sum = |of: Bson| vec![doc! { "$group": { "_id": null, "value": { "$sum": of } } }];
    match event_type {
        "push" => {
            let commits = format!("github_{prj}.commits");
            vec![
                ("commits_with_a_task", commits.clone(), share("$task_is_written".into())),
                ("lines_changed", commits.clone(), sum("$stats.total".into())),
                (
                    "words_of_a_commit",
                    commits,
                    vec![doc! { "$group": { "_id": null, "value": { "$avg": "$message_word_count" } } }],
                ),
            ]
        }
        "task" => {
            let tasks = format!("taiga_{prj}.tasks");
            let deviation =
                doc! { "$subtract": ["$custom_attributes.Actual Effort", "$custom_attributes.Estimated Effort"] };
            vec![
                ("deviation_of_effort", tasks.clone(), sum(deviation.into())),
                ("closed_tasks", tasks.clone(), share("$is_closed".into())),
                ("assigned_tasks", tasks, share(doc! { "$ne": ["$assigned_to", null] }.into())),
            ]
        }
        "userstory" => {
            let stories = format!("taiga_{prj}.userstories");
            vec![
                ("stories_with_a_pattern", stories.clone(), share("$pattern".into())),
                ("points", stories, sum("$total_points".into())),
            ]
        }
        "sheets_activity" => vec![("hours", format!("excel_{prj}.sheets"), sum("$total_hours".into()))],
        // `issues` raises an error inside it; the others have no metric.
        _ => Vec::new(),
    }
}
