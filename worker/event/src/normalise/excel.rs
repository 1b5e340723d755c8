//! Google Sheets: one row of a team's activity log.

use bson::{Bson, Document, doc};
use vocabulary::envelope::Envelope;
use vocabulary::hash::sha256_hex;

use super::bson_value::JsonValue;
use super::common::{notifications, state};
use super::json::{self, object};
use super::number::Number;
use crate::effect::{Kind, Normalised, Order, Reject};

object!(Row {
    timestamp: JsonValue = "timestamp",
    iteration: JsonValue = "iteration",
    date: JsonValue = "date",
    duration: JsonValue = "duration",
    activity: JsonValue = "activity",
    comment: JsonValue = "comment",
    epic: JsonValue = "epic",
    members: JsonValue = "members",
    member_hours: JsonValue = "memberHours",
    config_range: JsonValue = "configRange",
});

/// The activities, in the order of `configRange`'s cells.
const ACTIVITIES: [&str; 8] = [
    "Reunió_d'equip",
    "Reunió_focal",
    "Classe_passiva",
    "Formació",
    "Desenvolupament",
    "Gestió_de_projecte",
    "Documentació",
    "Presentació",
];

/// What a row means.
pub(super) fn normalise(envelope: &Envelope, sequence: i64) -> Result<Normalised, Reject> {
    if envelope.event != "sheets_activity" {
        return Err(Reject::UnknownEvent(envelope.event.clone()));
    }
    let row: Row = json::read(&envelope.payload)?;
    let activity_id = Bson::String(sha256_hex(&envelope.payload));
    let sent = members_as_sent(row.members.0);
    let hours = cells(row.member_hours.0);
    let kept: Vec<String> = sent.iter().filter(|name| !name.is_empty()).cloned().collect();
    let mut fields = doc! {
        "activity_id": activity_id.clone(),
        "prj": envelope.project.as_str(),
        "team": envelope.project.as_str(),
        "quality_model": envelope.quality_model.as_ref().map(|model| model.as_str()),
        "timestamp": row.timestamp,
        "iteration": row.iteration,
        "activity_date": row.date,
        "duration_h": duration(row.duration.0),
        "activity_type": row.activity,
        "comment": row.comment,
        "epic": row.epic,
    };
    // Hours are in the order of the members as sent, or, when the add-on dropped the blanks only here, of the members
    // that are left.
    add_hours(&mut fields, if sent.len() == hours.len() { &sent } else { &kept }, &hours);
    fields.insert("members", kept);
    // After the members: if a member has the name of an activity, the activity's hours are shown.
    let config = cells(row.config_range.0);
    let of_activity = |index| config.get(index).and_then(Number::of_cell).unwrap_or(Number::ZERO);
    let mut total = Number::ZERO;
    for (index, activity) in ACTIVITIES.into_iter().enumerate() {
        let hours = of_activity(index);
        fields.insert(format!("hours_{activity}"), hours);
        total = total.plus(hours);
    }
    fields.insert("total_hours", total);
    // A row is never sent again with other values, so only the sequence orders it.
    let effect = state(Kind::Row, vec![activity_id], Order::new(0, sequence), fields);
    Ok(Normalised { effects: vec![effect], notifications: notifications(envelope, String::new()) })
}

/// Adds `hours_<member>`; a member without a cell has 0, and a member that is listed twice has the sum.
fn add_hours(fields: &mut Document, members: &[String], hours: &[Bson]) {
    for (index, member) in members.iter().enumerate().filter(|(_, member)| !member.is_empty()) {
        let name = format!("hours_{member}");
        let before = fields.get(&name).and_then(Number::of).unwrap_or(Number::ZERO);
        let hour = hours.get(index).and_then(Number::of_cell).unwrap_or(Number::ZERO);
        fields.insert(name, before.plus(hour));
    }
}

/// The cells of a range: nested arrays (Apps Script's `getValues()`) in reading order, a lone value as one cell.
fn cells(range: Bson) -> Vec<Bson> {
    fn flatten(value: Bson, out: &mut Vec<Bson>) {
        match value {
            Bson::Array(row) => row.into_iter().for_each(|cell| flatten(cell, out)),
            cell => out.push(cell),
        }
    }
    let mut out = Vec::new();
    if range != Bson::Null {
        flatten(range, &mut out);
    }
    out
}

/// The names as they were sent, trimmed; a blank is the empty name.
fn members_as_sent(members: Bson) -> Vec<String> {
    match members {
        Bson::String(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        range => cells(range).iter().map(name_of_cell).collect(),
    }
}

/// A cell as a name: a number or a truth value as the sheet shows it, anything else without text as a blank.
fn name_of_cell(cell: &Bson) -> String {
    match cell {
        Bson::String(name) => name.trim().to_owned(),
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Boolean(_) => cell.to_string(),
        _ => String::new(),
    }
}

/// A number when it reads as one, else as it was sent.
fn duration(sent: Bson) -> Bson {
    let cell = cells(sent.clone());
    match cell.as_slice() {
        [cell] => Number::of_cell(cell).map_or(sent, Bson::from),
        _ => sent,
    }
}
