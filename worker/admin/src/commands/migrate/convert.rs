//! Converts a document of the Python service to one of our documents: pure functions, one per kind.

use bson::{Bson, Document, doc};
use shared::hash::sha256_hex;

use worker_core::store::MILESTONE_FIELDS;
use worker_event::effect::{Effect, Kind, MilestoneFields, Order, StoryOf};
use worker_event::normalise::{cell_number, instant, shown_time};

/// Fields that every document of Taiga has. The Python service's backfill left some out.
const TAIGA_FIELDS: [&str; 13] = [
    "project_id",
    "team_name",
    "event_type",
    "action_type",
    "prj",
    "subject",
    "reference",
    "status",
    "is_closed",
    "created_date",
    "modified_date",
    "assigned_by",
    "assigned_to",
];

/// Fields that hold a time. The backfill wrote them as Taiga's API sends them.
const TIMES: [&str; 8] = [
    "created_date",
    "modified_date",
    "finished_date",
    "due_date",
    "milestone_created_date",
    "milestone_modified_date",
    "estimated_start",
    "estimated_finish",
];

/// What the backfill wrote of a Taiga entity; `whole` when there is no document that knows more.
pub(super) fn taiga(
    kind: Kind,
    prj: &str,
    mut old: Document,
    whole: bool,
) -> (Document, Option<MilestoneFields>, Option<StoryOf>) {
    old.remove("_id");
    old.insert("prj", prj);
    for name in TIMES {
        if let Some(Bson::String(text)) = old.get(name)
            && instant(text).is_some() | (text.len() == 10)
        {
            let shown = shown_time(text);
            old.insert(name, shown);
        }
    }
    if whole {
        let own: &[&str] = match kind {
            Kind::UserStory => &["finished_date", "total_points", "custom_attributes", "priority", "pattern"],
            Kind::Task => &["userstory_id", "userstory_is_closed", "finished_date", "custom_attributes"],
            Kind::TaigaIssue => &["description", "due_date", "severity", "priority", "type", "finished_date"],
            _ => &[],
        };
        for name in TAIGA_FIELDS.iter().chain(own) {
            old.entry((*name).to_owned()).or_insert(Bson::Null);
        }
    }
    let story = (kind == Kind::Task).then(|| StoryOf {
        id: old.get("userstory_id").cloned().unwrap_or(Bson::Null),
        is_closed: old.remove("userstory_is_closed"),
        agrees: false,
    });
    let has_milestone = matches!(kind, Kind::UserStory | Kind::Task);
    let milestone = has_milestone.then(|| {
        let take = |name: &&str| ((*name).to_owned(), old.remove(name).unwrap_or(Bson::Null));
        MILESTONE_FIELDS.iter().map(take).collect()
    });
    (old, milestone, story)
}

/// The epic of a story, as effects.
pub(super) fn links(kind: Kind, fields: &mut Document, order: Order) -> Vec<Effect> {
    let take = |name: &str, fields: &mut Document| fields.remove(name).unwrap_or(Bson::Null);
    if kind != Kind::UserStory {
        return Vec::new();
    }
    let (epic, name) = (take("epic_id", fields), take("epic_name", fields));
    let shown = doc! { "epic_name": name, "epic_reference": take("epic_reference", fields) };
    let Some(story) = fields.get("userstory_id").filter(|_| epic != Bson::Null).cloned() else { return Vec::new() };
    vec![
        Effect::Linked { story, epic: epic.clone(), order, created: true },
        Effect::EpicName { id: epic, order, fields: shown },
    ]
}

/// When a Taiga document became true: its `modified_date`, as text that compares like the times.
pub(super) fn modified(document: &Document) -> String {
    match document.get_str("modified_date").map(|text| (shown_time(text), text)) {
        // The backfill's, with an offset.
        Ok((Bson::String(shown), _)) => shown,
        // A webhook's: local already.
        Ok((_, text)) => text.to_owned(),
        Err(_) => String::new(),
    }
}

/// An event of `<prj>_issues`: its natural key, and the document unless the event is the issue's end.
pub(super) fn github_issue(prj: &str, mut old: Document) -> Option<(Vec<Bson>, Option<Document>)> {
    let number = old.get_document("issue").ok()?.get("number").filter(|number| **number != Bson::Null)?.clone();
    let repo = old.get("repo_name").filter(|repo| **repo != Bson::Null)?.clone();
    let over = old.get_str("action").is_ok_and(|action| matches!(action, "deleted" | "transferred"));
    old.remove("_id");
    old.insert("prj", prj);
    old.insert("issue_id", number.clone());
    Some((vec![repo, number], (!over).then_some(old)))
}

/// A row of `<prj>_sheets`. Its body is not stored, so its `activity_id` is the hash of its fields: equal rows are one.
pub(super) fn row(prj: &str, mut old: Document) -> Result<(Bson, Document), bson::error::Error> {
    old.remove("_id");
    let bytes = old.to_vec()?;
    let id = Bson::String(sha256_hex(&bytes));
    let hours: Vec<String> =
        old.keys().filter(|name| name.starts_with("hours_") || *name == "total_hours").cloned().collect();
    for name in hours {
        let number = old.get(&name).and_then(cell_number).unwrap_or(Bson::Int32(0));
        old.insert(name, number);
    }
    if let Some(number) = old.get("duration_h").and_then(cell_number) {
        old.insert("duration_h", number);
    }
    old.insert("prj", prj);
    old.insert("activity_id", id.clone());
    Ok((id, old))
}

