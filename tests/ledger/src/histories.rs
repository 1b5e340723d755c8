//! Short histories of invented things, each with what must be left of it in MongoDB.
//!
//! Within a history the provider's clock runs on by a second per delivery. Deliveries of a history
//! overtake each other by themselves, because some are refused and sent again later; of some histories
//! the order is shuffled from the start.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::claims::{Claim, Claims, Part};
use super::plan::{Entry, Forgery, text_of};
use super::saying::{Milestone, Saying, Thing, commit_message};
use harness::sender::{github, sign};

/// How many projects there are.
const PROJECTS: usize = 8;

/// People whose notifications coincide, so that a newer one replaces an unsent older one.
const TEAM: [&str; 3] = ["anna", "biel", "carla"];

/// Writes histories.
#[derive(Debug)]
pub struct Author {
    /// Decides everything.
    pub rng: StdRng,
    /// What is written so far; `at` is a share of the whole time, in seconds.
    pub entries: Vec<Entry>,
    /// What must come of it.
    pub claims: Claims,
    /// Which sender sends each entry; to be taken modulo their number.
    pub senders_of: Vec<usize>,
    project: String,
    begin: f64,
    forged: bool,
    sender: usize,
    id: i64,
}

impl Author {
    /// An author with an empty page.
    #[must_use]
    pub fn new(rng: StdRng) -> Self {
        Self {
            rng,
            entries: Vec::new(),
            claims: Claims::default(),
            senders_of: Vec::new(),
            project: String::new(),
            begin: 0.0,
            forged: false,
            sender: 0,
            id: 0,
        }
    }

    /// Writes one history that begins at this share of the whole time.
    pub fn history(&mut self, begin: f64, forged: bool) {
        self.project = format!("ledger-{}", self.rng.random_range(0..PROJECTS));
        (self.begin, self.forged, self.sender) = (begin, forged, self.rng.random_range(0..1 << 16));
        let first = self.entries.len();
        match self.rng.random_range(0..100) {
            0..28 => self.pushes(),
            28..38 => self.github_issue(),
            38..46 => self.pull_request(),
            46..58 => self.row(),
            58..68 => self.life("userstories", |id| Thing::Story(id, None), "userstory"),
            68..76 => self.life("tasks", |id| Thing::Task(id, 1_000_000 + id, None), "task"),
            76..83 => self.life("issues", Thing::Issue, "issue"),
            83..88 => self.life("epics", Thing::Epic, "epic"),
            88..92 => self.milestone(),
            92..96 => self.epic_with_a_story(),
            _ => self.story_with_tasks_deleted(),
        }
        if self.rng.random_bool(0.2) {
            let mut times: Vec<_> = self.entries[first..].iter().map(|entry| entry.at).collect();
            times.shuffle(&mut self.rng);
            self.entries[first..].iter_mut().zip(times).for_each(|(entry, at)| entry.at = at);
        }
    }

