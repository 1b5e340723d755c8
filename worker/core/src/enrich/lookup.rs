//! What is to be asked, derived from what an event made true. Pure.
//!
//! A message of `LD_ENRICH` is one [`Lookup`] as JSON:
//!
//! ```text
//! {"kind":"commits","asker":{"prj":"TeamA","author_login":"mduran","quality_model":null},
//!  "repo":"upc-pes/marmota","shas":["6113728f27ae8c7b1a77c8d03f9ed6e0adf246ab"]}
//! {"kind":"milestone","asker":{…},"milestone":5}
//! ```
//!
//! The asker is part of what makes two look-ups the same, so that LD Eval is told of everybody who asked;
//! what is *asked* is asked once all the same: commits that are known are not looked up again, and a
//! milestone's answer is kept a minute.

use std::collections::{BTreeMap, BTreeSet};

use bson::Bson;
use serde::{Deserialize, Serialize};
use shared::ids::Project;
use shared::source::Source;

use worker_event::effect::{Effect, Kind, Notification, Origin, State};

/// How many commits one message holds: what GitHub takes in one GraphQL request.
pub const COMMITS_MOST: usize = 100;

/// Whose look-up it is; LD Eval is told these again when it is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asker {
    /// The project, which decides whose token is used.
    pub prj: Project,
    /// `author_login` of the event's notification.
    pub author_login: String,
    /// `quality_model` of the event's notification.
    pub quality_model: Option<String>,
    /// The (first) delivery it came of; travels in headers.
    #[serde(skip)]
    pub origin: Origin,
}

impl Asker {
    /// Whoever caused this notification; none when its project is no name (which ingress would not let in).
    #[must_use]
    pub fn of(notification: &Notification) -> Option<Self> {
        let prj = Project::new(&notification.prj).ok()?;
        let Notification { author_login, quality_model, origin, .. } = notification.clone();
        Some(Self { prj, author_login, quality_model, origin })
    }

    /// What LD Eval is told once the look-up is done.
    #[must_use]
    pub fn notification(&self, event_type: &str) -> Notification {
        Notification {
            event_type: event_type.to_owned(),
            prj: self.prj.to_string(),
            author_login: self.author_login.clone(),
            quality_model: self.quality_model.clone(),
            origin: self.origin.clone(),
        }
    }
}

/// One message of `LD_ENRICH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Lookup {
    /// Lines changed, merge or not, signature: of some commits of one repository, at GitHub.
    Commits {
        /// Who asks.
        asker: Asker,
        /// `owner/name`.
        repo: String,
        /// Up to [`COMMITS_MOST`].
        shas: Vec<String>,
    },
    /// A sprint's figures, at Taiga.
    Milestone {
        /// Who asks.
        asker: Asker,
        /// `milestone_id`.
        milestone: i64,
    },
}

impl Lookup {
    /// Who asks.
    #[must_use]
    pub const fn asker(&self) -> &Asker {
        match self {
            Self::Commits { asker, .. } | Self::Milestone { asker, .. } => asker,
        }
    }

    /// The same, of this delivery, which only the message's headers tell.
    #[must_use]
    pub fn with_origin(mut self, of: Origin) -> Self {
        match &mut self {
            Self::Commits { asker, .. } | Self::Milestone { asker, .. } => asker.origin = of,
        }
        self
    }

    /// Where it is asked.
    #[must_use]
    pub const fn source(&self) -> Source {
        match self {
            Self::Commits { .. } => Source::Github,
            Self::Milestone { .. } => Source::Taiga,
        }
    }

    /// What LD Eval is told again (CONTRACT §4).
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        let types: &[&str] = match self {
            Self::Commits { .. } => &["push"],
            Self::Milestone { .. } => &["userstory", "task"],
        };
        types.iter().map(|event_type| self.asker().notification(event_type)).collect()
    }
}

/// The look-ups of a batch of events, each once.
#[derive(Debug, Default)]
pub struct Lookups {
    commits: BTreeMap<(Asker, String), BTreeSet<String>>,
    milestones: BTreeSet<(Asker, i64)>,
}

