//! Generated histories: events, and their deliveries to the workers.
//!
//! Few entities and many events, so that events meet. Everything shrinks: an event can be left out, an
//! instant becomes 0, a redelivery disappears, batches become one, turns become none.

use std::fmt;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

/// How many workers write at once.
pub(crate) const WORKERS: usize = 4;

/// The object of an event. The ids of different kinds are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Story {
        id: u8,
        milestone: Option<u8>,
    },
    StoryGone {
        id: u8,
    },
    Task {
        id: u8,
        story: Option<Inside>,
        milestone: Option<u8>,
    },
    TaskGone {
        id: u8,
        story: Option<Inside>,
        /// It became a story; else it was deleted.
        promoted: bool,
    },
    Epic {
        id: u8,
    },
    EpicGone {
        id: u8,
    },
    Link {
        story: Inside,
        epic: u8,
        /// The webhook of its creation, not of a change.
        created: bool,
    },
    Unlink {
        story: Inside,
        epic: u8,
    },
    Milestone {
        id: u8,
    },
    MilestoneGone {
        id: u8,
    },
    TaigaIssue {
        id: u8,
        milestone: Option<u8>,
    },
    TaigaIssueGone {
        id: u8,
    },
    Issue {
        repo: u8,
        number: u8,
    },
    IssueGone {
        repo: u8,
        number: u8,
        transferred: bool,
    },
    PullClosed {
        number: u8,
    },
    PullReopened {
        number: u8,
    },
    /// A repository is renamed.
    Renamed {
        from: u8,
        to: u8,
    },
    /// Commits `first..=last` of the branch.
    Push {
        first: u8,
        last: u8,
    },
    /// The same bytes for the same number.
    Row {
        number: u8,
        model: bool,
    },
}

/// A story inside another object. With Taiga it is always whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inside {
    pub(crate) id: u8,
    /// The milestone it is in, of one that is whole.
    pub(crate) milestone: Option<u8>,
    pub(crate) whole: bool,
}

/// An event in the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// Its stream sequence.
    pub(crate) sequence: i64,
    /// The provider's instant, in seconds after [`EPOCH`](crate::payload::EPOCH).
    pub(crate) at: u16,
    pub(crate) what: What,
    /// It comes from the provider's API, not from a webhook.
    pub(crate) backfill: bool,
    /// GitHub: the object's last change. Of a webhook its instant; the API may be read later, and its replica may lag.
    pub(crate) updated: u16,
}

impl Event {
    pub(crate) const fn webhook(sequence: i64, at: u16, what: What) -> Self {
        Self { sequence, at, what, backfill: false, updated: at }
    }
}

/// A generated event: its sequence is its place in the list.
#[derive(Debug, Clone)]
struct Telling {
    at: u16,
    what: What,
    backfill: bool,
    /// The lag of the API's replica.
    lag: u16,
    /// Its deliveries among all deliveries, one or more.
    slots: Vec<u16>,
}

/// How deliveries are taken from the queue.
#[derive(Debug, Clone, Copy)]
struct Take {
    size: u8,
    worker: u8,
    /// The worker dies after this many polls, and its batch is delivered again.
    dies_after: Option<u16>,
    /// The batch is delivered again, because its acknowledgement was lost.
    again: bool,
}

/// One batch of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) worker: usize,
    pub(crate) events: Vec<Event>,
    pub(crate) dies_after: Option<u16>,
    pub(crate) again: bool,
}

/// One worker runs for a number of polls while the others stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) worker: usize,
    pub(crate) polls: u16,
}

/// A history and its delivery.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    tellings: Vec<Telling>,
    takes: Vec<Take>,
    /// The turns; after them, all run at once.
    pub(crate) turns: Vec<Turn>,
    /// Whether it is replayed, too.
    pub(crate) replayed: bool,
}