    /// Adds a delivery to the history and gives its number.
    fn say(&mut self, saying: Saying, second: u32, notified_as: &'static [&'static str]) -> usize {
        let number = self.entries.len();
        let is_row = matches!(saying, Saying::Row);
        let alone = self.forged || self.rng.random_bool(0.5);
        let author = match (is_row, alone) {
            (true, _) => String::new(),
            (false, true) => format!("only-{number}"),
            (false, false) => (*TEAM.choose(&mut self.rng).unwrap_or(&"anna")).to_owned(),
        };
        let model = match (is_row, alone) {
            (true, true) => Some(format!("only-{number}")),
            (_, false) if self.rng.random_bool(0.3) => Some("AMEP".to_owned()),
            _ => None,
        };
        let forgeries = [Forgery::WrongSecret, Forgery::Altered, Forgery::Unsigned];
        let forged = self.forged.then(|| *forgeries.choose(&mut self.rng).unwrap_or(&Forgery::Altered));
        let at = Duration::from_secs_f64(self.begin);
        self.begin = (self.begin + self.rng.random_range(0.0..0.03)).min(1.0);
        let (project, subjects) = (self.project.clone(), Vec::new());
        let (twice, again) = (false, None);
        let entry =
            Entry { saying, project, author, model, second, forged, twice, again, at, notified_as, subjects, alone };
        self.entries.push(entry);
        self.senders_of.push(self.sender);
        number
    }

    /// The delivery claims a part of a document.
    fn claim(&mut self, entry: usize, name: &str, part: Part, value: Option<String>, own: bool) {
        let rank = self.entries[entry].second;
        let subject = self.claims.add(name, part, Claim { rank, value, entry, own }, self.forged);
        self.entries[entry].subjects.push(subject);
    }

    /// The delivery brings a document into this state.
    fn state(&mut self, entry: usize, name: &str) {
        self.claim(entry, name, Part::State, Some(text_of(entry)), true);
    }

    fn name(&self, source: &str, suffix: &str, key: impl std::fmt::Display) -> String {
        format!("{source}_{}.{suffix}/{key}", self.project)
    }

    fn next_id(&mut self) -> i64 {
        self.id += 1;
        self.id
    }

    /// A push; sometimes a second one that has a commit of the first too.
    fn pushes(&mut self) {
        let mut repeated = None;
        for second in 0..1 + u32::from(self.rng.random_bool(0.1)) {
            let fresh = self.rng.random_range(1..=4);
            let commits: Vec<u64> =
                repeated.into_iter().chain((0..fresh).map(|_| self.next_id().unsigned_abs())).collect();
            repeated = commits.first().copied();
            let entry = self.say(Saying::Push(commits.clone()), second, &["push"]);
            for n in commits {
                let name = self.name("github", "commits", github::sha(n));
                self.claim(entry, &name, Part::State, Some(commit_message(n)), true);
            }
        }
    }

    fn github_issue(&mut self) {
        let number = self.next_id().unsigned_abs();
        let name = self.name("github", "issues", format!("{}/{number}", github::REPO));
        let changes = self.rng.random_range(0..3);
        for second in 0..=changes {
            let action = if second == 0 { "opened" } else { "edited" };
            let entry = self.say(Saying::Issue(number, action), second, &["issues"]);
            self.state(entry, &name);
        }
        if self.rng.random_bool(0.2) {
            let entry = self.say(Saying::Issue(number, "deleted"), changes + 1, &["issues"]);
            self.claim(entry, &name, Part::State, None, false);
        }
    }

    /// Opened (nothing comes of it), closed; perhaps reopened, and perhaps closed again.
    fn pull_request(&mut self) {
        let number = self.next_id().unsigned_abs();
        let name = self.name("github", "pull_requests", format!("{}/{number}", github::REPO));
        self.say(Saying::PullRequest(number, "opened"), 0, &[]);
        let closed = self.say(Saying::PullRequest(number, "closed"), 1, &["pull_request"]);
        self.state(closed, &name);
        if self.rng.random_bool(0.3) {
            let reopened = self.say(Saying::PullRequest(number, "reopened"), 2, &["pull_request"]);
            self.claim(reopened, &name, Part::State, None, false);
            if self.rng.random_bool(0.5) {
                let again = self.say(Saying::PullRequest(number, "closed"), 3, &["pull_request"]);
                self.state(again, &name);
            }
        }
    }

    /// A row's key is the hash of its bytes, so it is written before its name is known.
    fn row(&mut self) {
        let entry = self.say(Saying::Row, 0, &["sheets_activity"]);
        let bytes = self.entries[entry].delivery(entry).json;
        let name = self.name("excel", "sheets", sign::sha256(&bytes));
        self.state(entry, &name);
    }

    /// Something of Taiga's is created, changed a few times, perhaps deleted.
    fn life(&mut self, suffix: &str, thing: impl Fn(i64) -> Thing, kind: &'static str) {
        let notified_as = notified_as(kind);
        let id = self.next_id();
        let name = self.name("taiga", suffix, id);
        let changes = self.rng.random_range(0..4);
        for second in 0..=changes {
            let action = if second == 0 { "create" } else { "change" };
            let entry = self.say(Saying::Taiga(thing(id), action), second, notified_as);
            self.state(entry, &name);
        }
        if self.rng.random_bool(0.2) {
            let entry = self.say(Saying::Taiga(thing(id), "delete"), changes + 1, notified_as);
            self.claim(entry, &name, Part::State, None, false);
        }
    }

    /// A story and a task in a milestone that is renamed; then the story changes; perhaps the milestone is deleted.
    fn milestone(&mut self) {
        let (milestone, story, task) = (self.next_id(), self.next_id(), self.next_id());
        let names = [self.name("taiga", "userstories", story), self.name("taiga", "tasks", task)];
        let called = |second: u32| Milestone(milestone, format!("milestone {milestone} as of {second}"));
        let within = |second| Some(called(second));
        let both = &["userstory", "task"];
        let first = called(0).1;
        let things = [Thing::Story(story, within(0)), Thing::Task(task, story, within(0))];
        for ((second, thing), name) in (0..).zip(things).zip(&names) {
            let kind = if second == 0 { "userstory" } else { "task" };
            let entry = self.say(Saying::Taiga(thing, "create"), second, notified_as(kind));
            self.state(entry, name);
            self.claim(entry, name, Part::Milestone, Some(first.clone()), true);
        }
        let renamed = self.say(Saying::Taiga(Thing::Milestone(called(2)), "change"), 2, both);
        for name in &names {
            self.claim(renamed, name, Part::Milestone, Some(called(2).1), false);
        }
        let story = Thing::Story(story, within(2));
        let changed = self.say(Saying::Taiga(story, "change"), 3, notified_as("userstory"));
        self.state(changed, &names[0]);
        self.claim(changed, &names[0], Part::Milestone, Some(called(2).1), false);
        if self.rng.random_bool(0.4) {
            let deleted = self.say(Saying::Taiga(Thing::Milestone(called(2)), "delete"), 4, both);
            for name in &names {
                self.claim(deleted, name, Part::Milestone, None, false);
            }
        }
    }

    /// An epic, a story, a link between them that is perhaps removed again, by itself or with the epic.
    fn epic_with_a_story(&mut self) {
        let (epic, story, id) = (self.next_id(), self.next_id(), self.next_id());
        let epic_name = self.name("taiga", "epics", epic);
        let story_name = self.name("taiga", "userstories", story);
        let made = self.say(Saying::Taiga(Thing::Epic(epic), "create"), 0, notified_as("epic"));
        self.state(made, &epic_name);
        let thing = Thing::Story(story, None);
        let made = self.say(Saying::Taiga(thing, "create"), 1, notified_as("userstory"));
        self.state(made, &story_name);
        let called = format!("epic {epic}");
        let link = || Thing::Link { id, story, epic, name: called.clone() };
        let linked = self.say(Saying::Taiga(link(), "create"), 2, notified_as("userstory"));
        self.claim(linked, &story_name, Part::Epic, Some(called.clone()), true);
        match self.rng.random_range(0..3) {
            0 => {
                let unlinked = self.say(Saying::Taiga(link(), "delete"), 3, notified_as("userstory"));
                self.claim(unlinked, &story_name, Part::Epic, None, false);
            }
            1 => {
                let deleted = self.say(Saying::Taiga(Thing::Epic(epic), "delete"), 3, notified_as("epic"));
                self.claim(deleted, &epic_name, Part::State, None, false);
                self.claim(deleted, &story_name, Part::Epic, None, false);
            }
            _ => {}
        }
    }

    /// A story takes its tasks with it; Taiga says nothing of them.
    fn story_with_tasks_deleted(&mut self) {
        let story = self.next_id();
        let mut names = vec![self.name("taiga", "userstories", story)];
        let made = self.say(Saying::Taiga(Thing::Story(story, None), "create"), 0, notified_as("userstory"));
        self.state(made, &names[0]);
        for second in 1..3 {
            let task = self.next_id();
            let name = self.name("taiga", "tasks", task);
            let thing = Thing::Task(task, story, None);
            let made = self.say(Saying::Taiga(thing, "create"), second, notified_as("task"));
            self.state(made, &name);
            names.push(name);
        }
        let deleted = self.say(Saying::Taiga(Thing::Story(story, None), "delete"), 3, notified_as("userstory"));
        for name in &names {
            self.claim(deleted, name, Part::State, None, false);
        }
    }
}

/// A kind as a list of one that lives for ever.
fn notified_as(kind: &'static str) -> &'static [&'static str] {
    match kind {
        "userstory" => &["userstory"],
        "task" => &["task"],
        "issue" => &["issue"],
        _ => &["epic"],
    }
}