/// The changes to a commit that stays in its collection; `others` are further copies of it.
pub(super) fn commit(kept: &Document, others: &[&Document]) -> Document {
    let looked_up = |document: &&Document| {
        document
            .get_document("stats")
            .is_ok_and(|stats| stats.get("total").is_some_and(|total| *total != Bson::Int32(0)))
    };
    let mut set = Document::new();
    // From whichever copy GitHub was looked up for.
    if !looked_up(&kept) {
        let stats = others.iter().copied().find(looked_up).and_then(|other| other.get("stats").cloned());
        let stats = stats.or_else(|| kept.get("stats").filter(|stats| stats.as_document().is_some()).cloned());
        set.insert("stats", stats.unwrap_or_else(|| doc! { "total": 0, "additions": 0, "deletions": 0 }.into()));
    }
    set.insert(
        "verified",
        matches!(kept.get("verified"), Some(Bson::Boolean(true)))
            || kept.get_str("verified").is_ok_and(|text| text == "true"),
    );
    let absent = |name: &str| kept.get(name).is_none_or(|value| *value == Bson::Null);
    if absent("verified_reason") {
        set.insert("verified_reason", "unsigned");
    }
    if absent("is_merge") {
        set.insert("is_merge", Bson::Null);
    }
    for (name, other) in [("repo_name", "repository"), ("repository", "repo_name")] {
        if absent(name) {
            set.insert(name, kept.get(other).cloned().unwrap_or(Bson::Null));
        }
    }
    changed(kept, set)
}

/// The changes to a pull request that stays in its collection.
pub(super) fn pull_request(kept: &Document) -> Document {
    let mut set = Document::new();
    // `merged_at` says whether it was merged. GitHub closes a pull request at the moment of the merge.
    if let Some(Bson::Boolean(merged)) = kept.get("merged_at") {
        let at = if *merged { kept.get("closed_at").cloned().unwrap_or(Bson::Null) } else { Bson::Null };
        set.extend(doc! { "merged": *merged, "merged_at": at });
    }
    if let Some(Bson::Array(assignee)) = kept.get("assignee") {
        set.insert("assignee", assignee.first().cloned().unwrap_or(Bson::Null));
    }
    changed(kept, set)
}

/// Only what differs: a second run changes nothing.
fn changed(kept: &Document, set: Document) -> Document {
    set.into_iter().filter(|(name, value)| kept.get(name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfilled_story_shows_local_times_and_its_milestone_apart() {
        let old = doc! { "_id": 1, "userstory_id": 8, "modified_date": "2026-07-01T10:00:00Z", "milestone_id": 5,
        "estimated_start": "2026-07-01", "created_date": "2026-07-01T12:00:00.000" };
        assert_eq!(modified(&old), "2026-07-01T12:00:00.000");
        let (fields, milestone, story) = taiga(Kind::UserStory, "P", old, true);
        assert_eq!(fields.get_str("modified_date").unwrap(), "2026-07-01T12:00:00.000");
        assert_eq!(fields.get_str("created_date").unwrap(), "2026-07-01T12:00:00.000", "local already");
        assert_eq!(fields.get("reference"), Some(&Bson::Null));
        let milestone = milestone.unwrap();
        assert_eq!(milestone.get_str("estimated_start").unwrap(), "2026-07-01T00:00:00.000");
        assert!(milestone.len() == 7 && story.is_none() && !fields.contains_key("milestone_id"));
    }

    #[test]
    fn an_issue_that_was_deleted_has_a_key_and_no_document() {
        let old = |action: &str| doc! { "_id": 1, "repo_name": "o/r", "action": action, "issue": { "number": 7 } };
        let (key, document) = github_issue("P", old("closed")).unwrap();
        assert_eq!(key, [Bson::from("o/r"), 7.into()]);
        assert_eq!(document.unwrap().get_i32("issue_id").unwrap(), 7);
        assert_eq!(github_issue("P", old("deleted")).unwrap(), (key, None));
        assert!(github_issue("P", doc! { "issue": {} }).is_none());
    }

    #[test]
    fn rows_that_are_alike_are_one_and_hours_are_numbers() {
        let old =
            |id: i32| doc! { "_id": id, "hours_Joan M. Puig": "1,5", "hours_Formació": Bson::Null, "comment": "x" };
        let (one, fields) = row("P", old(1)).unwrap();
        assert_eq!(row("P", old(2)).unwrap().0, one);
        assert_eq!(fields.get_f64("hours_Joan M. Puig").unwrap(), 1.5);
        assert_eq!(fields.get_i32("hours_Formació").unwrap(), 0);
    }

    #[test]
    fn a_commit_keeps_what_github_said_of_any_of_its_copies() {
        let stats = |total: i32| doc! { "total": total, "additions": total, "deletions": 0 };
        let kept = doc! { "sha": "a", "stats": stats(0), "verified": "false", "verified_reason": "unsigned", "repository": "o/r" };
        let other = doc! { "sha": "a", "stats": stats(3) };
        let set = commit(&kept, &[&other]);
        assert_eq!(set, doc! { "stats": stats(3), "verified": false, "is_merge": Bson::Null, "repo_name": "o/r" });
        let mut after = kept;
        after.extend(set);
        assert!(commit(&after, &[]).is_empty());
    }

    #[test]
    fn a_pull_request_says_when_it_was_merged() {
        let old = doc! { "merged_at": true, "closed_at": "2026-07-01T12:00:00.000", "assignee": ["a"] };
        let set = pull_request(&old);
        assert_eq!(set, doc! { "merged": true, "merged_at": "2026-07-01T12:00:00.000", "assignee": "a" });
        assert!(pull_request(&set).is_empty());
    }
}
