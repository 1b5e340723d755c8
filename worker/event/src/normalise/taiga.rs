//! Taiga: userstory, task, issue, epic, milestone, relateduserstory (CONTRACT §3, Taiga).

use std::mem::take;

use bson::{Bson, Document, doc};
use serde::de::DeserializeOwned;
use shared::envelope::Envelope;

use super::json::{self, List, Words, object};
use super::bson_value::JsonValue;
use super::notification;
use super::number::Number;
use super::text;
use super::time::Stamp;
use crate::effect::{Effect, Kind, MilestoneFields, Normalised, Order, Reject};

object!(
    /// What surrounds every `data`.
    Event<Data> {
        action: JsonValue = "action",
        by: Option<User> = "by",
        date: Stamp = "date",
        data: Option<Data> = "data",
    }
);

/// Declares one of the four things that have a document of their own: the fields that all of them have,
/// and its own.
macro_rules! item {
    ($name:ident { $($field:ident: $type:ty = $key:literal),* $(,)? }) => {
        object!($name {
            id: JsonValue = "id",
            reference: JsonValue = "ref",
            project: Option<Named> = "project",
            subject: JsonValue = "subject",
            status: Option<Status> = "status",
            created_date: Stamp = "created_date",
            modified_date: Stamp = "modified_date",
            assigned_to: Option<User> = "assigned_to",
            $($field: $type = $key),*
        });

        impl Item for $name {
            fn take_common(&mut self) -> Common {
                Common {
                    id: take(&mut self.id),
                    reference: take(&mut self.reference),
                    project: take(&mut self.project).unwrap_or_default(),
                    subject: take(&mut self.subject),
                    status: take(&mut self.status).unwrap_or_default(),
                    created_date: self.created_date,
                    modified_date: self.modified_date,
                    assigned_to: take(&mut self.assigned_to).unwrap_or_default(),
                }
            }
        }
    };
}

/// A story, a task, an issue or an epic.
trait Item: DeserializeOwned + Default {
    /// Takes out what all four have.
    fn take_common(&mut self) -> Common;
}

/// What all four have.
struct Common {
    id: JsonValue,
    reference: JsonValue,
    project: Named,
    subject: JsonValue,
    status: Status,
    created_date: Stamp,
    modified_date: Stamp,
    assigned_to: User,
}

item!(Story {
    is_closed: JsonValue = "is_closed",
    description: JsonValue = "description",
    finish_date: Stamp = "finish_date",
    points: List<Points> = "points",
    custom_attributes: Words = "custom_attributes_values",
    milestone: Option<Milestone> = "milestone",
});

item!(Task {
    finished_date: Stamp = "finished_date",
    custom_attributes: Words = "custom_attributes_values",
    user_story: Option<StoryOf> = "user_story",
    milestone: Option<Milestone> = "milestone",
});

item!(Issue {
    description: JsonValue = "description",
    severity: Option<Named> = "severity",
    priority: Option<Named> = "priority",
    kind: Option<Named> = "type",
    finished_date: Stamp = "finished_date",
    due_date: Stamp = "due_date",
});

item!(Epic {});

object!(Milestone {
    id: JsonValue = "id",
    name: JsonValue = "name",
    closed: JsonValue = "closed",
    created_date: Stamp = "created_date",
    modified_date: Stamp = "modified_date",
    estimated_start: Stamp = "estimated_start",
    estimated_finish: Stamp = "estimated_finish",
});

object!(RelatedStory {
    user_story: Option<StoryOf> = "user_story",
    epic: Option<Epic> = "epic",
});

object!(
    /// A story as seen from what hangs on it.
    StoryOf {
        id: JsonValue = "id",
        is_closed: JsonValue = "is_closed",
    }
);

object!(User { username: JsonValue = "username" });
object!(Named { id: JsonValue = "id", name: JsonValue = "name" });
object!(Status { name: JsonValue = "name", is_closed: JsonValue = "is_closed" });
object!(Points { value: JsonValue = "value" });

/// What one of Taiga's events means.
pub(super) fn normalise(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    match envelope.event.as_str() {
        "userstory" => story(envelope, sequence),
        "task" => task(envelope, sequence),
        "issue" => issue(envelope, sequence),
        "epic" => epic(envelope, sequence),
        "milestone" => milestone(envelope, sequence),
        "relateduserstory" => related_story(envelope, sequence),
        other => Err(Reject::UnknownEvent(other.to_owned())),
    }
}

/// An event without its `data`.
struct Occasion<'a> {
    envelope: &'a Envelope,
    sequence: i64,
    action: JsonValue,
    by: JsonValue,
    date: Stamp,
}