impl Case {
    /// The events in the order of the stream.
    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |(sequence, telling): (i64, &Telling)| Event {
            sequence,
            at: self.when(telling),
            what: telling.what,
            backfill: self.is_read(telling),
            updated: self.updated(telling),
        };
        (1..).zip(&self.tellings).map(event).collect()
    }

    /// No event of the old name comes after a rename: nothing would distinguish another repository of that name from
    /// the first while the rename is not known. A rename that is sent again has the same instant, which no other has.
    fn when(&self, telling: &Telling) -> u16 {
        let What::Renamed { from, .. } = telling.what else { return telling.at };
        let first =
            self.tellings.iter().find(|other| matches!(other.what, What::Renamed { from: of, .. } if of == from));
        1_000 + first.map_or(0, |first| first.at) * 10 + u16::from(from)
    }

    /// Whether the API is read. It does not return an issue that is gone.
    fn is_read(&self, telling: &Telling) -> bool {
        let What::Issue { number: this, .. } = telling.what else { return telling.backfill };
        let removes = |other: &Telling| matches!(other.what, What::IssueGone { number, .. } if number == this);
        telling.backfill && !self.tellings.iter().any(|other| removes(other) && other.at <= telling.at)
    }

    /// The API returns an object's last change before the reading. No lagging replica returns a deleted object.
    fn updated(&self, telling: &Telling) -> u16 {
        let number = |what: &What| match *what {
            What::Issue { number, .. } => Some((false, number)),
            What::PullClosed { number } | What::PullReopened { number } => Some((true, number)),
            _ => None,
        };
        let Some(this) = number(&telling.what).filter(|_| self.is_read(telling)) else { return telling.at };
        let others = self
            .tellings
            .iter()
            .filter(|other| !self.is_read(other) && other.at <= telling.at && number(&other.what) == Some(this));
        let last = others.map(|other| other.at).max().unwrap_or(telling.at);
        let is_gone = |other: &Telling| matches!(other.what, What::IssueGone { .. } | What::Renamed { .. });
        if self.tellings.iter().any(is_gone) { last } else { last.saturating_sub(telling.lag) }
    }

    /// The batches, in the order in which each worker takes its own.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let slots = self.events().into_iter().zip(&self.tellings);
        let mut queue: Vec<(u16, Event)> =
            slots.flat_map(|(event, telling)| telling.slots.iter().map(move |slot| (*slot, event))).collect();
        queue.sort_by_key(|(slot, event)| (*slot, event.sequence));
        let mut queue: Vec<Event> = queue.into_iter().map(|(_, event)| event).collect();
        let mut batches = Vec::new();
        for take in self.takes.iter().cycle() {
            if queue.is_empty() {
                break;
            }
            let rest = queue.split_off(queue.len().min(take.size.into()));
            let events = std::mem::replace(&mut queue, rest);
            let (worker, dies_after, again) = (take.worker.into(), take.dies_after, take.again);
            if !events.is_empty() {
                batches.push(Batch { worker, events, dies_after, again });
            }
        }
        batches
    }
}

/// Histories of a Taiga project.
pub(crate) fn taiga() -> impl Strategy<Value = Case> {
    let story = (id(), weighted(0.7, id())).prop_map(|(id, milestone)| What::Story { id, milestone }).boxed();
    let story_gone = id().prop_map(|id| What::StoryGone { id }).boxed();
    let task = (id(), weighted(0.9, inside()), weighted(0.7, id()), proptest::bool::weighted(0.6));
    // With Taiga, a task's milestone is always its story's.
    let task = task.prop_map(|(id, story, milestone, agrees)| {
        let milestone = story.filter(|_| agrees).map_or(milestone, |story| story.milestone);
        What::Task { id, story, milestone }
    });
    let task = task.boxed();
    let task_gone = (id(), weighted(0.7, inside()), any::<bool>());
    let task_gone = task_gone.prop_map(|(id, story, promoted)| What::TaskGone { id, story, promoted }).boxed();
    let epic = id().prop_map(|id| What::Epic { id }).boxed();
    let epic_gone = id().prop_map(|id| What::EpicGone { id }).boxed();
    let link = (inside(), id(), proptest::bool::weighted(0.7));
    let link = link.prop_map(|(story, epic, created)| What::Link { story, epic, created }).boxed();
    let unlink = (inside(), id()).prop_map(|(story, epic)| What::Unlink { story, epic }).boxed();
    let milestone = id().prop_map(|id| What::Milestone { id }).boxed();
    let milestone_gone = id().prop_map(|id| What::MilestoneGone { id }).boxed();
    let issue = prop_oneof![
        (id(), weighted(0.5, id())).prop_map(|(id, milestone)| What::TaigaIssue { id, milestone }),
        id().prop_map(|id| What::TaigaIssueGone { id })
    ];
    let all = prop_oneof![
        6 => story.clone(),
        4 => story_gone.clone(),
        7 => task.clone(),
        1 => task_gone.clone(),
        2 => epic.clone(),
        2 => epic_gone.clone(),
        5 => link.clone(),
        3 => unlink.clone(),
        4 => milestone.clone(),
        2 => milestone_gone.clone(),
        2 => issue,
    ];
    prop_oneof![
        2 => crowd(all),
        2 => overtaking(prop_oneof![story.clone(), story_gone.clone(), link.clone()]),
        2 => overtaking(prop_oneof![2 => story_gone, 1 => task_gone, 4 => task.clone()]),
        2 => overtaking(prop_oneof![2 => link, 1 => unlink, 1 => epic_gone, 1 => epic, 1 => story.clone()]),
        2 => overtaking(prop_oneof![story, task, milestone, milestone_gone]),
    ]
}

/// Histories of a team's repositories and of its sheet.
pub(crate) fn github_and_sheets() -> impl Strategy<Value = Case> {
    let issue = (id(), id()).prop_map(|(repo, number)| What::Issue { repo, number });
    let issue_gone = (id(), id(), any::<bool>());
    let issue_gone = issue_gone.prop_map(|(repo, number, transferred)| What::IssueGone { repo, number, transferred });
    // No other repository has the new name, so it may be renamed again.
    let renamed = (id(), any::<bool>()).prop_map(|(from, again)| if again { from + 3 } else { from });
    let what = prop_oneof![
        5 => issue,
        2 => issue_gone,
        3 => id().prop_map(|number| What::PullClosed { number }),
        2 => id().prop_map(|number| What::PullReopened { number }),
        2 => renamed.prop_map(|from| What::Renamed { from, to: from + 3 }),
        3 => (id(), 0..=2_u8).prop_map(|(first, more)| What::Push { first, last: first + more }),
        1 => (id(), any::<bool>()).prop_map(|(number, model)| What::Row { number, model }),
    ];
    let what = what.boxed();
    prop_oneof![crowd(what.clone()), overtaking(what)]
}

