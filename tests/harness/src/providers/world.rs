//! The content of the stand-ins, and the behaviour by token or account.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// How a token or account is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// As documented.
    #[default]
    Normal,
    /// This status to everything, without headers that explain it.
    Status(u16),
    /// As documented, after this long.
    Slow(Duration),
    /// GitHub's secondary limit: 403 with `Retry-After`.
    SecondaryLimit(Duration),
}

/// What GitHub says to a GraphQL request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Graphql {
    /// As documented.
    #[default]
    Answers,
    /// This status.
    Refuses(u16),
    /// 200 and "no such field", as from a server that does not have one of them.
    LacksAField,
}

/// A commit as GitHub knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Lines added.
    pub additions: i64,
    /// Lines taken away.
    pub deletions: i64,
    /// How many parents it has.
    pub parents: usize,
    /// `commit.verification.reason`; the commit is verified exactly when it is `valid`.
    pub reason: &'static str,
}

impl Commit {
    /// An unsigned commit with one parent.
    #[must_use]
    pub const fn plain(additions: i64, deletions: i64) -> Self {
        Self { additions, deletions, parents: 1, reason: "unsigned" }
    }

    /// One made of the id, for a world that knows every commit.
    fn invented(sha: &str) -> Self {
        let n = i64::from_str_radix(sha.get(..4).unwrap_or_default(), 16).unwrap_or(7);
        let signed = if n % 3 == 0 { "valid" } else { "unsigned" };
        Self { additions: n % 211, deletions: n % 37, parents: if n % 10 == 0 { 2 } else { 1 }, reason: signed }
    }
}

/// A token's budget at GitHub.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Requests until the reset.
    pub remaining: u64,
    /// When it is full again.
    pub reset: SystemTime,
}

/// How many requests a token has an hour.
pub const HOURLY: u64 = 5_000;

/// Everything they know.
#[derive(Debug, Default)]
pub struct World {
    /// Commits by repository (`owner/name`) and id.
    pub commits: BTreeMap<String, BTreeMap<String, Commit>>,
    /// GitHub knows every repository and commit, and Taiga every account and milestone: for `cargo dev`.
    pub knows_everything: bool,
    /// Tokens that GitHub takes.
    pub tokens: Vec<String>,
    /// What GitHub says to GraphQL.
    pub graphql: Graphql,
    /// Taiga's accounts and their passwords.
    pub accounts: HashMap<String, String>,
    /// Taiga answers whoever asks without a token.
    pub public: bool,
    /// What `/milestones/{id}/stats` answers, by id.
    pub milestones: BTreeMap<i64, Value>,
    /// Repositories by `owner/name`.
    pub repos: BTreeMap<String, super::hub::Repo>,
    /// What repositories are called now, by the name that they had.
    pub renamed: BTreeMap<String, String>,
    /// Projects by slug.
    pub boards: BTreeMap<String, super::board::Board>,
    pub hooks: Vec<super::hooks::Hook>,
    /// The scopes of classic tokens, where they matter; other tokens may do everything.
    pub scopes: HashMap<String, &'static str>,
    /// Whose hooks GitHub does not show: `repos/<owner>/<name>`, `orgs/<name>`.
    pub unseen_hooks: Vec<String>,
    /// The next request whose path holds this is answered so, and no other.
    pub stumbles: Vec<(String, u16)>,
    /// Every request whose path holds this is answered so.
    pub refusals: Vec<(String, u16)>,
    /// Taiga gives lists in pages whatever is asked.
    pub always_pages: bool,
    pub(super) numbers: i64,
    behaviours: HashMap<String, Behaviour>,
    budgets: HashMap<String, Budget>,
    sessions: HashMap<String, String>,
    logins: u64,
}

impl World {
    /// From now on this token or account is treated so.
    pub fn behaves(&mut self, who: &str, behaviour: Behaviour) {
        self.behaviours.insert(who.to_owned(), behaviour);
    }

    /// How it is treated.
    #[must_use]
    pub fn behaviour_of(&self, who: &str) -> Behaviour {
        self.behaviours.get(who).copied().unwrap_or_default()
    }

    /// This token's budget at GitHub has so many requests left and is full again after this time. Gives the
    /// reset, which is up to a second later.
    pub fn limit(&mut self, token: &str, remaining: u64, for_: Duration) -> SystemTime {
        // Resets are whole seconds.
        let reset = SystemTime::now() + for_;
        let since = reset.duration_since(UNIX_EPOCH).unwrap_or_default();
        let reset = UNIX_EPOCH + Duration::from_secs(super::whole_seconds(since));
        self.budgets.insert(token.to_owned(), Budget { remaining, reset });
        reset
    }

    /// The budget before a request.
    pub(super) fn budget(&mut self, token: &str) -> &mut Budget {
        let now = SystemTime::now();
        let full = || Budget { remaining: HOURLY, reset: now + Duration::from_secs(3600) };
        let budget = self.budgets.entry(token.to_owned()).or_insert_with(full);
        if budget.reset <= now {
            *budget = full();
        }
        budget
    }

    /// The commit, if there is one: `Err(false)` when its repository is not there either.
    pub(super) fn commit(&self, repo: &str, sha: &str) -> Result<Commit, bool> {
        match self.commits.get(repo) {
            Some(commits) => commits.get(sha).cloned().ok_or(true),
            None if self.knows_everything => Ok(Commit::invented(sha)),
            None => Err(false),
        }
    }

    /// Lets a commit be known.
    pub fn knows(&mut self, repo: &str, sha: &str, commit: Commit) {
        self.commits.entry(repo.to_owned()).or_default().insert(sha.to_owned(), commit);
    }

    /// All tokens that Taiga gave out for an account are void.
    pub fn revoke(&mut self, username: &str) {
        self.sessions.retain(|_, owner| owner != username);
    }

    /// A token for an account.
    pub fn log_in(&mut self, username: &str) -> String {
        self.logins += 1;
        let token = format!("session-{}-of-{username}", self.logins);
        self.sessions.insert(token.clone(), username.to_owned());
        token
    }

    /// Whose token it is.
    pub(super) fn session(&self, token: &str) -> Option<&String> {
        self.sessions.get(token)
    }

    /// A milestone's stats.
    pub(super) fn stats(&self, id: i64) -> Option<Value> {
        let invented = || self.knows_everything.then(|| stats(&[3.0, 2.5], &[3.0], (4, 1), (9, 5)));
        self.milestones.get(&id).cloned().or_else(invented)
    }
}

/// What Taiga answers of a milestone: points by role, closed points, `(total, completed)` stories and tasks.
#[must_use]
pub fn stats(points: &[f64], closed: &[f64], stories: (u64, u64), tasks: (u64, u64)) -> Value {
    let by_role: serde_json::Map<_, _> =
        (131..).zip(points).map(|(role, points)| (i32::to_string(&role), json!(points))).collect();
    json!({
        "name": "Sprint 1", "estimated_start": "2026-11-02", "estimated_finish": "2026-11-15", "total_points": by_role,
        "completed_points": closed, "total_userstories": stories.0, "completed_userstories": stories.1,
        "total_tasks": tasks.0, "completed_tasks": tasks.1, "iocaine_doses": 0,
        "days": [{ "day": "2026-11-02", "name": 2, "open_points": 5.5, "optimal_points": 5.5 }]
    })
}
