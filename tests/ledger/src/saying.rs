//! The content of one delivery, in few bytes; its JSON is made when it is sent.

use serde_json::{Value, json};

use harness::sender::{github, sheets, taiga};

/// The field by which a payload is known again in the stream; the product does not read it.
const MARK: &str = "ledger";

/// A payload.
#[derive(Debug, Clone)]
pub enum Saying {
    /// A push of these commits.
    Push(Vec<u64>),
    /// An `issues` event.
    Issue(u64, &'static str),
    /// A `pull_request` event.
    PullRequest(u64, &'static str),
    /// A row of the sheet.
    Row,
    /// What Taiga says, with its action.
    Taiga(Thing, &'static str),
}

/// A Taiga object.
#[derive(Debug, Clone)]
pub enum Thing {
    /// A story, and the milestone it is in.
    Story(i64, Option<Milestone>),
    /// A task, its story, and the milestone it is in.
    Task(i64, i64, Option<Milestone>),
    Issue(i64),
    Epic(i64),
    Milestone(Milestone),
    /// A story's link to an epic with that name.
    Link {
        /// The link's own id.
        id: i64,
        story: i64,
        epic: i64,
        /// What the epic is called.
        name: String,
    },
}

/// A milestone by id and present name.
#[derive(Debug, Clone)]
pub struct Milestone(pub i64, pub String);

impl Saying {
    /// GitHub's name of the event; empty for the others.
    #[must_use]
    pub const fn github_event(&self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::Issue(..) => "issues",
            Self::PullRequest(..) => "pull_request",
            Self::Row | Self::Taiga(..) => "",
        }
    }

    /// The payload. `text` is the title, subject or comment; `second` the provider's clock.
    #[must_use]
    pub fn body(&self, entry: usize, text: &str, author: &str, second: u32) -> Value {
        let mut body = match self {
            Self::Push(commits) => {
                let commits = commits.iter().map(|&n| github::commit(&github::sha(n), &commit_message(n)));
                github::push(1_795_455_723 + i64::from(second), commits)
            }
            Self::Issue(number, action) => {
                let mut body = github::issue(*number, action, &date(second));
                body["issue"]["title"] = text.into();
                body
            }
            Self::PullRequest(number, action) => {
                let mut body = github::pull_request(*number, action, &date(second));
                body["pull_request"]["title"] = text.into();
                body
            }
            Self::Row => {
                let mut body = sheets::row(entry as u64);
                body["comment"] = text.into();
                body
            }
            Self::Taiga(thing, action) => taiga::event(thing.kind(), action, &date(second), thing.data(text)),
        };
        match self {
            Self::Push(_) | Self::Issue(..) | Self::PullRequest(..) => {
                body["sender"]["login"] = author.into();
            }
            Self::Taiga(..) => body["by"]["username"] = author.into(),
            Self::Row => {}
        }
        body[MARK] = json!(entry);
        body
    }
}

impl Thing {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Story(..) => "userstory",
            Self::Task(..) => "task",
            Self::Issue(_) => "issue",
            Self::Epic(_) => "epic",
            Self::Milestone(_) => "milestone",
            Self::Link { .. } => "relateduserstory",
        }
    }

    fn data(&self, text: &str) -> Value {
        let milestone = |milestone: &Option<Milestone>| match milestone {
            Some(Milestone(id, name)) => taiga::milestone(*id, name),
            None => Value::Null,
        };
        match self {
            Self::Story(id, within) => {
                let mut story = taiga::userstory(*id, text);
                story["milestone"] = milestone(within);
                story
            }
            Self::Task(id, story, within) => {
                let mut task = taiga::task(*id, text, in_passing(taiga::userstory(*story, "its story")));
                task["milestone"] = milestone(within);
                task
            }
            Self::Issue(id) => taiga::issue(*id, text),
            Self::Epic(id) => taiga::epic(*id, text),
            Self::Milestone(Milestone(id, name)) => taiga::milestone(*id, name),
            Self::Link { id, story, epic, name } => {
                let (story, epic) = (taiga::userstory(*story, "?"), taiga::epic(*epic, name));
                let mut link = taiga::related(in_passing(story), in_passing(epic));
                link["id"] = json!(id);
                link
            }
        }
    }
}

/// An object that another one names without its state: the ledger knows whose delivery each state is of.
fn in_passing(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// A commit says the same in whichever push it is.
#[must_use]
pub fn commit_message(n: u64) -> String {
    format!("commit {n} of task #{}", n % 50)
}

/// Which delivery a payload in the stream is; none of a payload from elsewhere.
#[must_use]
pub fn entry_of(payload: &[u8]) -> Option<usize> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    payload.get(MARK)?.as_u64()?.try_into().ok()
}

/// That second of the provider's clock.
fn date(second: u32) -> String {
    format!("2026-11-23T{:02}:{:02}:{:02}Z", 8 + second / 3600, second / 60 % 60, second % 60)
}
