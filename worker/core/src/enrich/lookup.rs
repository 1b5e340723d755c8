//! The look-ups that events need. Pure.
//!
//! A message of `LD_ENRICH` is one [`Lookup`] as JSON:
//!
//! ```text
//! {"kind":"commits","requester":{"prj":"TeamA","author_login":"mduran","quality_model":null},
//!  "repo":"upc-pes/marmota","shas":["6113728f27ae8c7b1a77c8d03f9ed6e0adf246ab"]}
//! {"kind":"milestone","requester":{…},"milestone":5}
//! {"kind":"rest","requester":{…},"repo":"upc-pes/marmota"}
//! ```
//!
//! Two look-ups are the same only if their requesters are, so that LD Eval is notified for each. The provider is asked
//! once all the same: known commits are not looked up again, and a milestone's figures are cached for a minute.

use std::collections::{BTreeMap, BTreeSet};

use bson::Bson;
use serde::{Deserialize, Serialize};
use shared::ids::Project;
use shared::source::Source;

use worker_event::effect::{Effect, Kind, Notification, State};
use worker_event::normalise::BACKFILL;

use crate::origin::Origin;

/// How many commits of a push GitHub names at most.
const PUSH_MAX: usize = 2_048;

/// Commits per message: as many as GitHub takes in one GraphQL request.
pub const COMMITS_MAX: usize = 100;

/// LD Eval is notified of these again when the look-up is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requester {
    /// Also decides which token is used.
    pub prj: Project,
    /// `author_login` of the event's notification.
    pub author_login: String,
    /// `quality_model` of the event's notification.
    pub quality_model: Option<String>,
}

impl Requester {
    /// `None` when its project is not a name, which ingress does not accept.
    #[must_use]
    pub fn of(notification: &Notification) -> Option<Self> {
        let prj = Project::new(&notification.prj).ok()?;
        let Notification { author_login, quality_model, .. } = notification.clone();
        Some(Self { prj, author_login, quality_model })
    }

    /// What LD Eval is notified of when the look-up is done.
    #[must_use]
    pub fn notification(&self, event_type: &str) -> Notification {
        Notification {
            event_type: event_type.to_owned(),
            prj: self.prj.to_string(),
            author_login: self.author_login.clone(),
            quality_model: self.quality_model.clone(),
        }
    }
}

/// One message of `LD_ENRICH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Lookup {
    /// Changed lines, merge or not, and signature of commits of one repository, at GitHub.
    Commits {
        #[serde(alias = "asker")]
        requester: Requester,
        /// `owner/name`.
        repo: String,
        /// At most [`COMMITS_MAX`].
        shas: Vec<String>,
    },
    /// A milestone's figures, at Taiga.
    Milestone {
        #[serde(alias = "asker")]
        requester: Requester,
        /// `milestone_id`.
        milestone: i64,
    },
    /// The commits of a repository that its push did not name, at GitHub: of a push it names 2,048 at most.
    Rest {
        requester: Requester,
        /// `owner/name`.
        repo: String,
    },
}

impl Lookup {
    #[must_use]
    pub const fn requester(&self) -> &Requester {
        match self {
            Self::Commits { requester, .. } | Self::Milestone { requester, .. } | Self::Rest { requester, .. } => {
                requester
            }
        }
    }

    #[must_use]
    pub const fn source(&self) -> Source {
        match self {
            Self::Commits { .. } | Self::Rest { .. } => Source::Github,
            Self::Milestone { .. } => Source::Taiga,
        }
    }

    /// What LD Eval is notified of again.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        let types: &[&str] = match self {
            Self::Commits { .. } => &["push"],
            Self::Milestone { .. } => &["userstory", "task"],
            // Of what it brings LD Eval is notified by itself.
            Self::Rest { .. } => &[],
        };
        types.iter().map(|event_type| self.requester().notification(event_type)).collect()
    }
}

/// The look-ups of a batch of events, each once.
#[derive(Debug, Default)]
pub struct Lookups {
    commits: BTreeMap<(Requester, String), (Origin, BTreeSet<String>)>,
    milestones: BTreeMap<(Requester, i64), Origin>,
    /// Repositories with a push that GitHub may have cut.
    cut: BTreeMap<(Requester, String), Origin>,
    /// Stories and tasks that may leave the milestone in which they are stored.
    leaving: BTreeMap<(Requester, Kind), (Origin, BTreeSet<i64>)>,
}

