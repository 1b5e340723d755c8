//! Tries every point at which a worker can be overtaken, or die.
//!
//! One worker takes a batch, and stops after 1, 2, 3 … polls while another runs its own from beginning to end. Then it
//! goes on; or it dies there and starts again. Earlier events are stored before.

use crate::drive::Bench;
use crate::history::{Batch, Event, Inside, Turn, What};
use crate::runtime;

/// More polls than any batch takes; the end of a batch is detected long before.
const POLLS: std::ops::RangeInclusive<u16> = 1..=400;

/// How often many documents are inserted at once.
const ROUNDS: usize = 8;

/// The stored events, the slow worker's, the fast worker's: each an instant and an event.
type Scene<'a> = (&'a [(u16, What)], &'a [(u16, What)], &'a [(u16, What)]);

/// Tries a scene at every point, with the parts as they are and exchanged.
fn play(name: &str, (before, slow, fast): Scene<'_>) {
    let runtime = runtime();
    runtime.block_on(async {
        let bench = Bench::start(name).await.unwrap();
        for (slow, fast) in [(slow, fast), (fast, slow)] {
            for dies in [false, true] {
                every_point(&bench, (before, slow, fast), dies).await;
            }
        }
        bench.finish().await.unwrap();
    });
}

async fn every_point(bench: &Bench, (before, slow, fast): Scene<'_>, dies: bool) {
    let mut sequence = 0;
    let mut batch = |worker: usize, what: &[(u16, What)]| {
        let event = |&(at, what): &(u16, What)| {
            sequence += 1;
            Event::webhook(sequence, at, what)
        };
        Batch { worker, events: what.iter().map(event).collect(), dies_after: None, again: false }
    };
    let batches = [batch(2, before), batch(0, slow), batch(1, fast)];
    for polls in POLLS {
        let mut batches = batches.clone();
        batches[1].dies_after = dies.then_some(polls);
        let all = u16::MAX;
        let turns = [Turn { worker: 2, polls: all }, Turn { worker: 0, polls }, Turn { worker: 1, polls: all }];
        let arrival = bench.arrive(&batches, &turns).await.unwrap();
        let fate = if dies { "died" } else { "was overtaken" };
        assert!(
            arrival.differences.is_empty(),
            "{slow:?} {fate} after {polls} polls, {fast:?} did not: {}",
            arrival.differences.join("\n")
        );
        if arrival.ended.get(1) == Some(&true) {
            return;
        }
    }
    panic!("{slow:?} did not end");
}

#[test]
fn a_storys_deletion_and_a_newer_link_race() {
    let (story, gone, link) = (story(1), What::StoryGone { id: 1 }, linked(1));
    play("newer-link", (&[(1, story)], &[(2, gone)], &[(3, link)]));
}

#[test]
fn a_storys_deletion_and_a_newer_state_race() {
    let (link, gone, story) = (linked(1), What::StoryGone { id: 1 }, story(1));
    play("newer-state", (&[(1, link)], &[(2, gone)], &[(3, story)]));
}

#[test]
fn a_storys_deletion_races_with_what_it_takes_along() {
    let gone = What::StoryGone { id: 1 };
    let task = |story| What::Task { id: 1, story: Some(bare(story)), milestone: None };
    // An old state of the task, and one that has left the story before.
    play("task", (&[(1, story(1))], &[(4, gone)], &[(2, task(1))]));
    play("moved", (&[(1, story(1)), (2, task(1))], &[(4, gone)], &[(3, task(2))]));
    // The task was elsewhere before; a later report of that must not bring it back.
    play("was-elsewhere", (&[(1, story(1)), (3, task(1))], &[(4, gone)], &[(2, task(2))]));
}

#[test]
fn a_milestone_races_with_what_is_in_it() {
    let milestone = What::Milestone { id: 1 };
    play(
        "milestone",
        (&[], &[(2, milestone)], &[(1, story(1)), (1, What::Task { id: 1, story: None, milestone: Some(1) })]),
    );
    play("milestone-gone", (&[(1, milestone)], &[(3, What::MilestoneGone { id: 1 })], &[(2, story(1))]));
    play("milestone-left", (&[(1, story(1))], &[(3, milestone)], &[(2, What::Story { id: 1, milestone: None })]));
}

