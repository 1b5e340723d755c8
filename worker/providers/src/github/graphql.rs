//! Up to a hundred commits in one GraphQL request.

use std::collections::HashMap;
use std::fmt::Write as _;

use reqwest::StatusCode;
use serde::Deserialize;

use super::GithubClient;
use crate::ProviderError;
use crate::github::CommitFacts;
use crate::tokens::Token;

/// What to do when GraphQL gave no result.
#[derive(Debug)]
pub(super) enum Fallback {
    /// Retry later.
    Retry(ProviderError),
    /// Use REST, for this look-up or for all of this token.
    Rest {
        /// The cause is the token or the server, not these commits.
        always: bool,
    },
}

#[derive(Debug, Deserialize)]
struct GraphqlReply {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Debug, Deserialize)]
struct Data {
    /// By alias; an object that is not there is null.
    repository: Option<HashMap<String, Option<Object>>>,
}

#[derive(Debug, Deserialize)]
struct GraphqlError {
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

/// REST's word for a `GitSignatureState`: lower case, and two abbreviations written out.
fn reason(state: &str) -> String {
    match state {
        "MALFORMED_SIG" => "malformed_signature".to_owned(),
        "UNKNOWN_SIG_TYPE" => "unknown_signature_type".to_owned(),
        other => other.to_lowercase(),
    }
}

/// Without the commits that GitHub does not have.
pub(super) async fn ask(
    github: &GithubClient,
    token: &Token,
    repo: &str,
    shas: &[String],
) -> Result<Vec<(String, CommitFacts)>, Fallback> {
    let Some(query) = query(repo, shas) else { return Err(Fallback::Rest { always: false }) };
    let request = github
        .api
        .http
        .post(&github.graphql_url)
        .bearer_auth(token.secret.expose())
        .json(&serde_json::json!({ "query": query }));
    let reply = github.api.call(&token.credential, "graphql", request).await.map_err(Fallback::Retry)?;
    match reply.status {
        status if status.is_success() => {}
        // A token may be allowed REST but not GraphQL, and a server may have no GraphQL.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_IMPLEMENTED => return Err(Fallback::Rest { always: true }),
        _ => return Err(Fallback::Rest { always: false }),
    }
    let Ok(result) = serde_json::from_slice::<GraphqlReply>(&reply.body) else {
        return Err(Fallback::Rest { always: false });
    };
    let says = |kind: &str| result.errors.iter().any(|error| error.kind.as_deref() == Some(kind));
    if says("RATE_LIMITED") || says("RATE_LIMIT") {
        return Err(Fallback::Retry(github.api.stop(&token.credential, None).await));
    }
    if result.data.is_none() && !result.errors.is_empty() {
        // The server does not accept the query, such as an older GitHub Enterprise without one of its fields.
        return Err(Fallback::Rest { always: true });
    }
    let (denied, has_errors) = (says("FORBIDDEN"), !result.errors.is_empty());
    let Some(mut found) = result.data.and_then(|data| data.repository) else {
        return Err(Fallback::Rest { always: denied });
    };
    let mut facts = Vec::with_capacity(shas.len());
    for (index, sha) in shas.iter().enumerate() {
        match found.remove(&alias(index)) {
            // GitHub does not have the commit. With errors beside it, a null can also mean a failure.
            Some(None) if !has_errors => {}
            Some(Some(Object { additions: None, .. })) if !has_errors => {}
            Some(Some(object)) => match object.facts() {
                Some(known) => facts.push((sha.clone(), known)),
                None => return Err(Fallback::Rest { always: false }),
            },
            Some(None) | None => return Err(Fallback::Rest { always: false }),
        }
    }
    Ok(facts)
}

fn alias(index: usize) -> String {
    format!("c{index}")
}

/// `None` when a SHA is not an object id for GraphQL.
fn query(repo: &str, shas: &[String]) -> Option<String> {
    let is_oid = |sha: &String| matches!(sha.len(), 40 | 64) && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (owner, name) = repo.split_once('/')?;
    if !shas.iter().all(is_oid) {
        return None;
    }
    // `Lookup` lets in no quotes, so names and ids need no escaping. A connection needs `first`; `totalCount` counts all.
    let mut query = format!("query {{ repository(owner: \"{owner}\", name: \"{name}\") {{");
    for (index, sha) in shas.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(query, " {}: object(oid: \"{sha}\") {{ ...facts }}", alias(index));
    }
    query.push_str(
        " } } fragment facts on Commit { additions deletions parents(first: 1) { totalCount } signature { isValid state } }",
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
