//! Which deliveries of a hook never arrived, by the provider's own list. Pure.
//!
//! GitHub keeps the deliveries of a hook for three days, Taiga the last ten. A delivery and its redeliveries are one: at
//! GitHub they have the same `guid`, at Taiga the same type, action, object and date.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::time::parse_instant;

/// The deliveries of a hook.
#[derive(Debug, Default)]
pub struct Deliveries {
    by_identity: BTreeMap<String, Delivery>,
    /// The provider lists earlier ones, which were left out.
    pub has_older: bool,
}

/// A delivery with its redeliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When it was first sent: at GitHub in milliseconds since 1970, at Taiga the number of the log.
    pub first: i64,
    /// When it was last sent, in milliseconds since 1970.
    last: i64,
    /// The attempt to repeat: GitHub's newest, Taiga's oldest.
    attempt: i64,
    /// One attempt got a 2xx.
    pub arrived: bool,
}

impl Deliveries {
    /// Adds a page of GitHub's `/hooks/{id}/deliveries`, whose newest come first, without those before `since`.
    pub fn add_github(&mut self, page: &[Value], since: i64) {
        for delivery in page {
            let text = |name: &str| delivery.get(name).and_then(Value::as_str);
            let (Some(guid), Some(id)) = (text("guid"), delivery.get("id").and_then(Value::as_i64)) else { continue };
            let at = text("delivered_at").and_then(parse_instant).unwrap_or(i64::MAX);
            if at < since {
                self.has_older = true;
                continue;
            }
            let new = Delivery { first: at, last: at, attempt: id, arrived: false };
            let known = self.by_identity.entry(guid.to_owned()).or_insert(new);
            known.first = known.first.min(at);
            (known.last, known.attempt) = (known.last, known.attempt).max((at, id));
            known.arrived |= has_arrived(delivery, "status_code");
        }
    }

    /// Adds Taiga's `/webhooklogs` of a webhook, without deliveries last sent before `since`.
    pub fn add_taiga(&mut self, logs: &[Value], since: i64) {
        for log in logs {
            let Some(id) = log.get("id").and_then(Value::as_i64) else { continue };
            let at = log.get("created").and_then(|at| parse_instant(at.as_str()?)).unwrap_or(i64::MAX);
            let new = Delivery { first: id, last: at, attempt: id, arrived: false };
            let known = self.by_identity.entry(taiga_identity(log)).or_insert(new);
            known.first = known.first.min(id);
            known.last = known.last.max(at);
            known.attempt = known.attempt.min(id);
            known.arrived |= taiga_has_arrived(log);
        }
        let before = self.by_identity.len();
        self.by_identity.retain(|_, delivery| delivery.last >= since);
        self.has_older |= self.by_identity.len() < before;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_identity.len()
    }

    /// The one that was sent first.
    #[must_use]
    pub fn oldest(&self) -> Option<Delivery> {
        self.by_identity.values().copied().min_by_key(|delivery| delivery.first)
    }

    /// The attempts to repeat of those that never arrived, in the order in which they were first sent. So fewer of them
    /// meet newer data. And Taiga drops the oldest log for each resend: that one was sent again by then.
    #[must_use]
    pub fn lost(&self) -> Vec<i64> {
        let lost = self.by_identity.values().filter(|delivery| !delivery.arrived);
        let mut lost: Vec<(i64, i64)> = lost.map(|delivery| (delivery.first, delivery.attempt)).collect();
        lost.sort_unstable();
        lost.into_iter().map(|(_, attempt)| attempt).collect()
    }
}

/// Whether an attempt of Taiga's got a 2xx.
#[must_use]
pub fn taiga_has_arrived(log: &Value) -> bool {
    has_arrived(log, "status")
}

fn has_arrived(attempt: &Value, status: &str) -> bool {
    attempt.get(status).and_then(Value::as_i64).is_some_and(|status| (200..300).contains(&status))
}

fn taiga_identity(log: &Value) -> String {
    let data = log.get("request_data").unwrap_or(&Value::Null);
    let part = |name: &str| data.get(name).unwrap_or(&Value::Null).to_string();
    let object = data.get("data").and_then(|data| data.get("id")).unwrap_or(&Value::Null);
    format!("{} {} {object} {}", part("type"), part("action"), part("date"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_github_each_lost_delivery_is_repeated_once_by_its_newest_attempt_the_oldest_first() {
        let attempt = |id: i64, guid: &str, minute: u32, status: i64| json!({ "id": id, "guid": guid, "delivered_at": format!("2026-11-23T17:{minute:02}:00Z"), "status_code": status });
        let mut all = Deliveries::default();
        all.add_github(&[attempt(5, "b", 50, 500), attempt(4, "a", 40, 502), attempt(3, "c", 30, 200)], 0);
        all.add_github(&[attempt(2, "a", 20, 0), attempt(1, "c", 10, 500)], 0);
        assert_eq!((all.count(), all.lost(), all.has_older), (3, vec![4, 5], false));
        let since = parse_instant("2026-11-23T17:30:00Z").unwrap();
        let mut late = Deliveries::default();
        late.add_github(&[attempt(5, "b", 50, 500), attempt(2, "a", 20, 0)], since);
        assert_eq!((late.count(), late.lost(), late.has_older), (1, vec![5], true));
    }

    #[test]
    fn of_taiga_each_lost_delivery_is_repeated_once_by_its_oldest_log_the_oldest_first() {
        let log = |id: i64, object: i64, status: i64| json!({ "id": id, "status": status, "created": format!("2026-11-23T17:{id:02}:00Z"), "request_data": { "type": "task", "action": "change", "date": "d", "data": { "id": object } } });
        let logs = [log(9, 1, 500), log(8, 2, 200), log(7, 3, 0), log(6, 1, 500), log(5, 2, 500)];
        let mut all = Deliveries::default();
        all.add_taiga(&logs, i64::MIN);
        assert_eq!((all.count(), all.lost()), (3, vec![6, 7]));
        assert_eq!(all.oldest().map(|oldest| oldest.arrived), Some(true));
        let mut late = Deliveries::default();
        late.add_taiga(&logs, parse_instant("2026-11-23T17:08:00Z").unwrap());
        assert_eq!((late.lost(), late.has_older), (vec![6], true), "its newest attempt counts");
    }
}