impl<'a> Occasion<'a> {
    /// Reads a payload; missing `data` is `data` without anything in it.
    fn read<Data>(envelope: &'a Envelope, sequence: i64) -> Result<(Self, Data), Reject>
    where
        Data: DeserializeOwned + Default,
    {
        let event: Event<Data> = json::read(&envelope.payload)?;
        let by = event.by.unwrap_or_default().username;
        let occasion = Self { envelope, sequence, action: event.action, by, date: event.date };
        Ok((occasion, event.data.unwrap_or_default()))
    }

    /// An action that Taiga does not have yet is a change: what it shows is the newest state all the same.
    fn is_delete(&self) -> bool {
        self.action.text() == Some("delete")
    }

    /// As of when: the envelope's date, else the object's own, else when it reached us (CONTRACT §3, Convergence).
    fn order(&self, modified: Stamp) -> Order {
        let t = self.date.millis().or(modified.millis()).unwrap_or(self.envelope.received_at);
        Order { t, s: self.sequence }
    }

    /// The effect, and one notification for each of the types.
    fn done(&self, effect: Effect, event_types: &[&str]) -> Normalised {
        let author = self.by.name();
        let notifications = event_types.iter().map(|kind| notification(self.envelope, kind, author.clone())).collect();
        Normalised { effects: vec![effect], notifications }
    }
}

/// What a story's, a task's, an issue's or an epic's event means: `own` adds its own fields to the common ones,
/// and says its milestone's and its story's, where it has them.
fn item<I: Item>(
    envelope: &Envelope,
    sequence: i64,
    kind: Kind,
    own: impl FnOnce(I, &mut Document) -> (Option<MilestoneFields>, Option<Bson>),
) -> Result<Normalised, Reject> {
    let (occasion, mut item) = Occasion::read::<I>(envelope, sequence)?;
    let event_type = envelope.event.as_str();
    let common = item.take_common();
    let id = common.id.integer_key("data.id")?;
    let order = occasion.order(common.modified_date);
    let key = vec![id.clone()];
    if occasion.is_delete() {
        return Ok(occasion.done(Effect::Gone { kind, key, order }, &[event_type]));
    }
    let mut fields = doc! {
        "event_type": event_type,
        "action_type": occasion.action.clone(),
        "prj": envelope.project.as_str(),
        "project_id": common.project.id,
        "team_name": common.project.name,
        "subject": common.subject,
        "reference": common.reference,
        "status": common.status.name,
        "is_closed": common.status.is_closed.or(false),
        "created_date": common.created_date,
        "modified_date": common.modified_date,
        "assigned_by": occasion.by.clone(),
        "assigned_to": common.assigned_to.username,
    };
    fields.extend(kind.key_fields().iter().map(|name| ((*name).to_owned(), id.clone())));
    let (milestone, story) = own(item, &mut fields);
    Ok(occasion.done(Effect::State { kind, key, order, fields, milestone, story }, &[event_type]))
}

fn story(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    item(envelope, sequence, Kind::UserStory, |story: Story, fields| {
        let points = story.points.0.iter();
        let total_points: Number = points.filter_map(|points| Number::of(&points.value.0)).sum();
        let custom_attributes = story.custom_attributes.0;
        fields.extend(doc! {
            // A story knows this itself, and its status may say otherwise.
            "is_closed": story.is_closed.or(false),
            "finished_date": story.finish_date,
            "total_points": total_points,
            "priority": custom_attributes.get("Priority").cloned().unwrap_or(Bson::Null),
            "custom_attributes": custom_attributes,
            "pattern": story.description.text().is_some_and(text::is_user_story),
        });
        (Some(milestone_fields(story.milestone.unwrap_or_default())), None)
    })
}

fn task(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    item(envelope, sequence, Kind::Task, |task: Task, fields| {
        let story = task.user_story.unwrap_or_default();
        fields.extend(doc! {
            "userstory_id": story.id.clone(),
            "userstory_is_closed": story.is_closed,
            "finished_date": task.finished_date,
            "custom_attributes": task.custom_attributes.0,
        });
        (Some(milestone_fields(task.milestone.unwrap_or_default())), Some(story.id.into()))
    })
}

fn issue(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    item(envelope, sequence, Kind::TaigaIssue, |issue: Issue, fields| {
        let name = |named: Option<Named>| named.unwrap_or_default().name;
        fields.extend(doc! {
            "description": issue.description,
            "due_date": issue.due_date,
            "severity": name(issue.severity),
            "priority": name(issue.priority),
            "type": name(issue.kind),
            "finished_date": issue.finished_date,
        });
        (None, None)
    })
}

fn epic(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    item(envelope, sequence, Kind::Epic, |_: Epic, _| (None, None))
}

/// Stories and tasks show their milestone's fields, so both have changed.
fn milestone(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let (occasion, data) = Occasion::read::<Milestone>(envelope, sequence)?;
    let id = data.id.clone().integer_key("data.id")?;
    let order = occasion.order(data.modified_date);
    let effect = if occasion.is_delete() {
        Effect::MilestoneGone { id, order }
    } else {
        Effect::Milestone { id, order, fields: milestone_fields(data) }
    };
    Ok(occasion.done(effect, &["task", "userstory"]))
}

/// The only place where Taiga says which epic a story belongs to; LD Eval sees it as the story's change.
fn related_story(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    let (occasion, data) = Occasion::read::<RelatedStory>(envelope, sequence)?;
    let story = data.user_story.unwrap_or_default().id.integer_key("data.user_story.id")?;
    let linked = data.epic.unwrap_or_default();
    let epic = linked.id.integer_key("data.epic.id")?;
    // A link has no time of its own.
    let order = occasion.order(Stamp::Unknown);
    let effect = if occasion.is_delete() {
        Effect::Unlinked { story, epic, order }
    } else {
        let fields = doc! {
            "epic_id": epic.clone(),
            "epic_name": linked.subject,
            "epic_reference": linked.reference,
        };
        Effect::Linked { story, epic, order, fields }
    };
    Ok(occasion.done(effect, &["userstory"]))
}

/// The seven fields that stories and tasks show of their milestone (CONTRACT §3, milestone fields).
fn milestone_fields(milestone: Milestone) -> MilestoneFields {
    doc! {
        "milestone_id": milestone.id,
        "milestone_name": milestone.name,
        "milestone_closed": milestone.closed,
        "milestone_created_date": milestone.created_date,
        "milestone_modified_date": milestone.modified_date,
        "estimated_start": milestone.estimated_start,
        "estimated_finish": milestone.estimated_finish,
    }
}
