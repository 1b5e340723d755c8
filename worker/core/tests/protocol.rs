//! Every interleaving of the store's protocol (docs/convergence.md) on a small model: two workers, three events, and a
//! crash after any statement. The model also finds the errors of plausible variants.
//!
//! A state of the model is the database, and what each worker knows and still has to do. A statement is one step, as in
//! MongoDB. One story, its task, two milestones and two epics are enough: no statement depends on more than one of
//! each.

use std::collections::HashSet;

/// An order; 0 is never.
type Order = u8;
/// A milestone or an epic; 0 is none.
type Id = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// The story is in a milestone. The event carries the milestone's name.
    Story(Id, u8),
    /// The task and its story are deleted.
    Task(Id, u8),
    StoryGone,
    Link(Id),
    Unlink(Id),
    Milestone(Id, u8),
    MilestoneGone(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Event {
    at: Order,
    what: What,
}

/// What a document shows of its milestone: which, the order of being in it, its name, and the order of the name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Shown {
    id: Id,
    in_it: Order,
    name: u8,
    of: Order,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Document {
    state: Order,
    shown: Shown,
    /// Stories: the order of each link.
    links: [Order; 3],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct View {
    at: Order,
    says: u8,
    since: Order,
    spread: Order,
    gone: Order,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Memory {
    story_gone: Order,
    task_superseded: Order,
    link_gone: [Order; 3],
    milestones: [View; 3],
    /// Sets the milestone of the story.
    story: View,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Database {
    story: Option<Document>,
    task: Option<Document>,
    memory: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Story,
    Task,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Statement {
    WriteState(Which, Order, Id, u8),
    WriteLink(Id, Order),
    TellMilestone(Id, Order, u8),
    /// A command of two statements: the milestone's view, and then the story's.
    TellViews(Order, Id, u8),
    TellStory(Order, Id),
    RememberStoryGone(Order),
    RememberLinkGone(Id, Order),
    RememberMilestoneGone(Id, Order),
    Look,
    /// Reads which tasks are deleted with the story, and deletes them.
    FindTask(Order),
    RememberTask(Order),
    DeleteTask(Order),
    DeleteStory(Order),
    DropFromStory(Order),
    DropLink(Id, Order),
    DeleteRemains,
    ShowMilestone(Which, Id, Order, u8, Order),
    LeaveMilestone(Which, Id, Order),
    /// Reads the views, once it is known whether the story is in the milestone that is deleted.
    LookOn(bool),
    /// The newest version of the story's view, its `since`, its milestone, and what that shows.
    Follow(Order, Order, Shown),
    LookAgain(Id, Order, Order),
    MarkMilestone(Id, Order),
    MarkStory(Order),
}

use Statement::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Right,
    /// Reads `ld_…` documents first, and then writes.
    LooksBeforeItWrites,
    /// Deletes empty documents first, and then takes the rest from documents.
    DeletesBeforeItUpdates,
    /// Takes a document for up to date when the newest version has what it shows.
    IgnoresWhatWasToldBetween,
    /// Records that documents are up to date first, and then brings them up to date.
    MarksBeforeItSpreads,
    /// Moves a task into a milestone, and does not read that again.
    NeverLooksAgain,
    /// Leaves out the tasks of a story that stays in a milestone whose deletion is older.
    LeavesTasksOut,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Worker {
    events: Vec<Event>,
    /// Statements of the first event: those before `Look` in any order.
    left: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    database: Database,
    workers: [Worker; 2],
    crashes: u8,
}

/// What a batch of one event writes.
fn facts(Event { at, what }: Event) -> Vec<Statement> {
    match what {
        What::Story(id, name) => vec![WriteState(Which::Story, at, id, name), TellViews(at, id, name)],
        What::Task(id, name) => {
            let states = [Which::Task, Which::Story].map(|which| WriteState(which, at, id, name));
            states.into_iter().chain([TellViews(at, id, name)]).collect()
        }
        What::StoryGone => vec![RememberStoryGone(at)],
        What::Link(epic) => vec![WriteLink(epic, at)],
        What::Unlink(epic) => vec![RememberLinkGone(epic, at)],
        What::Milestone(id, name) => vec![TellMilestone(id, at, name)],
        What::MilestoneGone(id) => vec![RememberMilestoneGone(id, at)],
    }
}

/// What has to be settled after the look-up.
fn settle(protocol: Protocol, Event { at, what }: Event, known: &Memory, still_in: bool) -> Vec<Statement> {
    let (mut before, mut updates, mut moves, mut marks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut remains = false;
    let story_gone = |at: Order, before: &mut Vec<Statement>, updates: &mut Vec<Statement>| {
        before.push(DeleteStory(at));
        updates.push(DropFromStory(at));
    };
    let follow = |since: Order| {
        let view = known.milestones[usize::from(known.story.says)];
        let id = usize::from(known.story.says);
        let stands = id > 0 && view.gone < known.story.at;
        let shown = match stands {
            true => Shown { id, in_it: known.story.at, name: view.says, of: view.at },
            false => Shown { id: 0, in_it: known.story.at, name: 0, of: known.story.at },
        };
        let mut all = vec![Follow(known.story.at, since, shown)];
        if id > 0 {
            let show = ShowMilestone(Which::Task, id, view.at, view.says, view.since);
            all.extend([show, LeaveMilestone(Which::Task, id, view.gone), LookAgain(id, view.at, view.gone)]);
        }
        all
    };
    let shows = |which: Which, id: Id, of: Order, in_it: Order, updates: &mut Vec<Statement>| {
        let view = known.milestones[id];
        if id > 0 && of < view.since {
            updates.push(ShowMilestone(which, id, view.at, view.says, view.since));
        }
        if id > 0 && in_it <= view.gone {
            updates.push(LeaveMilestone(which, id, view.gone));
        }
    };
    if let What::Story(id, _) | What::Task(id, _) = what {
        if known.story_gone >= at {
            story_gone(known.story_gone, &mut before, &mut updates);
            remains = true;
        } else {
            shows(Which::Story, id, at, at, &mut updates);
        }
        let is_spread = known.story.since <= known.story.spread;
        // The deletion of its milestone took out tasks that show an older version.
        let was_deleted = known.milestones[usize::from(known.story.says)].gone > 0;
        if was_deleted && protocol != Protocol::LeavesTasksOut {
            moves.extend(follow(known.story.at));
        } else if !is_spread {
            moves.extend(follow(known.story.since));
        }
        if !is_spread {
            marks.push(MarkStory(known.story.since));
        }
    }
    if let What::Task(id, _) = what {
        if known.story_gone >= at {
            before.extend([RememberTask(at), DeleteTask(at)]);
        } else if known.task_superseded >= at {
            before.push(DeleteTask(known.task_superseded));
        } else {
            shows(Which::Task, id, at, at, &mut updates);
            let is_gone = id > 0 && at <= known.milestones[id].gone;
            let since = if is_gone { known.story.at } else { known.story.since };
            if at < since {
                moves.extend(follow(since));
            }
        }
    }
    let told = match what {
        What::Story(id, _) | What::Task(id, _) | What::Milestone(id, _) if id > 0 => Some(id),
        _ => None,
    };
    if let Some(id) = told {
        let view = known.milestones[id];
        if view.since > view.spread {
            let show = |which| ShowMilestone(which, id, view.at, view.says, view.since);
            updates.extend([show(Which::Story), show(Which::Task)]);
            marks.push(MarkMilestone(id, view.since));
        }
    }
    match what {
        What::StoryGone => {
            before.push(FindTask(at));
            story_gone(at, &mut before, &mut updates);
            remains = true;
        }
        What::Link(epic) => {
            if known.story_gone >= at {
                story_gone(known.story_gone, &mut before, &mut updates);
                remains = true;
            }
            if known.link_gone[epic] >= at {
                updates.push(DropLink(epic, known.link_gone[epic]));
                remains = true;
            }
        }
        What::Unlink(epic) => {
            updates.push(DropLink(epic, at));
            remains = true;
        }
        What::MilestoneGone(id) => {
            let gone = known.milestones[id].gone;
            updates.extend([LeaveMilestone(Which::Story, id, gone), LeaveMilestone(Which::Task, id, gone)]);
            if still_in {
                moves.extend(follow(known.story.at));
            }
        }
        _ => {}
    }
    let remains = remains.then_some(DeleteRemains);
    if protocol == Protocol::NeverLooksAgain {
        moves.retain(|statement| !matches!(statement, LookAgain(..)));
    }
    let mut all = before;
    if protocol == Protocol::DeletesBeforeItUpdates {
        all.extend(remains);
        all.extend(updates);
    } else {
        all.extend(updates);
    }
    if protocol == Protocol::MarksBeforeItSpreads {
        all.splice(0..0, marks.drain(..));
    }
    all.extend(moves);
    if protocol != Protocol::DeletesBeforeItUpdates {
        all.extend(remains);
    }
    all.extend(marks);
    all
}

impl Database {
    fn document(&mut self, which: Which) -> &mut Option<Document> {
        match which {
            Which::Story => &mut self.story,
            Which::Task => &mut self.task,
        }
    }

    /// Executes a statement of an event. What it reads may add further statements.
    fn execute(&mut self, protocol: Protocol, statement: Statement) -> Vec<Statement> {
        let tell = |view: &mut View, at: Order, says: u8| {
            if *view == View::default() {
                view.spread = at;
            }
            let ignores = protocol == Protocol::IgnoresWhatWasToldBetween;
            if view.says != says || view.at == 0 {
                if view.at < at {
                    view.since = at;
                } else if at >= view.since && !ignores {
                    view.since = view.at;
                }
            }
            if view.at < at {
                (view.at, view.says) = (at, says);
            }
        };
        match statement {
            WriteState(which, at, id, name) => {
                let document = self.document(which).get_or_insert_default();
                if document.state < at {
                    document.state = at;
                    document.shown = Shown { id, in_it: at, name: if id > 0 { name } else { 0 }, of: at };
                }
            }
            WriteLink(epic, at) => {
                let link = &mut self.story.get_or_insert_default().links[epic];
                *link = (*link).max(at);
            }
            TellMilestone(id, at, name) => tell(&mut self.memory.milestones[id], at, name),
            TellViews(at, id, name) => {
                if id > 0 {
                    tell(&mut self.memory.milestones[id], at, name);
                }
                return vec![TellStory(at, id)];
            }
            TellStory(at, id) => tell(&mut self.memory.story, at, id as u8),
            RememberStoryGone(at) => self.memory.story_gone = self.memory.story_gone.max(at),
            RememberLinkGone(epic, at) => self.memory.link_gone[epic] = self.memory.link_gone[epic].max(at),
            RememberMilestoneGone(id, at) => {
                let gone = &mut self.memory.milestones[id].gone;
                *gone = (*gone).max(at);
            }
            FindTask(at) => {
                if let Some(task) = self.task.filter(|task| task.state <= at) {
                    return vec![RememberTask(task.state), DeleteTask(task.state)];
                }
            }
            RememberTask(at) => self.memory.task_superseded = self.memory.task_superseded.max(at),
            DeleteTask(at) => self.task = self.task.filter(|task| task.state > at),
            DeleteStory(at) => {
                let stays = |story: &Document| story.state > at || story.links.iter().any(|link| *link > at);
                self.story = self.story.filter(stays);
            }
            DropFromStory(at) => {
                if let Some(story) = &mut self.story {
                    story.links.iter_mut().filter(|link| **link <= at).for_each(|link| *link = 0);
                    if story.state <= at {
                        (story.state, story.shown) = (0, Shown::default());
                    }
                }
            }
            DropLink(epic, at) => {
                if let Some(story) = self.story.as_mut().filter(|story| story.links[epic] <= at) {
                    story.links[epic] = 0;
                }
            }
            DeleteRemains => self.story = self.story.filter(|story| story.state > 0 || story.links != [0; 3]),
            ShowMilestone(which, id, at, name, since) => {
                if let Some(document) = self.document(which)
                    && document.shown.id == id
                    && document.shown.of < since
                {
                    (document.shown.name, document.shown.of) = (name, at);
                }
            }
            LeaveMilestone(which, id, at) => {
                if let Some(document) = self.document(which)
                    && document.shown.id == id
                    && document.shown.in_it <= at
                {
                    document.shown = Shown { id: 0, name: 0, ..document.shown };
                }
            }
            Follow(at, since, shown) => {
                if let Some(task) = &mut self.task
                    && task.shown.in_it < since
                    && task.state < at
                {
                    task.shown = shown;
                }
            }
            LookAgain(id, at, gone) => {
                let view = self.memory.milestones[id];
                if (view.at, view.gone) != (at, gone) {
                    return vec![
                        ShowMilestone(Which::Task, id, view.at, view.says, view.at),
                        LeaveMilestone(Which::Task, id, view.gone),
                        LookAgain(id, view.at, view.gone),
                    ];
                }
            }
            MarkMilestone(id, since) => {
                let spread = &mut self.memory.milestones[id].spread;
                *spread = (*spread).max(since);
            }
            MarkStory(since) => self.memory.story.spread = self.memory.story.spread.max(since),
            Look | LookOn(_) => {}
        }
        Vec::new()
    }
}

impl World {
    fn new(protocol: Protocol, events: [Event; 3]) -> Self {
        let worker = |events: &[Event]| {
            let mut worker = Worker { events: events.to_vec(), left: Vec::new() };
            worker.begin(protocol);
            worker
        };
        let [first, others @ ..] = events;
        Self { database: Database::default(), workers: [worker(&[first]), worker(&others)], crashes: 1 }
    }

    /// All possible next steps.
    fn next(&self, protocol: Protocol) -> Vec<Self> {
        let mut all = Vec::new();
        for number in 0..2 {
            let worker = &self.workers[number];
            // Writes are sent side by side; the statements after them are not.
            let choices = match worker.left.iter().position(|statement| *statement == Look) {
                Some(0) | None => 0..1.min(worker.left.len()),
                Some(look) => 0..look,
            };
            for choice in choices {
                let mut next = self.clone();
                next.step(protocol, number, choice);
                all.push(next);
            }
            if self.crashes > 0 && !worker.left.is_empty() {
                let mut crashed = self.clone();
                crashed.crashes -= 1;
                crashed.workers[number].begin(protocol);
                all.push(crashed);
            }
        }
        all
    }

    fn step(&mut self, protocol: Protocol, number: usize, choice: usize) {
        let worker = &mut self.workers[number];
        let statement = worker.left.remove(choice);
        let mut more = self.database.execute(protocol, statement);
        let event = worker.events.first().copied();
        match (statement, event) {
            (Look, Some(Event { at, what: What::MilestoneGone(id) })) => {
                let is_in = |story: Document| story.shown.id == id && story.shown.in_it > at;
                more = vec![LookOn(self.database.story.is_some_and(is_in))];
            }
            (Look, Some(event)) => more = settle(protocol, event, &self.database.memory, false),
            (LookOn(still_in), Some(event)) => more = settle(protocol, event, &self.database.memory, still_in),
            _ => {}
        }
        if protocol == Protocol::LooksBeforeItWrites && statement == Look {
            worker.left.extend(more);
        } else {
            worker.left.splice(0..0, more);
        }
        if worker.left.is_empty() {
            worker.events.remove(0);
            worker.begin(protocol);
        }
    }
}

impl Worker {
    /// Begins its first event, or begins it again.
    fn begin(&mut self, protocol: Protocol) {
        self.left = self.events.first().copied().map(facts).unwrap_or_default();
        if !self.events.is_empty() {
            let at = if protocol == Protocol::LooksBeforeItWrites { 0 } else { self.left.len() };
            self.left.insert(at, Look);
        }
    }
}

/// The result: of story and task the milestone and its name; of the story its links.
type Seen = (Option<(Id, u8, [bool; 3], bool)>, Option<(Id, u8)>);

fn seen(database: &Database) -> Seen {
    let story = |story: Document| (story.shown.id, story.shown.name, story.links.map(|link| link > 0), story.state > 0);
    (database.story.map(story), database.task.map(|task| (task.shown.id, task.shown.name)))
}

/// Applies the events one by one in the order that decides.
fn naive(events: &[Event; 3]) -> Seen {
    let mut events = *events;
    events.sort_by_key(|event| event.at);
    let (mut story, mut links, mut task, mut names) = (None, [false; 3], None, [0; 3]);
    for Event { what, .. } in events {
        match what {
            What::Story(id, name) | What::Task(id, name) => {
                (story, names[id]) = (Some(id), name);
                let has_task = task.is_some() || matches!(what, What::Task(..));
                task = has_task.then_some(id);
            }
            What::StoryGone => (story, links, task) = (None, [false; 3], None),
            What::Link(epic) => links[epic] = true,
            What::Unlink(epic) => links[epic] = false,
            What::Milestone(id, name) => names[id] = name,
            What::MilestoneGone(id) => {
                let out = |shown: Option<Id>| shown.map(|shown| if shown == id { 0 } else { shown });
                (story, task) = (out(story), out(task));
            }
        }
    }
    let name = |id: Id| if id > 0 { names[id] } else { 0 };
    let is_there = story.is_some() || links != [false; 3];
    let shown = story.unwrap_or(0);
    (is_there.then_some((shown, name(shown), links, story.is_some())), task.map(|id| (id, name(id))))
}

/// Searches all interleavings. Returns the results that differ from the right one.
fn search(protocol: Protocol, events: [Event; 3]) -> Option<String> {
    let wanted = naive(&events);
    let (mut known, mut left) = (HashSet::new(), vec![World::new(protocol, events)]);
    while let Some(world) = left.pop() {
        if world.workers.iter().all(|worker| worker.events.is_empty()) {
            let ended = seen(&world.database);
            if ended != wanted {
                return Some(format!("{events:?} end as {ended:?}, not {wanted:?}: {:?}", world.database));
            }
            continue;
        }
        for next in world.next(protocol) {
            if known.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    None
}

/// All ways in which three of these happen and arrive: one at the first worker, two at the second.
fn every_three(menu: &[What]) -> impl Iterator<Item = [Event; 3]> + '_ {
    const ORDERS: [[Order; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    let threes = menu.iter().flat_map(move |a| menu.iter().flat_map(move |b| menu.iter().map(move |c| [*a, *b, *c])));
    threes.flat_map(|three| ORDERS.map(|orders| [0, 1, 2].map(|n| Event { at: orders[n], what: three[n] })))
}

const STORY: [What; 5] = [What::Story(0, 0), What::StoryGone, What::Link(1), What::Link(2), What::Unlink(1)];
const MILESTONE: [What; 5] =
    [What::Story(1, 1), What::Story(0, 0), What::Milestone(1, 1), What::Milestone(1, 2), What::MilestoneGone(1)];
/// Three events, one of them on a task.
const TASK: [What; 5] =
    [What::Task(1, 1), What::Story(2, 1), What::Milestone(2, 2), What::MilestoneGone(2), What::StoryGone];

/// Three events, one of them on a task, and one the deletion of the milestone that it may stay in.
const STAYS: [What; 4] = [What::Task(1, 1), What::Story(1, 1), What::Story(0, 0), What::MilestoneGone(1)];

fn first_failure(protocol: Protocol, menu: &[What]) -> Option<String> {
    let is_wanted = |events: &[Event; 3]| {
        let has_task = events.iter().any(|event| matches!(event.what, What::Task(..)));
        let has_gone = events.iter().any(|event| matches!(event.what, What::MilestoneGone(_)));
        (*menu != TASK || has_task) && (*menu != STAYS || (has_task && has_gone))
    };
    every_three(menu).filter(is_wanted).find_map(|events| search(protocol, events))
}

#[test]
fn a_story_and_its_links_converge() {
    assert_eq!(first_failure(Protocol::Right, &STORY), None);
}

#[test]
fn a_milestone_and_a_story_in_it_converge() {
    assert_eq!(first_failure(Protocol::Right, &MILESTONE), None);
}

#[test]
fn a_task_and_its_story_converge() {
    assert_eq!(first_failure(Protocol::Right, &TASK), None);
}

#[test]
fn a_task_whose_milestone_is_deleted_converges() {
    assert_eq!(first_failure(Protocol::Right, &STAYS), None);
}

#[test]
fn every_wrong_variant_is_found() {
    for (protocol, menu) in [
        (Protocol::LooksBeforeItWrites, STORY.as_slice()),
        (Protocol::DeletesBeforeItUpdates, &STORY),
        (Protocol::IgnoresWhatWasToldBetween, &MILESTONE),
        (Protocol::MarksBeforeItSpreads, &MILESTONE),
        (Protocol::NeverLooksAgain, &TASK),
        (Protocol::LeavesTasksOut, &STAYS),
    ] {
        assert!(first_failure(protocol, menu).is_some(), "{protocol:?} is as good");
    }
}
