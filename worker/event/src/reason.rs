//! Why something is a dead letter.

/// Why a message is a dead letter, under which dead letters are listed, counted and redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not the JSON its source sends, or a message that ingress did not write.
    Unreadable,
    /// An id is missing without which there is no document.
    NoIdentity,
    /// Events of this kind have no document.
    UnknownEvent,
    /// MongoDB refuses the document.
    Unstorable,
    /// A bug in our code.
    Panic,
    /// Every worker that took it died.
    RedeliveredTooOften,
    /// Its project is new, and the limit of new projects an hour was reached.
    TooManyProjects,
    /// LD Eval answered a notification with a 4xx.
    EvalRefused,
    /// A provider's answer to a look-up, or the look-up itself, cannot be read.
    EnrichUnreadable,
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::NoIdentity,
        Self::UnknownEvent,
        Self::Unstorable,
        Self::Panic,
        Self::RedeliveredTooOften,
        Self::TooManyProjects,
        Self::EvalRefused,
        Self::EnrichUnreadable,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoIdentity => "no_identity",
            Self::UnknownEvent => "unknown_event",
            Self::Unstorable => "unstorable",
            Self::Panic => "panic",
            Self::RedeliveredTooOften => "redelivered_too_often",
            Self::TooManyProjects => "too_many_projects",
            Self::EvalRefused => "eval_refused",
            Self::EnrichUnreadable => "enrich_unreadable",
        }
    }
}
