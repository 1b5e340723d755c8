//! `GET /repos/{full_name}/commits/{sha}`.

use reqwest::StatusCode;
use serde::Deserialize;

use super::{GithubClient, LookedUp};
use crate::ProviderError;
use crate::github::CommitFacts;
use crate::tokens::Token;

/// After this many 404 in a row the token cannot see the repository: its other commits get no request.
const NOT_FOUND_LIMIT: usize = 3;

#[derive(Debug, Deserialize)]
struct Commit {
    stats: CommitStats,
    #[serde(default)]
    parents: Vec<Parent>,
    commit: GitCommit,
}

#[derive(Debug, Deserialize)]
struct CommitStats {
    additions: i64,
    deletions: i64,
    total: i64,
}

#[derive(Debug, Deserialize)]
struct Parent {}

#[derive(Debug, Deserialize)]
struct GitCommit {
    verification: Option<Verification>,
}

#[derive(Debug, Deserialize)]
struct Verification {
    #[serde(default)]
    verified: bool,
    reason: Option<String>,
}

impl From<Commit> for CommitFacts {
    fn from(commit: Commit) -> Self {
        let (verified, reason) = commit.commit.verification.map_or((false, None), |v| (v.verified, v.reason));
        Self {
            total: commit.stats.total,
            additions: commit.stats.additions,
            deletions: commit.stats.deletions,
            is_merge: commit.parents.len() >= 2,
            verified,
            verified_reason: reason.unwrap_or_else(|| "unsigned".to_owned()),
        }
    }
}

/// `not_found_in_a_row` counts over all parts of a look-up.
pub(super) async fn ask(
    github: &GithubClient,
    token: &Token,
    repo: &str,
    shas: Vec<String>,
    not_found_in_a_row: &mut usize,
) -> LookedUp {
    let mut facts = Vec::new();
    for (answered, sha) in shas.iter().enumerate() {
        if *not_found_in_a_row >= NOT_FOUND_LIMIT {
            return LookedUp { facts, answered: usize::MAX, then: None };
        }
        match one(github, token, repo, sha).await {
            Ok(CommitReply::Commit(found)) => {
                *not_found_in_a_row = 0;
                facts.push((sha.clone(), found));
            }
            Ok(CommitReply::NoCommit) => *not_found_in_a_row = 0,
            Ok(CommitReply::NotFound) => *not_found_in_a_row += 1,
            Err(then) => return LookedUp { facts, answered, then: Some(then) },
        }
    }
    LookedUp { facts, answered: shas.len(), then: None }
}

enum CommitReply {
    Commit(CommitFacts),
    /// The repository is there, the commit is not.
    NoCommit,
    /// No repository (or none that this token may see), or no commit.
    NotFound,
}

async fn one(github: &GithubClient, token: &Token, repo: &str, sha: &str) -> Result<CommitReply, ProviderError> {
    let request = github
        .api
        .http
        .get(format!("{}/repos/{repo}/commits/{sha}", github.base))
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .bearer_auth(token.secret.expose());
    let reply = github.api.call(&token.credential, "commit", request).await?;
    match reply.status {
        status if status.is_success() => match serde_json::from_slice::<Commit>(&reply.body) {
            Ok(commit) => Ok(CommitReply::Commit(commit.into())),
            Err(error) => Err(ProviderError::Unreadable(format!("GitHub's commit cannot be read: {error}"))),
        },
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => Ok(CommitReply::NoCommit),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(CommitReply::NotFound),
        StatusCode::UNAUTHORIZED => {
            tracing::warn!(token = %token.credential.label, "GitHub refuses a token; its look-ups wait until it is replaced in the credentials file or GITHUB_TOKEN");
            Err(github.api.stop(&token.credential, None).await)
        }
        status => Err(ProviderError::Refused(format!("GitHub answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_whatever_else_is_in_it() {
        let read = |json: &str| serde_json::from_str::<Commit>(json).map(CommitFacts::from);
        let merge = r#"{"sha":"a","commit":{"message":"m","verification":{"verified":true,"reason":"valid","payload":null}},
            "parents":[{"sha":"b"},{"sha":"c"}],"stats":{"total":7,"additions":4,"deletions":3},"files":[]}"#;
        let expected = CommitFacts {
            total: 7,
            additions: 4,
            deletions: 3,
            is_merge: true,
            verified: true,
            verified_reason: "valid".into(),
        };
        assert_eq!(read(merge).unwrap(), expected);
        let plain = r#"{"commit":{"verification":null},"stats":{"total":0,"additions":0,"deletions":0}}"#;
        let plain = read(plain).unwrap();
        assert!(!plain.is_merge && !plain.verified && plain.verified_reason == "unsigned");
        assert!(read(r#"{"commit":{}}"#).is_err());
    }
}
