//! What an event does, in the words of the domain: the output of [`normalise`](crate::normalise),
//! the input of the store.
//!
//! An [`Effect`] says *what became true* and *as of when*, never *which statement to send*; so the
//! same list can be folded, reordered and applied twice.

use bson::{Bson, Document};
use serde::Serialize;

use crate::reason::Reason;

/// Which collection a document lives in (CONTRACT §3). The collection's full name is
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
    /// All of them.
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

/// As of when something is true: the provider's time, then the order in which we were told.
///
/// Compared field by field, here and, as an embedded document of the same shape, in MongoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Order {
    /// Milliseconds since 1970 of the time that decides (CONTRACT §3, Convergence).
    pub t: i64,
    /// Stream sequence of the event (the first one, when it was sent again).
    pub s: i64,
}

/// The values of a [`Kind`]'s key fields, in the same order. None of an id may be null.
pub type Key = Vec<Bson>;

/// One thing that an event made true.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The entity's own state: all fields of its document that the event decides, without the
    /// milestone's fields and without the epic's. Newest [`Order`] wins, except for [`Kind::Commit`],
    /// where the *oldest* wins: a commit keeps the view of its earliest push.
    State {
        /// Which collection.
        kind: Kind,
        /// Natural key; its fields are in `fields` too.
        key: Key,
        /// As of when.
        order: Order,
        /// The document. For stories and tasks: without the seven milestone fields (they are in `milestone`).
        fields: Document,
        /// Stories and tasks: the sprint they are in. `Some` for these two kinds, `None` for others.
        milestone: Option<MilestoneFields>,
        /// Tasks: id of the story they hang from (null when there is none); deleting it deletes them.
        story: Option<Bson>,
    },
    /// The entity is gone. Of a story: its tasks too; of an epic: the links to it.
    Gone {
        /// Which collection.
        kind: Kind,
        /// Natural key.
        key: Key,
        /// As of when.
        order: Order,
    },
    /// A story belongs to an epic (relateduserstory create and change).
    Linked {
        /// `userstory_id`.
        story: Bson,
        /// `epic_id`.
        epic: Bson,
        /// As of when.
        order: Order,
        /// `epic_id`, `epic_name`, `epic_reference`.
        fields: Document,
    },
    /// A story no longer belongs to that epic (relateduserstory delete).
    Unlinked {
        /// `userstory_id`.
        story: Bson,
        /// `epic_id`.
        epic: Bson,
        /// As of when.
        order: Order,
    },
    /// A sprint's newest state (milestone create and change).
    Milestone {
        /// `milestone_id`.
        id: Bson,
        /// As of when.
        order: Order,
        /// The seven fields.
        fields: MilestoneFields,
    },
    /// A sprint was deleted: what was in it then is in none.
    MilestoneGone {
        /// `milestone_id`.
        id: Bson,
        /// As of when.
        order: Order,
    },
}

impl Effect {
    /// Whose documents it may change.
    #[must_use]
    pub const fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::State { kind, .. } | Self::Gone { kind, .. } => match kind {
                Kind::Commit => &[Kind::Commit],
                Kind::GithubIssue => &[Kind::GithubIssue],
                Kind::PullRequest => &[Kind::PullRequest],
                Kind::UserStory => &[Kind::UserStory, Kind::Task],
                Kind::Task => &[Kind::Task],
                Kind::TaigaIssue => &[Kind::TaigaIssue],
                Kind::Epic => &[Kind::Epic, Kind::UserStory],
                Kind::Row => &[Kind::Row],
            },
            Self::Linked { .. } | Self::Unlinked { .. } => &[Kind::UserStory],
            Self::Milestone { .. } | Self::MilestoneGone { .. } => &[Kind::UserStory, Kind::Task],
        }
    }
}

/// The seven milestone fields of stories and tasks, in one document: `milestone_id`, `milestone_name`,
/// `milestone_closed`, `milestone_created_date`, `milestone_modified_date`, `estimated_start`,
/// `estimated_finish`. All null when there is no milestone.
pub type MilestoneFields = Document;

/// What LD Eval is told (CONTRACT §4). Also the key under which a newer one replaces an unsent older one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct Notification {
    /// `push`, `issues`, `pull_request`, `userstory`, `task`, `issue`, `epic` or `sheets_activity`.
    pub event_type: String,
    /// The project.
    pub prj: String,
    /// Who did it, or the empty string.
    pub author_login: String,
    /// The URL's quality model, or null.
    pub quality_model: Option<String>,
}

/// Everything that one event means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normalised {
    /// What became true. Empty for an event that changes nothing (a push without commits).
    pub effects: Vec<Effect>,
    /// What LD Eval is told once the effects are written. Empty exactly for events that map to no document.
    pub notifications: Vec<Notification>,
}

/// Why an event can never be stored: it contradicts the contract. It goes to the dead letters at once.
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
    /// Under which reason its dead letter is listed and counted.
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
