//! Up to a hundred commits in one GraphQL request.

use std::collections::HashMap;
use std::fmt::Write as _;

use reqwest::StatusCode;
use serde::Deserialize;

use super::Github;
use crate::NotYet;
use crate::github::CommitFacts;
use crate::tokens::Token;

/// Why it was not answered.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The token must wait, or GitHub fails.
    NotYet(NotYet),
    /// Ask singly: this time, or as long as this token is used.
    Singly {
        /// It is about the token or the server, not about these commits.
        always: bool,
    },
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Debug, Deserialize)]
struct Data {
    /// By alias; an object that is not there is null.
    repository: Option<HashMap<String, Option<Object>>>,
}

#[derive(Debug, Deserialize)]
struct Complaint {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Empty for what is no commit: the fragment does not match it.
#[derive(Debug, Deserialize)]
struct Object {
    additions: Option<i64>,
    deletions: Option<i64>,
    parents: Option<Parents>,
    signature: Option<Signature>,
}

#[derive(Debug, Deserialize)]
struct Parents {
    #[serde(rename = "totalCount")]
    total_count: i64,
}

#[derive(Debug, Deserialize)]
struct Signature {
    #[serde(rename = "isValid")]
    is_valid: bool,
    state: String,
}

impl Object {
    /// What is known of a commit, in REST's words.
    fn facts(self) -> Option<CommitFacts> {
        let (additions, deletions) = (self.additions?, self.deletions?);
        let (verified, verified_reason) = self
            .signature
            .map_or((false, "unsigned".to_owned()), |signature| (signature.is_valid, reason(&signature.state)));
        Some(CommitFacts {
            total: additions.saturating_add(deletions),
            additions,
            deletions,
            is_merge: self.parents?.total_count >= 2,
            verified,
            verified_reason,
        })
    }
}

/// The word REST has for a `GitSignatureState`: the same in lower case, but for two that are abbreviated.
fn reason(state: &str) -> String {
    match state {
        "MALFORMED_SIG" => "malformed_signature".to_owned(),
        "UNKNOWN_SIG_TYPE" => "unknown_signature_type".to_owned(),
        other => other.to_lowercase(),
    }
}

/// Asks for all of them; gives those that GitHub knows.
pub(super) async fn ask(
    github: &Github,
    token: &Token,
    repo: &str,
    shas: &[String],
) -> Result<Vec<(String, CommitFacts)>, Refusal> {
    let Some(query) = query(repo, shas) else { return Err(Refusal::Singly { always: false }) };
    let request = github
        .api
        .http
        .post(&github.graphql_url)
        .bearer_auth(token.secret.expose())
        .json(&serde_json::json!({ "query": query }));
    let reply = github.api.call(&token.payer, "graphql", request).await.map_err(Refusal::NotYet)?;
    match reply.status {
        status if status.is_success() => {}
        // A token may be refused here and welcome there; a server may have no GraphQL at all. REST decides.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_IMPLEMENTED => return Err(Refusal::Singly { always: true }),
        _ => return Err(Refusal::Singly { always: false }),
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        return Err(Refusal::Singly { always: false });
    };
    let says = |kind: &str| answer.errors.iter().any(|error| error.kind.as_deref() == Some(kind));
    if says("RATE_LIMITED") || says("RATE_LIMIT") {
        return Err(Refusal::NotYet(github.api.stop(&token.payer, None).await));
    }
    if answer.data.is_none() && !answer.errors.is_empty() {
        // The query itself is refused: a field that this server does not have.
        return Err(Refusal::Singly { always: true });
    }
    let (denied, complained) = (says("FORBIDDEN"), !answer.errors.is_empty());
    let Some(mut found) = answer.data.and_then(|data| data.repository) else {
        return Err(Refusal::Singly { always: denied });
    };
    let mut facts = Vec::with_capacity(shas.len());
    for (index, sha) in shas.iter().enumerate() {
        match found.remove(&alias(index)) {
            // Not known to GitHub: left as it is. With complaints a null may mean more than that.
            Some(None) if !complained => {}
            Some(Some(Object { additions: None, .. })) if !complained => {}
            Some(Some(object)) => match object.facts() {
                Some(known) => facts.push((sha.clone(), known)),
                None => return Err(Refusal::Singly { always: false }),
            },
            Some(None) | None => return Err(Refusal::Singly { always: false }),
        }
    }
    Ok(facts)
}

fn alias(index: usize) -> String {
    format!("c{index}")
}

/// The query; none when a name is not what GraphQL takes for an object id.
fn query(repo: &str, shas: &[String]) -> Option<String> {
    let is_oid = |sha: &String| matches!(sha.len(), 40 | 64) && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (owner, name) = repo.split_once('/')?;
    if !shas.iter().all(is_oid) {
        return None;
    }
    // Names and ids are of alphabets without quotes (`lookup`), so they can stand in the text.
    let mut query = format!("query {{ repository(owner: \"{owner}\", name: \"{name}\") {{");
    for (index, sha) in shas.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(query, " {}: object(oid: \"{sha}\") {{ ...facts }}", alias(index));
    }
    query.push_str(
        " } } fragment facts on Commit { additions deletions parents { totalCount } signature { isValid state } }",
    );
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_each_commit_once() {
        let shas = vec!["a".repeat(40), "b".repeat(40)];
        let text = query("upc-pes/marmota.rs", &shas).unwrap();
        assert!(
            text.starts_with(r#"query { repository(owner: "upc-pes", name: "marmota.rs") { c0: object(oid: "aaaa"#)
        );
        assert!(text.contains(" c1: object(oid: \"bbbb") && !text.contains("c2:"), "{text}");
        assert_eq!(query("o/r", &["short".to_owned()]), None);
    }

    #[test]
    fn its_words_are_rests_words() {
        for (state, expected) in [
            ("VALID", "valid"),
            ("UNSIGNED", "unsigned"),
            ("UNKNOWN_KEY", "unknown_key"),
            ("MALFORMED_SIG", "malformed_signature"),
            ("UNKNOWN_SIG_TYPE", "unknown_signature_type"),
            ("GPGVERIFY_ERROR", "gpgverify_error"),
            ("NO_USER", "no_user"),
            ("OCSP_REVOKED", "ocsp_revoked"),
        ] {
            assert_eq!(reason(state), expected);
        }
        let object = |json: &str| serde_json::from_str::<Object>(json).unwrap().facts();
        let plain = object(r#"{"additions":3,"deletions":1,"parents":{"totalCount":1},"signature":null}"#).unwrap();
        assert_eq!((plain.total, plain.verified, plain.verified_reason.as_str()), (4, false, "unsigned"));
        assert_eq!(object("{}"), None);
    }
}