impl Lookups {
    /// Adds those of one event.
    pub fn add(&mut self, source: Source, requester: &Requester, origin: &Origin, effects: &[Effect]) {
        // What was read through the API names all of them.
        if effects.len() >= PUSH_MAX
            && requester.author_login != BACKFILL
            && let Some(repo) = effects.iter().find_map(repo_of_commit).filter(|repo| is_repo(repo))
        {
            self.cut.entry((requester.clone(), repo.to_owned())).or_insert_with(|| origin.clone());
        }
        for effect in effects {
            if let Some((kind, id)) = leaving(effect) {
                let entry = self.leaving.entry((requester.clone(), kind));
                entry.or_insert_with(|| (origin.clone(), BTreeSet::new())).1.insert(id);
            }
            match (source, effect) {
                (Source::Github, Effect::State(State { kind: Kind::Commit, fields, .. })) => {
                    let text = |name| fields.get_str(name).ok();
                    if let (Some(repo), Some(sha)) = (text("repo_name"), text("sha"))
                        && is_repo(repo)
                        && is_name(sha)
                    {
                        let key = (requester.clone(), repo.to_owned());
                        let (_, shas) = self.commits.entry(key).or_insert_with(|| (origin.clone(), BTreeSet::new()));
                        shas.insert(sha.to_owned());
                    }
                }
                (Source::Taiga, Effect::State(State { milestone: Some(id), .. })) => {
                    let Some(id) = integer(id) else { continue };
                    self.milestones.entry((requester.clone(), id)).or_insert_with(|| origin.clone());
                }
                _ => {}
            }
        }
    }

    /// Stories and tasks that may leave the milestone in which they are stored: who asks, which kind, which ids.
    pub fn leaving(&self) -> impl Iterator<Item = (&Requester, Kind, &BTreeSet<i64>)> {
        self.leaving.iter().map(|((requester, kind), (_, ids))| (requester, *kind, ids))
    }

    /// The look-ups of milestones that these leave, where they are not looked up anyway: their figures change by what
    /// left them, of which they have no event.
    #[must_use]
    pub fn of_left(&self, requester: &Requester, kind: Kind, milestones: BTreeSet<i64>) -> Self {
        let mut left = Self::default();
        let Some((origin, _)) = self.leaving.get(&(requester.clone(), kind)) else { return left };
        for milestone in milestones {
            let key = (requester.clone(), milestone);
            if !self.milestones.contains_key(&key) {
                left.milestones.insert(key, origin.clone());
            }
        }
        left
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.milestones.is_empty() && self.cut.is_empty()
    }

    /// The messages, each with the delivery it comes from. The same events always make the same messages, so that
    /// queueing again replaces them.
    #[must_use]
    pub fn into_messages(self) -> Vec<(Lookup, Origin)> {
        let commits = self.commits.into_iter().flat_map(|((requester, repo), (origin, shas))| {
            let shas: Vec<String> = shas.into_iter().collect();
            let chunks: Vec<_> = shas.chunks(COMMITS_MAX).map(<[String]>::to_vec).collect();
            chunks.into_iter().map(move |shas| {
                (Lookup::Commits { requester: requester.clone(), repo: repo.clone(), shas }, origin.clone())
            })
        });
        let milestones = self.milestones.into_iter();
        let milestones =
            milestones.map(|((requester, milestone), origin)| (Lookup::Milestone { requester, milestone }, origin));
        let cut = self.cut.into_iter();
        let rest = cut.map(|((requester, repo), origin)| (Lookup::Rest { requester, repo }, origin));
        commits.chain(milestones).chain(rest).collect()
    }
}

fn repo_of_commit(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::State(State { kind: Kind::Commit, fields, .. }) => fields.get_str("repo_name").ok(),
        _ => None,
    }
}

/// A story or task that an effect may take out of its milestone.
fn leaving(effect: &Effect) -> Option<(Kind, i64)> {
    let (kind, key) = match effect {
        Effect::State(State { kind, key, .. }) | Effect::Gone { kind, key, .. } => (*kind, key),
        _ => return None,
    };
    matches!(kind, Kind::UserStory | Kind::Task).then(|| Some((kind, integer(key.first()?)?)))?
}

const fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(value) => Some(*value as i64),
        Bson::Int64(value) => Some(*value),
        _ => None,
    }
}

