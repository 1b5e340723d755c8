//! What an event does, in the words of the domain: the output of [`normalise`](crate::normalise),
//! the input of the store.
//!
//! An [`Effect`] says *what became true* and *when*, never *which statement to send*. So the same list can be folded,
//! reordered and applied twice.

use bson::{Bson, Document};
use serde::Serialize;

use crate::reason::Reason;

/// Which collection a document lives in. The collection's full name is
/// `<source>_<prj>.<suffix>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `github_<prj>.commits`, key `sha`.
    Commit,
    /// `github_<prj>.issues`, key `repo_name`, `issue_id`.
    GithubIssue,
    /// `github_<prj>.pull_requests`, key `repo_name`, `pr_number`.
    PullRequest,
    /// `taiga_<prj>.userstories`, key `userstory_id`.
    UserStory,
    /// `taiga_<prj>.tasks`, key `task_id`.
    Task,
    /// `taiga_<prj>.issues`, key `issue_id`.
    TaigaIssue,
    /// `taiga_<prj>.epics`, key `epic_id`.
    Epic,
    /// `excel_<prj>.sheets`, key `activity_id`.
    Row,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Commit,
        Self::GithubIssue,
        Self::PullRequest,
        Self::UserStory,
        Self::Task,
        Self::TaigaIssue,
        Self::Epic,
        Self::Row,
    ];

    /// `(source, suffix)` of the collection's name, and its natural key.
    #[must_use]
    pub const fn parts(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::Commit => ("github", "commits", &["sha"]),
            Self::GithubIssue => ("github", "issues", &["repo_name", "issue_id"]),
            Self::PullRequest => ("github", "pull_requests", &["repo_name", "pr_number"]),
            Self::UserStory => ("taiga", "userstories", &["userstory_id"]),
            Self::Task => ("taiga", "tasks", &["task_id"]),
            Self::TaigaIssue => ("taiga", "issues", &["issue_id"]),
            Self::Epic => ("taiga", "epics", &["epic_id"]),
            Self::Row => ("excel", "sheets", &["activity_id"]),
        }
    }

    /// The collection's name for a project.
    #[must_use]
    pub fn collection(self, prj: &str) -> String {
        let (source, suffix, _) = self.parts();
        format!("{source}_{prj}.{suffix}")
    }

    /// The fields of the unique index, in order.
    #[must_use]
    pub const fn key_fields(self) -> &'static [&'static str] {
        self.parts().2
    }
}

/// When something became true: the provider's time, then the stream sequence, then the depth in the delivery.
///
/// Compared field by field, here and, as an embedded document of the same shape, in MongoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    /// Milliseconds since 1970 of the time that decides.
    pub t: i64,
    /// Stream sequence of the event (the first one, when it was sent again).
    pub s: i64,
    /// 0 for the object that a delivery is about, less for those it carries.
    pub r: i64,
}

impl Order {
    /// Of the object that a delivery is about.
    #[must_use]
    pub const fn new(t: i64, s: i64) -> Self {
        Self { t, s, r: 0 }
    }

    /// Of an object inside this one.
    #[must_use]
    pub const fn nested(self) -> Self {
        Self { r: self.r - 1, ..self }
    }
}

/// The values of a [`Kind`]'s key fields, in the same order. None of an id may be null.
pub type Key = Vec<Bson>;

/// An entity's own state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub kind: Kind,
    /// Natural key; its fields are in `fields` too.
    pub key: Key,
    /// When it became true. The newest wins; of a [`Kind::Commit`] the *oldest*: a commit keeps the view of its
    /// earliest push.
    pub order: Order,
    /// Of a state from GitHub's API: when it was read. `order` is then the object's own last change, so that a lagging
    /// replica changes nothing. Whether the object exists is as of the reading.
    pub read: Option<Order>,
    /// What the document shows, without `action` and without what it shows of its milestone, story and epic.
    pub fields: Document,
    /// What only the webhook of the object itself contains (who did it, and by which action). `None` of everything
    /// else.
    pub action: Option<Document>,
    /// Stories and tasks: the milestone that this state is in, or null. `None` of other kinds.
    pub milestone: Option<Bson>,
    /// Tasks: the story. `None` of other kinds.
    pub story: Option<StoryOf>,
}

/// The story of a task, as the task's delivery describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoryOf {
    /// `userstory_id`, or null.
    pub id: Bson,
    /// Whether it is closed, where the delivery says so.
    pub is_closed: Option<Bson>,
    /// Whether the delivery also contains the story's own state, in the same milestone; with Taiga it always does.
    pub agrees: bool,
}