#[test]
fn an_epic_and_a_link_race_with_their_deletions() {
    let link = linked(1);
    play("epic", (&[(1, What::Epic { id: 1 })], &[(3, What::EpicGone { id: 1 })], &[(2, link)]));
    play("unlink", (&[(1, story(1))], &[(3, What::Unlink { story: bare(1), epic: 1 })], &[(2, link)]));
    play("relink", (&[(1, link)], &[(3, What::Unlink { story: bare(1), epic: 1 })], &[(2, linked(2))]));
}

#[test]
fn two_states_of_one_thing_race() {
    play("states", (&[], &[(1, story(1))], &[(2, story(1))]));
    let push = What::Push { first: 1, last: 2 };
    play("pushes", (&[], &[(1, push)], &[(2, push)]));
    play("pull", (&[], &[(2, What::PullReopened { number: 1 })], &[(1, What::PullClosed { number: 1 })]));
}

/// MongoDB itself lets two upserts of one document both try to insert it; the one that loses may be the
/// newer. No turn can come between its steps, so there are many at once instead.
#[test]
fn a_newer_state_survives_a_race_of_inserts() {
    let task = |id| What::Task { id, story: None, milestone: None };
    let all = |worker: usize| {
        let event = move |id: u8| Event::webhook(id as i64 * 3 + worker as i64, worker as u16, task(id));
        Batch { worker, events: (0..=u8::MAX).map(event).collect(), dies_after: None, again: false }
    };
    let batches = [all(0), all(1), all(2)];
    let runtime = runtime();
    runtime.block_on(async {
        let bench = Bench::start("inserts").await.unwrap();
        for _ in 0..ROUNDS {
            let arrival = bench.arrive(&batches, &[]).await.unwrap();
            assert!(arrival.differences.is_empty(), "{}", arrival.differences.join("\n"));
        }
        bench.finish().await.unwrap();
    });
}

/// A state of a story, in the milestone 1.
fn story(id: u8) -> What {
    What::Story { id, milestone: Some(1) }
}

/// Story 1, in the milestone 1, is in an epic.
const fn linked(epic: u8) -> What {
    What::Link { story: bare(1), epic, created: true }
}

/// A story of which another object says no more than its id.
const fn bare(id: u8) -> Inside {
    Inside { id, milestone: None, whole: false }
}

/// A task with its whole story, both in a milestone.
const fn whole(id: u8, milestone: u8) -> What {
    What::Task {
        id,
        story: Some(Inside { id: 1, milestone: Some(milestone), whole: true }),
        milestone: Some(milestone),
    }
}

#[test]
fn a_story_that_moves_races_with_its_tasks() {
    let moves = What::Story { id: 1, milestone: Some(2) };
    play("follows", (&[(1, story(1)), (1, whole(1, 1))], &[(3, moves)], &[(2, whole(1, 1))]));
    play("followed", (&[(1, whole(1, 1))], &[(3, moves)], &[(4, What::Milestone { id: 2 })]));
    play("follows-gone", (&[(1, whole(1, 1))], &[(3, moves)], &[(4, What::MilestoneGone { id: 2 })]));
    // What the story's newer version says is known, whichever of the two workers is the slow one.
    let (gone, issue) = (What::MilestoneGone { id: 1 }, What::TaigaIssue { id: 1, milestone: None });
    play("stays", (&[(1, whole(1, 1))], &[(3, gone)], &[(4, story(1))]));
    play("stays-too", (&[(1, whole(1, 1)), (1, issue)], &[(3, gone)], &[(4, story(1))]));
    play("siblings", (&[(1, whole(1, 1))], &[(3, whole(2, 2))], &[(2, whole(3, 1))]));
}

#[test]
fn the_names_of_an_epic_race_with_its_links() {
    let epic = What::Epic { id: 1 };
    play("epic-name", (&[], &[(3, epic)], &[(2, linked(1))]));
    play("epic-names", (&[(1, linked(1))], &[(3, epic)], &[(2, epic)]));
    play("several", (&[(1, linked(1))], &[(2, linked(2))], &[(3, What::Unlink { story: bare(1), epic: 2 })]));
}

#[test]
fn a_repositorys_other_name_races_with_its_issues() {
    let (renamed, issue) = (What::Renamed { from: 1, to: 2 }, |repo| What::Issue { repo, number: 1 });
    play("renamed", (&[], &[(5, renamed)], &[(2, issue(1))]));
    play("renamed-both", (&[(1, issue(1))], &[(5, renamed)], &[(6, issue(2))]));
    play(
        "renamed-gone",
        (&[(1, issue(1))], &[(5, renamed)], &[(2, What::IssueGone { repo: 1, number: 1, transferred: false })]),
    );
}
