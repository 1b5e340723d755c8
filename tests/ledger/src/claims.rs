//! What deliveries claim of documents, and which claim a document must show in the end.

use std::collections::HashMap;

use bson::{Bson, Document};

/// A part of a document that is decided apart from the others: by the newest claim on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Is it there, and in which state. No value: it is deleted.
    State,
    /// The name of the milestone that a story or task is in. No value: null.
    Milestone,
    /// The name of the epic that a story is linked to. No value: null.
    Epic,
}

/// One delivery's claim on a part of a document.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Of two claims on a part the one with the higher rank is newer by its provider's clock.
    pub rank: u32,
    /// What the part shows then.
    pub value: Option<String>,
    /// Which delivery claims it.
    pub entry: usize,
    /// The delivery itself makes the claim visible. Not so if it concerns other documents (a milestone of its stories),
    /// which may be updated later.
    pub own: bool,
}

/// All claims on one part.
#[derive(Debug, Clone)]
pub struct Register {
    pub part: Part,
    /// Claims in the order of the plan.
    pub claims: Vec<Claim>,
}

/// A document that some delivery speaks of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Collection and natural key, as [`name_of`] reads them from a document.
    pub name: String,
    /// What is claimed of it; [`Part::State`] comes first.
    pub registers: Vec<Register>,
    /// All its deliveries are forged: it must never be stored.
    pub forged: bool,
}

/// How a register ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the newest acknowledged claim says, or a newer one that was sent without an answer.
    Right,
    /// The newest acknowledged claim is not shown; with what is wanted and what is there.
    Wrong(String),
}

impl Register {
    /// Compares what is shown with what was acknowledged. `acked` and `sent` say of a delivery whether
    /// it was answered 200, and whether it was sent at all.
    pub fn judge(&self, shown: Option<&str>, acked: impl Fn(usize) -> bool, sent: impl Fn(usize) -> bool) -> Verdict {
        let newest = self.claims.iter().filter(|claim| acked(claim.entry)).max_by_key(|c| c.rank);
        // What was sent and never answered may be stored or not.
        let Some(newest) = newest else { return Verdict::Right };
        let wanted = |claim: &&Claim| claim.rank == newest.rank || (claim.rank > newest.rank && sent(claim.entry));
        if self.claims.iter().filter(wanted).any(|claim| claim.value.as_deref() == shown) {
            return Verdict::Right;
        }
        let text = |value: Option<&str>| value.map_or("nothing".to_owned(), |v| format!("{v:?}"));
        Verdict::Wrong(format!(
            "{:?} shows {}, not {} of delivery {}",
            self.part,
            text(shown),
            text(newest.value.as_deref()),
            newest.entry
        ))
    }

    /// Is there a deletion newer than this rank?
    #[must_use]
    pub fn is_deleted_after(&self, rank: u32) -> bool {
        self.claims.iter().any(|claim| claim.value.is_none() && claim.rank > rank)
    }

    /// The rank of the claim that a value comes from.
    #[must_use]
    pub fn rank_of(&self, value: Option<&str>) -> Option<u32> {
        self.claims.iter().find(|claim| claim.value.as_deref() == value).map(|claim| claim.rank)
    }
}

/// The claims of a whole plan.
#[derive(Debug, Default)]
pub struct Claims {
    /// Documents, in the order in which they were first spoken of.
    pub subjects: Vec<Subject>,
    by_name: HashMap<String, usize>,
}

impl Claims {
    /// Adds a claim and says of which subject.
    pub fn add(&mut self, name: &str, part: Part, claim: Claim, forged: bool) -> usize {
        let index = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            let state = Register { part: Part::State, claims: Vec::new() };
            self.subjects.push(Subject { name: name.to_owned(), registers: vec![state], forged });
            self.subjects.len() - 1
        });
        let registers = &mut self.subjects[index].registers;
        let at = registers.iter().position(|register| register.part == part).unwrap_or_else(|| {
            registers.push(Register { part, claims: Vec::new() });
            registers.len() - 1
        });
        registers[at].claims.push(claim);
        index
    }

    /// The subject with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// Collection and natural key of a document; none of an unknown collection.
#[must_use]
pub fn name_of(collection: &str, document: &Document) -> Option<String> {
    let (source, suffix) = (collection.split('_').next()?, collection.rsplit('.').next()?);
    let keys: &[&str] = match (source, suffix) {
        ("github", "commits") => &["sha"],
        ("github", "issues") => &["repo_name", "issue_id"],
        ("github", "pull_requests") => &["repo_name", "pr_number"],
        ("taiga", "userstories") => &["userstory_id"],
        ("taiga", "tasks") => &["task_id"],
        ("taiga", "issues") => &["issue_id"],
        ("taiga", "epics") => &["epic_id"],
        ("excel", "sheets") => &["activity_id"],
        _ => return None,
    };
    let mut name = collection.to_owned();
    for key in keys {
        name.push('/');
        match document.get(key)? {
            Bson::String(text) => name.push_str(text),
            Bson::Int32(number) => name.push_str(&number.to_string()),
            Bson::Int64(number) => name.push_str(&number.to_string()),
            _ => return None,
        }
    }
    Some(name)
}

/// What a document, or the fields of an update, show of a part.
#[must_use]
pub fn shown<'a>(part: Part, collection: &str, fields: &'a Document) -> Option<&'a str> {
    let field = match part {
        Part::Milestone => "milestone_name",
        Part::Epic => "epic_name",
        Part::State => match collection.split_once('.')?.1 {
            "commits" => "message",
            "pull_requests" => "title",
            "sheets" => "comment",
            "issues" if collection.starts_with("github") => {
                let whole = fields.get_document("issue").and_then(|issue| issue.get_str("title"));
                return whole.or_else(|_| fields.get_str("issue.title")).ok();
            }
            _ => "subject",
        },
    };
    fields.get_str(field).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(values: &[Option<&str>]) -> Register {
        let claim = |(rank, value): (u32, &Option<&str>)| Claim {
            rank,
            value: value.map(str::to_owned),
            entry: rank as usize,
            own: true,
        };
        Register { part: Part::State, claims: (0..).zip(values).map(claim).collect() }
    }

    #[test]
    fn the_newest_acknowledged_claim_must_show() {
        let register = register(&[Some("a"), Some("b"), None]);
        let all = |_| true;
        assert_eq!(register.judge(None, all, all), Verdict::Right);
        assert_ne!(register.judge(Some("b"), all, all), Verdict::Right, "a deletion was lost");
        let first_two = |entry| entry < 2;
        assert_eq!(register.judge(Some("b"), first_two, first_two), Verdict::Right);
        assert_ne!(register.judge(Some("a"), first_two, first_two), Verdict::Right, "stale");
        assert_ne!(register.judge(None, first_two, first_two), Verdict::Right, "missing");
    }

    #[test]
    fn what_was_sent_without_an_answer_may_show_when_it_is_newer() {
        let register = register(&[Some("a"), Some("b"), Some("c")]);
        let only = |entry| entry == 1;
        assert_eq!(register.judge(Some("c"), only, |_| true), Verdict::Right);
        assert_ne!(register.judge(Some("c"), only, only), Verdict::Right, "it was never sent");
        assert_ne!(register.judge(Some("a"), only, |_| true), Verdict::Right, "it is older");
    }
}