impl Lookups {
    /// Adds what one event's effects leave to be asked at a source.
    pub fn add(&mut self, source: Source, asker: &Asker, effects: &[Effect]) {
        for effect in effects {
            match (source, effect) {
                (Source::Github, Effect::State(State { kind: Kind::Commit, fields, .. })) => {
                    let text = |name| fields.get_str(name).ok();
                    if let (Some(repo), Some(sha)) = (text("repo_name"), text("sha"))
                        && is_repo(repo)
                        && is_name(sha)
                    {
                        self.commits.entry((asker.clone(), repo.to_owned())).or_default().insert(sha.to_owned());
                    }
                }
                (Source::Taiga, Effect::State(State { milestone: Some(id), .. })) => {
                    let id = match id {
                        Bson::Int32(id) => i64::from(*id),
                        Bson::Int64(id) => *id,
                        _ => continue,
                    };
                    self.milestones.insert((asker.clone(), id));
                }
                _ => {}
            }
        }
    }

    /// Whether there is nothing to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.milestones.is_empty()
    }

    /// The messages. The same events always make the same ones, so that asking again replaces.
    #[must_use]
    pub fn into_messages(self) -> Vec<Lookup> {
        let commits = self.commits.into_iter().flat_map(|((asker, repo), shas)| {
            let shas: Vec<String> = shas.into_iter().collect();
            let chunks: Vec<_> = shas.chunks(COMMITS_MOST).map(<[String]>::to_vec).collect();
            chunks.into_iter().map(move |shas| Lookup::Commits { asker: asker.clone(), repo: repo.clone(), shas })
        });
        let milestones = self.milestones.into_iter().map(|(asker, milestone)| Lookup::Milestone { asker, milestone });
        commits.chain(milestones).collect()
    }
}

/// `owner/name` as GitHub makes them. It becomes part of a URL and of a query, so nothing else gets through.
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

    fn asker(author: &str) -> Asker {
        Asker {
            prj: Project::new("TeamA").unwrap(),
            author_login: author.into(),
            quality_model: None,
            origin: Origin::default(),
        }
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
            lookups.add(Source::Github, &asker("a"), &effects);
            lookups.add(Source::Github, &asker("a"), &effects);
            lookups.into_messages()
        };
        let sizes = messages().into_iter().map(|lookup| match lookup {
            Lookup::Commits { shas, .. } => shas.len(),
            Lookup::Milestone { .. } => 0,
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(messages(), messages());
    }

    #[test]
    fn fifty_tasks_of_a_milestone_are_one_message_an_asker() {
        let effects: Vec<_> = (0..50)
            .map(|n| state(Kind::Task, doc! { "task_id": n }, Some(Bson::Int32(5))))
            .chain([state(Kind::UserStory, doc! {}, Some(Bson::Null))])
            .collect();
        let mut lookups = Lookups::default();
        lookups.add(Source::Taiga, &asker("a"), &effects);
        lookups.add(Source::Taiga, &asker("b"), &effects);
        let messages = lookups.into_messages();
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|lookup| matches!(lookup, Lookup::Milestone { milestone: 5, .. })));
        let told: Vec<_> = messages.iter().flat_map(Lookup::notifications).map(|told| told.event_type).collect();
        assert_eq!(told, ["userstory", "task", "userstory", "task"]);
    }

    #[test]
    fn what_could_lead_a_request_elsewhere_is_not_asked() {
        for (repo, sha) in
            [("o/../r", "a"), ("..", "a"), ("o/..", "a"), ("o/r", "a/../../x"), ("o/r", ".."), ("o", "a")]
        {
            let mut lookups = Lookups::default();
            lookups.add(Source::Github, &asker("a"), &[commit(repo, sha)]);
            assert!(lookups.is_empty(), "{repo} {sha}");
        }
    }

    #[test]
    fn a_message_reads_as_it_was_written() {
        let shas = vec!["a".to_owned()];
        for lookup in [
            Lookup::Commits { asker: asker("a"), repo: "o/r".into(), shas },
            Lookup::Milestone { asker: asker(""), milestone: 5 },
        ] {
            let text = serde_json::to_string(&lookup).unwrap();
            assert_eq!(serde_json::from_str::<Lookup>(&text).unwrap(), lookup, "{text}");
        }
    }
}