/// A story inside another object.
fn inside() -> impl Strategy<Value = Inside> + Clone {
    let story = (id(), weighted(0.7, id()), proptest::bool::weighted(0.8));
    story.prop_map(|(id, milestone, whole)| Inside { id, milestone: milestone.filter(|_| whole), whole })
}

/// Mostly the first, so that much happens to it.
fn id() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![8 => Just(1_u8), 3 => Just(2), 1 => Just(3)]
}

/// An event, its instant and its deliveries.
fn telling(what: impl Strategy<Value = What>) -> impl Strategy<Value = Telling> + Clone {
    // Instants are mostly far apart; what shrinks to one instant shows that the instant does not matter.
    let at = prop_oneof![4 => 0..600_u16, 1 => 0..6_u16];
    let slots = prop_oneof![6 => vec(any::<u16>(), 1), 3 => vec(any::<u16>(), 2), 1 => vec(any::<u16>(), 3)];
    let backfill = proptest::bool::weighted(0.2);
    let lag = prop_oneof![2 => Just(0_u16), 1 => 1..300_u16];
    (at, Arc::new(what), backfill, lag, slots).prop_map(|(at, what, backfill, lag, slots)| Telling {
        at,
        what,
        backfill,
        lag,
        slots,
    })
}

/// All workers have much to do and overtake each other.
fn crowd(what: impl Strategy<Value = What>) -> impl Strategy<Value = Case> {
    let telling = telling(what);
    // In a long history, later events hide many differences.
    let tellings =
        prop_oneof![3 => vec(telling.clone(), 1..=8), 2 => vec(telling.clone(), 9..=20), 1 => vec(telling, 21..=40)];
    let size = prop_oneof![2 => 1..=2_u8, 1 => 3..=8_u8];
    let take = (size, 0..WORKERS as u8, weighted(0.2, point()), any::<u8>().prop_map(|odds| odds > 200));
    let take = take.prop_map(|(size, worker, dies_after, again)| Take { size, worker, dies_after, again });
    let polls = prop_oneof![2 => 1..12_u16, 1 => 12..80_u16];
    let turn = (0..WORKERS, polls).prop_map(|(worker, polls)| Turn { worker, polls });
    (tellings, vec(take, 1..=8), vec(turn, 0..=40)).prop_map(|(tellings, takes, turns)| Case {
        tellings,
        takes,
        turns,
        replayed: true,
    })
}

/// One worker stands still, or dies, at one point of its batch, while another runs its own from beginning to end. Few
/// events happen, so that a narrow gap between two steps is met.
fn overtaking(what: impl Strategy<Value = What>) -> impl Strategy<Value = Case> {
    (vec(telling(what), 2..=7), 0..=4_u8, 1..=2_u8, point(), proptest::bool::weighted(0.3)).prop_map(
        |(tellings, before, slow, polls, dies)| {
            let take = |size, worker, dies_after| Take { size, worker, dies_after, again: false };
            let takes = vec![take(before, 2, None), take(slow, 0, dies.then_some(polls)), take(u8::MAX, 1, None)];
            let turn = |worker, polls| Turn { worker, polls };
            let turns = vec![turn(2, u16::MAX), turn(0, polls), turn(1, u16::MAX)];
            Case { tellings, takes, turns, replayed: false }
        },
    )
}

/// Somewhere within a batch, which takes some ten to twenty polls.
fn point() -> impl Strategy<Value = u16> {
    1..24_u16
}

/// One line an event, one a batch.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "events (their sequence, their instant):")?;
        for event in self.events() {
            writeln!(f, "  {event}")?;
        }
        writeln!(f, "batches, in the order of the queue:")?;
        for batch in self.batches() {
            let events: Vec<String> = batch.events.iter().map(|event| format!("#{}", event.sequence)).collect();
            write!(f, "  worker {}: {}", batch.worker, events.join(" "))?;
            if let Some(polls) = batch.dies_after {
                write!(f, "; dies after {polls} polls and begins again")?;
            }
            writeln!(f, "{}", if batch.again { "; delivered again" } else { "" })?;
        }
        let turns: Vec<String> = self.turns.iter().map(|turn| format!("{}×{}", turn.worker, turn.polls)).collect();
        writeln!(f, "turns (worker × polls): {}, then all at once", turns.join(", "))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backfill = if self.backfill { ", a backfill" } else { "" };
        write!(f, "#{:<2} at {:<3} {:?}{backfill}", self.sequence, self.at, self.what)
    }
}