/// One thing that an event made true.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most effects are states; a box would cost an allocation for each")]
pub enum Effect {
    /// An entity's own state.
    State(State),
    /// The entity was deleted. Of a story: its tasks too; of an epic: the links to it.
    Gone {
        kind: Kind,
        key: Key,
        /// As of when.
        order: Order,
    },
    /// States up to this one are not shown (of a pull request that was reopened; the last state of a deleted issue).
    Superseded {
        kind: Kind,
        key: Key,
        /// Compared with [`State::order`] alone.
        order: Order,
    },
    /// A story belongs to an epic.
    Linked {
        /// `userstory_id`.
        story: Bson,
        /// `epic_id`.
        epic: Bson,
        /// As of when.
        order: Order,
        /// Whether this is the webhook of its creation: of several links, the one that was created last is shown.
        created: bool,
    },
    /// A story no longer belongs to that epic.
    Unlinked {
        /// `userstory_id`.
        story: Bson,
        /// `epic_id`.
        epic: Bson,
        /// As of when.
        order: Order,
    },
    /// What the stories and tasks in a milestone show of it.
    Milestone {
        /// `milestone_id`.
        id: Bson,
        /// As of when.
        order: Order,
        /// The seven fields.
        fields: MilestoneFields,
    },
    /// A milestone was deleted: its stories and tasks are in none.
    MilestoneGone {
        /// `milestone_id`.
        id: Bson,
        /// As of when.
        order: Order,
    },
    /// What the stories in an epic show of it.
    EpicName {
        /// `epic_id`.
        id: Bson,
        /// As of when.
        order: Order,
        /// `epic_name`, `epic_reference`.
        fields: Document,
    },
    /// A repository was renamed: older issues and pull requests belong to the new name.
    Renamed {
        /// Its full name until then.
        from: String,
        /// Its full name since.
        to: String,
        /// As of when.
        order: Order,
    },
}

impl Effect {
    /// The project whose documents it changes.
    #[must_use]
    pub const fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::State(State { kind, .. }) | Self::Gone { kind, .. } | Self::Superseded { kind, .. } => match kind {
                Kind::Commit => &[Kind::Commit],
                Kind::GithubIssue => &[Kind::GithubIssue],
                Kind::PullRequest => &[Kind::PullRequest],
                Kind::UserStory => &[Kind::UserStory, Kind::Task],
                Kind::Task => &[Kind::Task],
                Kind::TaigaIssue => &[Kind::TaigaIssue],
                Kind::Epic => &[Kind::Epic, Kind::UserStory],
                Kind::Row => &[Kind::Row],
            },
            Self::Linked { .. } | Self::Unlinked { .. } | Self::EpicName { .. } => &[Kind::UserStory],
            Self::Milestone { .. } | Self::MilestoneGone { .. } => &[Kind::UserStory, Kind::Task],
            Self::Renamed { .. } => &[Kind::GithubIssue, Kind::PullRequest],
        }
    }
}

/// The seven milestone fields of stories and tasks, in one document: `milestone_id`, `milestone_name`,
/// `milestone_closed`, `milestone_created_date`, `milestone_modified_date`, `estimated_start`,
/// `estimated_finish`.
pub type MilestoneFields = Document;

/// A notification for LD Eval. Also the key under which a newer one replaces an unsent older one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct Notification {
    /// `push`, `issues`, `pull_request`, `userstory`, `task`, `issue`, `epic` or `sheets_activity`.
    pub event_type: String,
    pub prj: String,
    /// Who did it, or the empty string.
    pub author_login: String,
    /// The URL's quality model, or null.
    pub quality_model: Option<String>,
}

/// The event types of the notifications that an event of this kind can lead to, such as `task`. Of Taiga's: of whatever
/// may have changed with it.
#[must_use]
pub fn event_types(event: &str) -> &'static [&'static str] {
    match event {
        "push" => &["push"],
        "issues" => &["issues"],
        "pull_request" => &["pull_request"],
        "sheets_activity" => &["sheets_activity"],
        // Stories and tasks show their milestone's fields, and a story its epic.
        "task" | "userstory" | "relateduserstory" | "milestone" => &["task", "userstory"],
        "epic" => &["epic", "userstory"],
        "issue" => &["issue"],
        _ => &[],
    }
}

/// Everything that one event means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normalised {
    /// What became true. Empty for an event that changes nothing (a push without commits).
    pub effects: Vec<Effect>,
    /// Notifications, sent once the effects are written. Empty exactly for events that map to no document.
    pub notifications: Vec<Notification>,
}

/// Why an event can never be stored: it breaks docs/payloads.md. It becomes a dead letter at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The payload is not the JSON its source sends. The text names the place, e.g.
    /// `data.status: invalid type: string "x", expected struct Status at line 1 column 20`.
    #[error("the payload does not have its source's shape: {0}")]
    Shape(String),
    /// A field without which the document has no identity is missing or null.
    #[error("{0} is missing, and without it the document has no identity")]
    MissingKey(&'static str),
    /// No document comes of this kind of event; ingress should not have published it.
    #[error("no document comes of an event of the kind {0:?}")]
    UnknownEvent(String),
    /// The document could not be stored in MongoDB.
    #[error("the document cannot be stored: {0}")]
    Unstorable(String),
}

impl Reject {
    /// The reason under which its dead letter is listed and counted.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Shape(_) => Reason::Unreadable,
            Self::MissingKey(_) => Reason::NoIdentity,
            Self::UnknownEvent(_) => Reason::UnknownEvent,
            Self::Unstorable(_) => Reason::Unstorable,
        }
    }
}
