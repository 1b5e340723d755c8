//! Taiga: userstory, task, issue, epic, milestone, relateduserstory.
//!
//! A delivery contains whole objects: a task its story and its milestone, a link its story and its epic. Each of them
//! has effects as if it had an event of its own. The object itself is newer than the objects inside it.

use std::mem::take;

use bson::{Bson, Document, doc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use vocabulary::envelope::Envelope;

use super::bson_value::JsonValue;
use super::common::{Settings, notifications};
use super::json::{self, Given, List, Words, object};
use super::number::Number;
use super::text;
use super::time::Stamp;
use crate::effect::{Effect, Kind, MilestoneFields, Normalised, Order, Reject, State, StoryOf};

/// How much later than its arrival a delivery may be dated: a date of 2099 must not win for ever.
const LATEST: i64 = 24 * 60 * 60 * 1000;

object!(
    /// What surrounds every `data`.
    Event<Data> {
        action: JsonValue = "action",
        by: Option<User> = "by",
        date: Stamp = "date",
        data: Option<Data> = "data",
    }
);

/// Declares one of the four objects that have a document of their own: the common fields, and its own.
macro_rules! item {
    ($name:ident, $kind:expr, $word:literal { $($field:ident: $type:ty = $key:literal),* $(,)? }) => {
        object!($name {
            id: JsonValue = "id",
            reference: JsonValue = "ref",
            project: Option<Named> = "project",
            subject: Given<JsonValue> = "subject",
            status: Given<Option<Status>> = "status",
            created_date: Stamp = "created_date",
            modified_date: Stamp = "modified_date",
            assigned_to: Option<User> = "assigned_to",
            $($field: $type = $key),*
        });

        impl Item for $name {
            const KIND: Kind = $kind;
            const WORD: &'static str = $word;

            fn take_common(&mut self) -> Common {
                Common {
                    id: take(&mut self.id),
                    reference: take(&mut self.reference),
                    project: take(&mut self.project).unwrap_or_default(),
                    subject: take(&mut self.subject).0,
                    status: take(&mut self.status).0.flatten().unwrap_or_default(),
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
    const KIND: Kind;
    /// Taiga's word for it.
    const WORD: &'static str;

    /// Takes the common fields.
    fn take_common(&mut self) -> Common;
}

struct Common {
    id: JsonValue,
    reference: JsonValue,
    project: Named,
    subject: Option<JsonValue>,
    status: Status,
    created_date: Stamp,
    modified_date: Stamp,
    assigned_to: User,
}

item!(Story, Kind::UserStory, "userstory" {
    is_closed: Given<JsonValue> = "is_closed",
    description: JsonValue = "description",
    finish_date: Stamp = "finish_date",
    points: List<Points> = "points",
    custom_attributes: Words = "custom_attributes_values",
    milestone: Option<Milestone> = "milestone",
});

item!(Task, Kind::Task, "task" {
    finished_date: Stamp = "finished_date",
    custom_attributes: Words = "custom_attributes_values",
    user_story: Option<Story> = "user_story",
    milestone: Option<Milestone> = "milestone",
    promoted_to: NonEmpty = "promoted_to",
});

item!(Issue, Kind::TaigaIssue, "issue" {
    description: JsonValue = "description",
    severity: Option<Named> = "severity",
    priority: Option<Named> = "priority",
    kind: Option<Named> = "type",
    finished_date: Stamp = "finished_date",
    due_date: Stamp = "due_date",
    milestone: Option<Milestone> = "milestone",
});

item!(Epic, Kind::Epic, "epic" {});

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
    user_story: Option<Story> = "user_story",
    epic: Option<Epic> = "epic",
});

object!(User { username: JsonValue = "username" });
object!(Named { id: JsonValue = "id", name: JsonValue = "name" });
object!(Status { name: JsonValue = "name", is_closed: JsonValue = "is_closed" });
object!(Points { value: JsonValue = "value" });

/// Whether a value is a list with items.
#[derive(Debug, Default)]
struct NonEmpty(bool);

impl<'de> Deserialize<'de> for NonEmpty {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = JsonValue::deserialize(deserializer)?.0;
        Ok(Self(value.as_array().is_some_and(|list| !list.is_empty())))
    }
}

/// What one of Taiga's events means.
pub(super) fn normalise(envelope: &Envelope, sequence: i64, settings: &Settings) -> Result<Normalised, Reject> {
    match envelope.event.as_str() {
        "userstory" => item(envelope, sequence, settings, Delivery::story),
        "task" => item(envelope, sequence, settings, Delivery::task),
        "issue" => item(envelope, sequence, settings, Delivery::issue),
        "epic" => item(envelope, sequence, settings, Delivery::epic),
        "milestone" => milestone(envelope, sequence, settings),
        "relateduserstory" => related_story(envelope, sequence, settings),
        other => Err(Reject::UnknownEvent(other.to_owned())),
    }
}

/// An event without its `data`, and its effects.
struct Delivery<'a> {
    envelope: &'a Envelope,
    settings: &'a Settings,
    action: JsonValue,
    by: JsonValue,
    order: Order,
    effects: Vec<Effect>,
}

impl<'a> Delivery<'a> {
    /// Reads a payload; missing `data` is `data` without anything in it.
    fn read<Data>(envelope: &'a Envelope, sequence: i64, settings: &'a Settings) -> Result<(Self, Data), Reject>
    where
        Data: DeserializeOwned + Default,
    {
        let event: Event<Data> = json::read(&envelope.payload)?;
        let by = event.by.unwrap_or_default().username;
        let sent = event.date.millis().unwrap_or(0).min(envelope.received_at.saturating_add(LATEST));
        let order = Order::new(envelope.read_at.unwrap_or(sent), sequence);
        let (action, effects) = (event.action, Vec::new());
        Ok((Self { envelope, settings, action, by, order, effects }, event.data.unwrap_or_default()))
    }

    /// An unknown action is a change: the state is the newest all the same.
    fn is_delete(&self) -> bool {
        self.action.text() == Some("delete")
    }

    fn done(self) -> Normalised {
        Normalised { effects: self.effects, notifications: notifications(self.envelope, self.by.name()) }
    }

    fn common<I: Item>(&self, common: Common, id: &Bson) -> Document {
        let mut fields = doc! {
            "event_type": I::WORD,
            "prj": self.envelope.project.as_str(),
            "project_id": common.project.id,
            "team_name": common.project.name,
            "subject": common.subject.unwrap_or_default(),
            "reference": common.reference,
            "status": common.status.name,
            "is_closed": common.status.is_closed.or(false),
            "created_date": common.created_date,
            "modified_date": common.modified_date,
            "assigned_to": common.assigned_to.username,
        };
        fields.extend(I::KIND.key_fields().iter().map(|name| ((*name).to_owned(), id.clone())));
        fields
    }

    /// The state of an item: the delivery's own object, or one inside it.
    fn state(
        &mut self,
        kind: Kind,
        id: Bson,
        order: Order,
        fields: Document,
        milestone: Option<Bson>,
        story: Option<StoryOf>,
    ) {
        let is_own = order == self.order && self.envelope.read_at.is_none();
        let action = is_own.then(|| doc! { "action_type": self.action.clone(), "assigned_by": self.by.clone() });
        let state = State { kind, key: vec![id], order, read: None, fields, action, milestone, story };
        self.effects.push(Effect::State(state));
    }

    fn gone(&mut self, kind: Kind, id: Bson) {
        self.effects.push(Effect::Gone { kind, key: vec![id], order: self.order });
    }

    /// A deleted story; the objects inside its delivery still have effects.
    fn story(&mut self, mut story: Story, order: Order, is_gone: bool) -> Result<(), Reject> {
        let common = story.take_common();
        let id = common.id.clone().integer_key("data.id")?;
        let milestone = self.milestone_of(story.milestone.take(), order.nested())?;
        if is_gone {
            self.gone(Kind::UserStory, id);
            return Ok(());
        }
        let points = story.points.0.iter();
        let total_points = points
            .filter_map(|points| Number::of(&points.value.0))
            .map(Number::double)
            .fold(0.0, |sum, value| sum + value);
        let custom_attributes = self.numbers(story.custom_attributes.0);
        let mut fields = self.common::<Story>(common, &id);
        fields.extend(doc! {
            // The story's own flag: its status may differ.
            "is_closed": story.is_closed.0.unwrap_or_default().or(false),
            "finished_date": story.finish_date,
            "total_points": total_points,
            "priority": custom_attributes.get("Priority").cloned().unwrap_or(Bson::Null),
            "custom_attributes": custom_attributes,
            "pattern": story.description.text().is_some_and(text::is_user_story),
        });
        self.state(Kind::UserStory, id, order, fields, Some(milestone), None);
        Ok(())
    }

    /// A story inside another object, with the milestone of its state. An incomplete one has no state: it contains at
    /// most its id and whether it is closed.
    fn story_inside(&mut self, story: Option<Story>) -> Result<(StoryOf, Option<Bson>), Reject> {
        let mut story = story.unwrap_or_default();
        let id = match &story.id.0 {
            Bson::Null => Bson::Null,
            _ => story.id.clone().integer_key("data.user_story.id")?,
        };
        let told = story.is_closed.0.clone().map(Bson::from);
        let order = self.order.nested();
        if id == Bson::Null || story.subject.0.is_none() || story.status.0.is_none() {
            self.milestone_of(story.milestone.take(), order.nested())?;
            return Ok((StoryOf { id, is_closed: told, agrees: false }, None));
        }
        let milestone = story.milestone.as_ref().map_or(Bson::Null, |milestone| milestone.id.0.clone());
        self.story(story, order, false)?;
        let is_closed = told.filter(|told| *told != Bson::Null).unwrap_or(false.into());
        Ok((StoryOf { id, is_closed: Some(is_closed), agrees: true }, Some(milestone)))
    }

    fn task(&mut self, mut task: Task, order: Order, is_gone: bool) -> Result<(), Reject> {
        let common = task.take_common();
        let id = common.id.clone().integer_key("data.id")?;
        let (mut story, of_story) = self.story_inside(task.user_story.take())?;
        let milestone = self.milestone_of(task.milestone.take(), order.nested())?;
        story.agrees = of_story.as_ref() == Some(&milestone);
        // A task that became a story is deleted without an event.
        if is_gone || task.promoted_to.0 {
            self.gone(Kind::Task, id);
            return Ok(());
        }
        let mut fields = self.common::<Task>(common, &id);
        fields.extend(doc! {
            "userstory_id": story.id.clone(),
            "finished_date": task.finished_date,
            "custom_attributes": self.numbers(task.custom_attributes.0),
        });
        self.state(Kind::Task, id, order, fields, Some(milestone), Some(story));
        Ok(())
    }

    fn issue(&mut self, mut issue: Issue, order: Order, is_gone: bool) -> Result<(), Reject> {
        let common = issue.take_common();
        let id = common.id.clone().integer_key("data.id")?;
        self.milestone_of(issue.milestone.take(), order.nested())?;
        if is_gone {
            self.gone(Kind::TaigaIssue, id);
            return Ok(());
        }
        let name = |named: Option<Named>| named.unwrap_or_default().name;
        let mut fields = self.common::<Issue>(common, &id);
        fields.extend(doc! {
            "description": issue.description,
            "due_date": issue.due_date,
            "severity": name(issue.severity),
            "priority": name(issue.priority),
            "type": name(issue.kind),
            "finished_date": issue.finished_date,
        });
        self.state(Kind::TaigaIssue, id, order, fields, None, None);
        Ok(())
    }

    fn epic(&mut self, mut epic: Epic, order: Order, is_gone: bool) -> Result<(), Reject> {
        let common = epic.take_common();
        let id = common.id.clone().integer_key("data.id")?;
        if is_gone {
            self.gone(Kind::Epic, id);
            return Ok(());
        }
        self.epic_name(&common, &id, order);
        let fields = self.common::<Epic>(common, &id);
        self.state(Kind::Epic, id, order, fields, None, None);
        Ok(())
    }

    /// The epic of a link. An incomplete one with a subject still contains the name that stories show.
    fn epic_inside(&mut self, epic: Option<Epic>) -> Result<Bson, Reject> {
        let mut epic = epic.unwrap_or_default();
        let id = epic.id.clone().integer_key("data.epic.id")?;
        let order = self.order.nested();
        if epic.subject.0.is_some() && epic.status.0.is_some() {
            self.epic(epic, order, false)?;
        } else {
            let common = epic.take_common();
            self.epic_name(&common, &id, order);
        }
        Ok(id)
    }

    fn epic_name(&mut self, common: &Common, id: &Bson, order: Order) {
        if let Some(subject) = &common.subject {
            let fields = doc! { "epic_name": subject.clone(), "epic_reference": common.reference.clone() };
            self.effects.push(Effect::EpicName { id: id.clone(), order, fields });
        }
    }

    /// A milestone inside another object has effects, too. Returns its id, null when there is none.
    fn milestone_of(&mut self, milestone: Option<Milestone>, order: Order) -> Result<Bson, Reject> {
        let milestone = milestone.unwrap_or_default();
        if milestone.id.0 == Bson::Null {
            return Ok(Bson::Null);
        }
        let id = milestone.id.clone().integer_key("data.milestone.id")?;
        self.effects.push(Effect::Milestone { id: id.clone(), order, fields: milestone_fields(milestone) });
        Ok(id)
    }

    /// Attributes that users fill with numbers, and that LD Eval computes with, are numbers also where Taiga sends
    /// text.
    fn numbers(&self, mut attributes: Document) -> Document {
        for name in &self.settings.numeric_attributes {
            if let Some(value @ Bson::String(_)) = attributes.get_mut(name)
                && let Some(number) = Number::of_cell(value)
            {
                *value = number.into();
            }
        }
        attributes
    }
}

/// What a story's, a task's, an issue's or an epic's event means.
fn item<'a, I: Item>(
    envelope: &'a Envelope,
    sequence: i64,
    settings: &'a Settings,
    tell: impl FnOnce(&mut Delivery<'a>, I, Order, bool) -> Result<(), Reject>,
) -> Result<Normalised, Reject> {
    let (mut delivery, item) = Delivery::read::<I>(envelope, sequence, settings)?;
    let (order, is_gone) = (delivery.order, delivery.is_delete());
    tell(&mut delivery, item, order, is_gone)?;
    Ok(delivery.done())
}

fn milestone(envelope: &Envelope, sequence: i64, settings: &Settings) -> Result<Normalised, Reject> {
    let (mut delivery, data) = Delivery::read::<Milestone>(envelope, sequence, settings)?;
    let id = data.id.clone().integer_key("data.id")?;
    let order = delivery.order;
    delivery.effects.push(if delivery.is_delete() {
        Effect::MilestoneGone { id, order }
    } else {
        Effect::Milestone { id, order, fields: milestone_fields(data) }
    });
    Ok(delivery.done())
}

/// Only here Taiga says which epic a story belongs to.
fn related_story(envelope: &Envelope, sequence: i64, settings: &Settings) -> Result<Normalised, Reject> {
    let (mut delivery, data) = Delivery::read::<RelatedStory>(envelope, sequence, settings)?;
    let story = delivery.story_inside(data.user_story)?.0.id;
    if story == Bson::Null {
        return Err(Reject::MissingKey("data.user_story.id"));
    }
    let epic = delivery.epic_inside(data.epic)?;
    let order = delivery.order;
    delivery.effects.push(if delivery.is_delete() {
        Effect::Unlinked { story, epic, order }
    } else {
        let created = delivery.action.text() == Some("create") && envelope.read_at.is_none();
        Effect::Linked { story, epic, order, created }
    });
    Ok(delivery.done())
}

/// The seven fields that stories and tasks show of their milestone.
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
