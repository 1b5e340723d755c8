//! When things became true, and which of two wins at the same instant.

use vocabulary::envelope::Envelope;
use vocabulary::ids::Project;
use vocabulary::source::Source;

use super::{BACKFILL, Settings, normalise};
use crate::effect::{Effect, Normalised, Order, State};

const DAY: i64 = 86_400_000;

fn told(source: Source, event: &str, payload: &str, read_at: Option<i64>) -> Normalised {
    let envelope = Envelope {
        source,
        project: Project::new("TeamA").unwrap(),
        event: event.to_owned(),
        delivery: "d".to_owned(),
        quality_model: None,
        received_at: 1_000,
        traceparent: None,
        origin_sequence: None,
        read_at,
        payload: payload.to_owned().into(),
    };
    normalise(&envelope, 7, &Settings::default()).unwrap()
}

fn state(normalised: &Normalised) -> &State {
    let mut states = normalised.effects.iter().filter_map(|effect| match effect {
        Effect::State(state) => Some(state),
        _ => None,
    });
    states.next().unwrap()
}

#[test]
fn a_date_of_the_future_counts_as_a_day_after_its_arrival() {
    let at = |date: &str| {
        let epic = format!(r#"{{"date":{date},"action":"change","data":{{"id":1}}}}"#);
        state(&told(Source::Taiga, "epic", &epic, None)).order
    };
    assert_eq!(at(r#""1970-01-01T00:00:02Z""#), Order::new(2_000, 7));
    assert_eq!(at(r#""2099-01-01T00:00:00Z""#), Order::new(1_000 + DAY, 7));
    assert_eq!(at("null"), Order::new(0, 7), "without a readable date it is as of 0");
}

#[test]
fn what_taigas_api_says_is_as_of_its_reading_and_has_no_action() {
    let epic = r#"{"date":"1970-01-01T00:00:02Z","action":"change","by":{"username":"a"},"data":{"id":1}}"#;
    let read = told(Source::Taiga, "epic", epic, Some(5_000));
    assert_eq!(state(&read).order, Order::new(5_000, 7));
    assert_eq!(state(&read).action, None);
    assert_eq!(read.notifications[0].author_login, BACKFILL);
    assert!(state(&told(Source::Taiga, "epic", epic, None)).action.is_some());
}

#[test]
fn what_githubs_api_says_is_as_of_its_last_change_and_there_as_of_its_reading() {
    let issue = r#"{"action":"opened","issue":{"number":1,"updated_at":"1970-01-01T00:00:02Z"},"repository":{"full_name":"o/r"},"sender":{"login":"a"}}"#;
    let (webhook, read) =
        (told(Source::Github, "issues", issue, None), told(Source::Github, "issues", issue, Some(9_000)));
    assert_eq!((state(&webhook).order, state(&webhook).read), (Order::new(2_000, 7), None));
    assert_eq!((state(&read).order, state(&read).read), (Order::new(2_000, 7), Some(Order::new(9_000, 7))));
    assert_eq!(state(&read).action, None);
}

#[test]
fn a_deletion_at_github_is_as_of_its_arrival() {
    let issue = r#"{"action":"deleted","issue":{"number":1,"updated_at":"1970-01-01T00:00:00.5Z"},"repository":{"full_name":"o/r"}}"#;
    let orders = |read_at| {
        let effects = told(Source::Github, "issues", issue, read_at).effects;
        let order = |effect: &Effect| match effect {
            Effect::Gone { order, .. } | Effect::Superseded { order, .. } => order.t,
            other => panic!("{other:?}"),
        };
        effects.iter().map(order).collect::<Vec<_>>()
    };
    assert_eq!(orders(None), [500, 1_000]);
    assert_eq!(orders(Some(9_000)), [500, 9_000]);
}

#[test]
fn the_apis_view_of_a_commit_comes_after_every_pushs() {
    let push = |time: &str| format!(r#"{{"commits":[{{"id":"c"}}],"repository":{{"full_name":"o/r"{time}}}}}"#);
    let order = |time: &str, read_at| state(&told(Source::Github, "push", &push(time), read_at)).order;
    let dated = order(r#","pushed_at":1795455723"#, None);
    assert!(dated < order("", Some(9_000)));
    assert_eq!(order("", None).t, 0, "without a readable date it is as of 0");
}

#[test]
fn the_object_itself_is_newer_than_what_its_delivery_carries() {
    let task = r#"{"date":"1970-01-01T00:00:02Z","action":"create","data":{"id":1,"milestone":{"id":5},
        "user_story":{"id":2,"subject":"s","status":null,"milestone":{"id":5}}}}"#;
    let orders: Vec<i64> = told(Source::Taiga, "task", task, None)
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::State(State { order, .. }) | Effect::Milestone { order, .. } => order.r,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(orders, [-2, -1, -1, 0], "the story's milestone, the story, its own milestone, the task");
}
