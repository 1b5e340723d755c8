use bson::doc;

use super::super::statement::Shown;
use super::super::write::Write;
use super::*;

fn state(kind: Kind, id: i32, order: Order, action: Option<&str>) -> effect::State {
    let key = vec![id.into()];
    let fields: Document = kind.key_fields().iter().map(|name| ((*name).to_owned(), id.into())).collect();
    let action = action.map(|action| doc! { "action_type": action, "assigned_by": "a" });
    let milestone = matches!(kind, Kind::UserStory | Kind::Task).then_some(Bson::Null);
    effect::State { kind, key, order, read: None, fields, action, milestone, story: None }
}

fn batch(effects: Vec<Effect>) -> Batch {
    let event = |effect| Event { prj: "P".into(), delivery: "d".into(), effects: vec![effect] };
    Batch::of(effects.into_iter().map(event)).unwrap()
}

fn only(batch: &Batch) -> &State {
    assert_eq!(batch.states.len(), 1);
    batch.states.values().next().unwrap()
}

const fn at(t: i64) -> Order {
    Order::new(t, 1)
}

#[test]
fn the_newest_state_and_the_newest_action_remain_whatever_the_order() {
    let told = [
        Effect::State(state(Kind::Epic, 1, at(1), Some("create"))),
        Effect::State(state(Kind::Epic, 1, at(2), Some("change"))),
        Effect::State(state(Kind::Epic, 1, at(3), None)),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let batch = batch(order.iter().map(|n| told[*n].clone()).collect());
        let state = only(&batch);
        assert_eq!(state.order, at(3));
        assert_eq!(state.action.as_ref().map(|(at, _)| *at), Some(at(2)));
        assert!(state.insert_first, "the batch tells of its creation");
    }
}

#[test]
fn of_a_commit_the_oldest_view_remains() {
    let push = |t| Effect::State(state(Kind::Commit, 1, at(t), None));
    assert_eq!(only(&batch(vec![push(2), push(1), push(3)])).order, at(1));
}

#[test]
fn what_the_batch_deletes_is_not_written() {
    let gone = |t| Effect::Gone { kind: Kind::Epic, key: vec![1.into()], order: at(t) };
    let written = |effects| {
        let mut batch = batch(effects);
        batch.leave_out_deleted();
        batch.states.len()
    };
    let epic = || Effect::State(state(Kind::Epic, 1, at(2), None));
    assert_eq!((written(vec![epic(), gone(3)]), written(vec![epic(), gone(1)])), (0, 1));
    // What was read later is there, whatever its last change is as of.
    let read = Effect::State(effect::State { read: Some(at(4)), ..state(Kind::Epic, 1, at(2), None) });
    let superseded = Effect::Superseded { kind: Kind::Epic, key: vec![1.into()], order: at(2) };
    assert_eq!((written(vec![read.clone(), gone(3)]), written(vec![read, superseded])), (1, 0));
}

#[test]
fn a_task_is_written_in_the_newer_of_its_own_milestone_and_its_storys() {
    let milestone = |id: i32, t| Effect::Milestone { id: id.into(), order: at(t), fields: doc! { "milestone_id": id } };
    let shown = |story_at: i64| {
        let story = StoryOf { id: 9.into(), is_closed: Some(false.into()), agrees: true };
        let task = effect::State { milestone: Some(1.into()), story: Some(story), ..state(Kind::Task, 7, at(5), None) };
        let mut of_story = state(Kind::UserStory, 9, at(story_at), None);
        of_story.milestone = Some(2.into());
        of_story.fields.insert("is_closed", true);
        let effects = vec![milestone(1, 5), milestone(2, story_at), Effect::State(task), Effect::State(of_story)];
        let batch = batch(effects);
        let task = batch.states.values().find(|state| state.kind == Kind::Task).unwrap();
        let shown = Shown::of(&batch, task).unwrap();
        (shown.milestone, shown.in_it, shown.of_story)
    };
    assert_eq!(shown(3), (Some(1.into()), Some(at(5)), Some(at(5))));
    assert_eq!(shown(8), (Some(2.into()), Some(at(8)), Some(at(8))));
}

#[test]
fn a_write_that_meets_a_document_is_retried_as_what_is_left_of_it() {
    let batch = batch(vec![
        Effect::State(state(Kind::Epic, 1, at(2), Some("change"))),
        Effect::State(state(Kind::Epic, 1, at(4), None)),
    ]);
    let (state, shown) = (only(&batch), Shown::default());
    let met = |ours: Document| Write::State(state, &shown).retry_as(&doc! { "_ld": ours });
    let order = |t: i64| doc! { "t": t, "s": 1_i64, "r": 0_i64 };
    assert!(matches!(met(doc! {})[..], [Write::Merge(..)]));
    assert!(matches!(met(doc! { "order": order(1) })[..], [Write::State(..)]));
    assert!(matches!(met(doc! { "order": order(3) })[..], [Write::StateAlone(..), Write::Action(..)]));
    assert!(matches!(met(doc! { "order": order(3), "action": order(3) })[..], [Write::StateAlone(..)]));
    assert!(matches!(met(doc! { "order": order(4) })[..], [Write::Action(..)]));
    assert!(met(doc! { "order": order(5), "action": order(2) }).is_empty());
    // An order of an earlier version is older than every other of the same instant and event.
    assert!(matches!(
        met(doc! { "order": { "t": 4_i64, "s": 1_i64 } })[..],
        [Write::StateAlone(..), Write::Action(..)]
    ));
}

#[test]
fn ids_are_told_apart_by_kind_and_type() {
    assert_eq!(entity_id(Kind::Task, "P", &[17.into()]), "taiga_P.tasks/17");
    assert_eq!(entity_id(Kind::GithubIssue, "P", &["o/r".into(), 17.into()]), "github_P.issues/\"o/r\"/17");
    assert_eq!(link_id("P", &8.into(), &5.into()), "taiga_P.userstories/8/epic/5");
    assert_eq!(Parent::Story(8.into()).id("P"), "taiga_P.userstories/8");
    assert_ne!(entity_id(Kind::Task, "P", &["17".into()]), entity_id(Kind::Task, "P", &[17.into()]));
}

#[test]
fn an_events_collections_are_known_so_that_it_can_wait_for_them() {
    let batch = batch(vec![
        Effect::State(state(Kind::Epic, 1, at(2), None)),
        Effect::Gone { kind: Kind::UserStory, key: vec![1.into()], order: at(1) },
    ]);
    assert_eq!(batch.events_of("taiga_P.userstories"), [0, 1]);
    assert_eq!(batch.events_of("taiga_P.tasks"), [1]);
    assert_eq!(batch.events_of("taiga_Q.tasks"), [0; 0]);
}