/// `owner/name` in GitHub's alphabet. It becomes part of a URL and of a query, so nothing else is allowed.
fn is_repo(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

fn is_name(text: &str) -> bool {
    let dots = text.bytes().all(|byte| byte == b'.');
    (1..=100).contains(&text.len())
        && !dots
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use worker_event::effect::Order;

    fn requester(author: &str) -> Requester {
        Requester { prj: Project::new("TeamA").unwrap(), author_login: author.into(), quality_model: None }
    }

    fn state(kind: Kind, fields: Document, milestone: Option<Bson>) -> Effect {
        let (key, order) = (Vec::new(), Order::new(1, 1));
        Effect::State(State { kind, key, order, read: None, fields, action: None, milestone, story: None })
    }

    fn commit(repo: &str, sha: &str) -> Effect {
        state(Kind::Commit, doc! { "repo_name": repo, "sha": sha }, None)
    }

    #[test]
    fn a_push_of_250_commits_is_three_messages_and_the_same_three_every_time() {
        let effects: Vec<_> = (0..250).map(|n| commit("o/r", &format!("{n:040x}"))).collect();
        let messages = || {
            let mut lookups = Lookups::default();
            lookups.add(Source::Github, &requester("a"), &Origin::default(), &effects);
            lookups.add(Source::Github, &requester("a"), &Origin::default(), &effects);
            lookups.into_messages().into_iter().map(|(lookup, _)| lookup).collect::<Vec<_>>()
        };
        let sizes = messages().into_iter().map(|lookup| match lookup {
            Lookup::Commits { shas, .. } => shas.len(),
            Lookup::Milestone { .. } | Lookup::Rest { .. } => 0,
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(messages(), messages());
    }

    #[test]
    fn the_rest_of_a_push_of_2048_commits_is_looked_up_unless_it_came_from_the_api() {
        let rests = |commits: u32, author: &str| {
            let effects: Vec<_> = (0..commits).map(|n| commit("o/r", &format!("{n:040x}"))).collect();
            let mut lookups = Lookups::default();
            lookups.add(Source::Github, &requester(author), &Origin::default(), &effects);
            let messages = lookups.into_messages();
            messages.into_iter().filter(|(lookup, _)| matches!(lookup, Lookup::Rest { .. })).count()
        };
        assert_eq!([rests(2_047, "a"), rests(2_048, "a"), rests(2_048, BACKFILL)], [0, 1, 0]);
    }

    #[test]
    fn fifty_tasks_of_a_milestone_are_one_message_per_requester() {
        let effects: Vec<_> = (0..50)
            .map(|n| state(Kind::Task, doc! { "task_id": n }, Some(Bson::Int32(5))))
            .chain([state(Kind::UserStory, doc! {}, Some(Bson::Null))])
            .collect();
        let mut lookups = Lookups::default();
        lookups.add(Source::Taiga, &requester("a"), &Origin::default(), &effects);
        lookups.add(Source::Taiga, &requester("b"), &Origin::default(), &effects);
        let messages: Vec<_> = lookups.into_messages().into_iter().map(|(lookup, _)| lookup).collect();
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|lookup| matches!(lookup, Lookup::Milestone { milestone: 5, .. })));
        let told: Vec<_> = messages.iter().flat_map(Lookup::notifications).map(|told| told.event_type).collect();
        assert_eq!(told, ["userstory", "task", "userstory", "task"]);
    }

    #[test]
    fn a_name_that_changes_the_url_is_not_looked_up() {
        for (repo, sha) in
            [("o/../r", "a"), ("..", "a"), ("o/..", "a"), ("o/r", "a/../../x"), ("o/r", ".."), ("o", "a")]
        {
            let mut lookups = Lookups::default();
            lookups.add(Source::Github, &requester("a"), &Origin::default(), &[commit(repo, sha)]);
            assert!(lookups.is_empty(), "{repo} {sha}");
        }
    }

    #[test]
    fn a_milestone_that_a_story_leaves_is_looked_up_unless_it_is_anyway() {
        let mut moved = state(Kind::UserStory, doc! {}, Some(6.into()));
        if let Effect::State(State { key, .. }) = &mut moved {
            *key = vec![1.into()];
        }
        let mut lookups = Lookups::default();
        lookups.add(Source::Taiga, &requester("a"), &Origin::default(), &[moved]);
        let (asks, kind, ids) = lookups.leaving().next().unwrap();
        assert_eq!((kind, ids), (Kind::UserStory, &BTreeSet::from([1])));
        let left = lookups.of_left(asks, kind, [5, 6].into()).into_messages();
        let of: Vec<_> = left.iter().map(|(lookup, _)| lookup.clone()).collect();
        assert_eq!(of, [Lookup::Milestone { requester: requester("a"), milestone: 5 }]);
    }

    #[test]
    fn a_message_reads_as_it_was_written() {
        let shas = vec!["a".to_owned()];
        for lookup in [
            Lookup::Commits { requester: requester("a"), repo: "o/r".into(), shas },
            Lookup::Milestone { requester: requester(""), milestone: 5 },
            Lookup::Rest { requester: requester("a"), repo: "o/r".into() },
        ] {
            let text = serde_json::to_string(&lookup).unwrap();
            assert_eq!(serde_json::from_str::<Lookup>(&text).unwrap(), lookup, "{text}");
        }
    }
}
