use bson::doc;

use super::*;

fn at(t: i64, s: i64) -> Order {
    Order { t, s }
}

/// A state whose order can be read off its fields.
fn state(kind: Kind, id: i32, order: Order) -> Effect {
    let fields = doc! { "told": format!("{}/{}", order.t, order.s) };
    Effect::State { kind, key: vec![id.into()], order, fields, milestone: None, story: None }
}

fn gone(kind: Kind, id: i32, order: Order) -> Effect {
    Effect::Gone { kind, key: vec![id.into()], order }
}

fn linked(story: i32, epic: i32, order: Order) -> Effect {
    Effect::Linked { story: story.into(), epic: epic.into(), order, fields: doc! { "epic_id": epic } }
}

/// Folds a batch of events with one effect each.
fn fold<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Batch {
    let event = |effect: &Effect| Event { prj: "P".into(), delivery: "d".into(), effects: vec![effect.clone()] };
    let mut batch = Batch::of(effects.into_iter().map(event)).unwrap();
    batch.leave_out_deleted();
    batch
}

/// What remains of a batch, in words, without the places of events in it.
fn remains(plan: &Batch) -> BTreeSet<String> {
    let states = plan.states.iter().map(|(id, held)| format!("{id} {:?} {:?}", held.order, held.fields));
    let links = plan.links.iter().map(|(id, held)| format!("{id} {:?} to {}", held.order, held.epic));
    let deletions = plan.deletions.iter().map(|(id, held)| format!("{id} gone {:?}", held.order));
    let sprints = plan.sprints.iter().map(|(id, held)| format!("{id} {:?} gone {:?}", held.state, held.gone));
    states.chain(links).chain(deletions).chain(sprints).collect()
}

fn permutations(effects: Vec<Effect>) -> Vec<Vec<Effect>> {
    if effects.len() < 2 {
        return vec![effects];
    }
    let first = |n: usize| {
        let mut rest = effects.clone();
        let first = rest.remove(n);
        permutations(rest).into_iter().map(move |rest| [vec![first.clone()], rest].concat())
    };
    (0..effects.len()).flat_map(first).collect()
}

#[test]
fn the_order_within_a_batch_and_repetitions_do_not_matter() {
    let sprint = |order| Effect::Milestone { id: 5.into(), order, fields: doc! { "told": order.s } };
    let batches = [
        vec![
            state(Kind::Task, 1, at(1, 9)),
            state(Kind::Task, 1, at(2, 8)),
            gone(Kind::Task, 1, at(2, 7)),
            gone(Kind::Task, 1, at(1, 10)),
        ],
        vec![
            linked(1, 5, at(3, 1)),
            linked(1, 6, at(2, 2)),
            linked(1, 5, at(1, 3)),
            gone(Kind::UserStory, 1, at(2, 4)),
        ],
        vec![sprint(at(3, 1)), sprint(at(2, 2)), Effect::MilestoneGone { id: 5.into(), order: at(2, 3) }],
        vec![state(Kind::Commit, 1, at(3, 1)), state(Kind::Commit, 1, at(2, 2)), state(Kind::Commit, 1, at(2, 3))],
    ];
    for batch in batches {
        let once = remains(&fold(&batch));
        for permutation in permutations(batch) {
            assert_eq!(remains(&fold(&permutation)), once, "{permutation:?}");
            assert_eq!(remains(&fold(permutation.iter().chain(&permutation))), once, "twice: {permutation:?}");
        }
    }
}

#[test]
fn of_several_states_the_newest_remains_and_of_a_commit_the_earliest() {
    for (kind, remaining) in [(Kind::Task, at(2, 1)), (Kind::Commit, at(1, 2))] {
        let plan = fold(&[state(kind, 1, at(1, 2)), state(kind, 1, at(2, 1))]);
        assert_eq!(plan.states.values().map(|held| held.order).collect::<Vec<_>>(), [remaining], "{kind:?}");
    }
}

#[test]
fn at_the_same_instant_the_order_of_the_stream_decides() {
    for (kind, remaining) in [(Kind::Epic, at(1, 3)), (Kind::Commit, at(1, 2))] {
        let plan = fold(&[state(kind, 1, at(1, 3)), state(kind, 1, at(1, 2))]);
        assert_eq!(plan.states.values().map(|held| held.order).collect::<Vec<_>>(), [remaining], "{kind:?}");
    }
}

#[test]
fn what_the_batch_itself_deletes_is_not_written_but_what_is_newer_is() {
    let written = |order| fold(&[state(Kind::Task, 1, order), gone(Kind::Task, 1, at(2, 5))]).states.len();
    assert_eq!((written(at(1, 9)), written(at(2, 4))), (0, 0), "older");
    assert_eq!((written(at(2, 6)), written(at(3, 1))), (1, 1), "newer");
}

#[test]
fn a_storys_deletion_leaves_its_tasks_and_its_link_to_the_last_step() {
    let task = Effect::State {
        kind: Kind::Task,
        key: vec![7.into()],
        order: at(1, 1),
        fields: doc! {},
        milestone: None,
        story: Some(1.into()),
    };
    let plan = fold(&[task, linked(1, 5, at(1, 2)), gone(Kind::UserStory, 1, at(2, 3))]);
    assert_eq!((plan.states.len(), plan.links.len(), plan.deletions.len()), (1, 1, 1));
}

#[test]
fn a_refusal_is_blamed_on_the_event_whose_state_remained() {
    let plan = fold(&[state(Kind::Task, 1, at(1, 1)), state(Kind::Task, 1, at(3, 2)), state(Kind::Task, 1, at(2, 3))]);
    assert_eq!(plan.states.values().map(|held| held.event).collect::<Vec<_>>(), [1]);
}

#[test]
fn only_collections_that_are_upserted_into_need_their_index() {
    let plan = fold(&[state(Kind::Task, 1, at(1, 1)), linked(1, 5, at(1, 2)), gone(Kind::Epic, 5, at(1, 3))]);
    assert_eq!(plan.collections(), BTreeSet::from([(Kind::Task, "P"), (Kind::UserStory, "P")]));
}

#[test]
fn different_things_have_different_names_and_the_same_thing_has_one() {
    let text = |text: &str| Bson::String(text.into());
    let (seventeen, of_17) = (Bson::Int32(17), |prj, key: Bson| entity_id(Kind::Task, prj, &[key]));
    assert_eq!(of_17("P", seventeen.clone()), "taiga_P.tasks/17");
    for same in [Bson::Int64(17), Bson::Double(17.0)] {
        assert_eq!(of_17("P", same), of_17("P", seventeen.clone()), "MongoDB finds either by the other");
    }
    let different = BTreeSet::from([
        of_17("P", seventeen.clone()),
        of_17("Q", seventeen.clone()),
        of_17("P", text("17")),
        of_17("P", Bson::Double(1e300)),
        entity_id(Kind::UserStory, "P", std::slice::from_ref(&seventeen)),
        entity_id(Kind::TaigaIssue, "P", std::slice::from_ref(&seventeen)),
        entity_id(Kind::GithubIssue, "P", &[text("o/r"), seventeen.clone()]),
        entity_id(Kind::GithubIssue, "P", &[text("o/s"), seventeen.clone()]),
        link_id("P", &seventeen, &5.into()),
        link_id("P", &seventeen, &text("5")),
        link_id("P", &5.into(), &seventeen),
        sprint_id("P", &seventeen),
        sprint_id("P", &text("17")),
    ]);
    assert_eq!(different.len(), 13, "{different:?}");
}
