//! The demonstration: one delivery of each source, with its expected document and notification.

use harness::sender::{Delivery, github, sheets, taiga};
use serde_json::json;

/// A delivery and its effect.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What to call it.
    pub(crate) title: &'static str,
    pub(crate) delivery: Delivery,
    /// The collection in which one document appears.
    pub(crate) collection: String,
    /// `event_type` and `author_login` of the notification.
    pub(crate) notified: (&'static str, &'static str),
}

/// The quality model of all of them.
pub(crate) const MODEL: &str = "AMEP";

/// One delivery of each source for a project. Another `n` makes other ones, so that they are no duplicates.
pub(crate) fn samples(project: &str, n: u64) -> Vec<Sample> {
    let commit = github::commit(&github::sha(n), &format!("Task #{n}: validate the login form"));
    let push = github::push(1_795_455_723 + i64::try_from(n).unwrap_or(0), [commit]);
    let mut story = taiga::userstory(100 + i64::try_from(n).unwrap_or(0), "Log in with the university account");
    story["description"] = json!("As a student I want to log in so that my hours are counted");
    story["custom_attributes_values"] = json!({ "Priority": "High", "Est. hours ($)": "2,5" });
    story["milestone"] = taiga::milestone(5, "Sprint 2");
    let event = taiga::event("userstory", "create", &format!("2026-11-23T17:42:0{}.511Z", n % 10), story);
    let of = |delivery: Delivery| delivery.project(project).quality_model(MODEL);
    vec![
        Sample {
            title: "GitHub push of one commit",
            delivery: of(Delivery::github("push", &push)),
            collection: format!("github_{project}.commits"),
            notified: ("push", github::LOGIN),
        },
        Sample {
            title: "Taiga user story created",
            delivery: of(Delivery::taiga(&event)),
            collection: format!("taiga_{project}.userstories"),
            notified: ("userstory", taiga::USERNAME),
        },
        Sample {
            title: "Google Sheets row added",
            delivery: of(Delivery::sheets(&sheets::row(n))),
            collection: format!("excel_{project}.sheets"),
            notified: ("sheets_activity", ""),
        },
    ]
}
