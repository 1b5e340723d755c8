//! The places of a team: repositories and Taiga projects.
//!
//! The credentials file names them. If it does not, a repository or project of a webhook is read only if it has one of
//! our hooks with that `prj`: otherwise a team could have another team's project read into its own.

use std::collections::BTreeSet;

use bson::{Document, doc};
use reqwest::Url;
use serde_json::Value;
use shared::credentials::Courses;
use shared::ids::Project;
use shared::source::Source;
use worker_event::effect::Kind;
use worker_providers::asking::TAIGA;

use crate::client::{GithubApi, Halt, TaigaApi};
use crate::compare::integer;
use crate::hook_url::is_for;
use crate::parts::Parts;
use crate::stored;

/// A place at GitHub: an organisation or person, or one repository of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GithubPlace {
    /// The organisation or person.
    pub owner: String,
    /// Only this repository.
    pub name: Option<String>,
}

impl GithubPlace {
    /// Reads `owner` or `owner/repo`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text.split_once('/') {
            Some((owner, name)) => Self { owner: owner.to_owned(), name: Some(name.to_owned()) },
            None => Self { owner: text.to_owned(), name: None },
        }
    }
}

impl GithubPlace {
    /// Whether a repository is it, or one of it. GitHub's names do not depend on case.
    #[must_use]
    pub fn holds(&self, repo: &str) -> bool {
        repo.split_once('/').is_some_and(|(owner, name)| {
            let named = self.name.as_ref();
            self.owner.eq_ignore_ascii_case(owner) && named.is_none_or(|named| named.eq_ignore_ascii_case(name))
        })
    }
}

/// The places that the credentials file names.
#[must_use]
pub fn named(courses: &Courses, source: Source, prj: &Project) -> Vec<String> {
    courses.course_of(prj).map(|course| course.places(source, prj).to_vec()).unwrap_or_default()
}

/// What was found if the file names no place.
#[derive(Debug)]
pub struct Found<T> {
    /// Places with one of our hooks.
    pub places: Vec<T>,
    /// Findings about the others.
    pub findings: Vec<String>,
}

/// Repositories of a project's documents that have one of our hooks for it.
///
/// # Errors
/// When a server does not answer.
pub async fn hooked_repositories(
    parts: &Parts,
    api: &GithubApi,
    prj: &Project,
    public_url: Option<&Url>,
) -> Result<Found<GithubPlace>, Halt> {
    let mut found = Found { places: Vec::new(), findings: Vec::new() };
    let mut names: BTreeSet<String> =
        stored::repositories(parts.store.database(), prj.as_str()).await?.into_iter().collect();
    names.extend(
        distinct(parts, Kind::Commit, prj, "repo_name")
            .await?
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned)),
    );
    for name in names {
        if !name.contains('/') {
            continue;
        }
        if is_hooked(api, &name, prj, public_url).await? {
            found.places.push(GithubPlace::of(&name));
        } else {
            found.findings.push(format!(
                "{name} has documents of {prj} and the token sees none of our hooks for it, so it is not read: name it under \"github\" in the credentials file"
            ));
        }
    }
    Ok(found)
}

/// Whether a repository, or its organisation, has a hook of ours for a project.
///
/// # Errors
/// When GitHub cannot be asked.
pub async fn is_hooked(api: &GithubApi, repo: &str, prj: &Project, public_url: Option<&Url>) -> Result<bool, Halt> {
    let Some((owner, _)) = repo.split_once('/') else { return Ok(false) };
    let mut hooked = false;
    for place in [format!("/repos/{repo}"), format!("/orgs/{owner}")] {
        let hooks = api.list(format!("{place}/hooks?per_page=100")).await?.unwrap_or_default();
        let url = |hook: &Value| hook.get("config").and_then(|config| config.get("url")?.as_str().map(str::to_owned));
        hooked |= hooks.iter().filter_map(url).any(|url| is_for(public_url, Source::Github, &url, prj));
    }
    Ok(hooked)
}

/// Slugs of the Taiga projects of a project's documents that have one of our hooks for it.
///
/// # Errors
/// When a server does not answer.
pub async fn hooked_projects(
    parts: &Parts,
    api: &TaigaApi,
    prj: &Project,
    public_url: Option<&Url>,
) -> Result<Found<String>, Halt> {
    let mut found = Found { places: Vec::new(), findings: Vec::new() };
    let mut ids = BTreeSet::new();
    for kind in [Kind::UserStory, Kind::Task, Kind::TaigaIssue, Kind::Epic] {
        ids.extend(distinct(parts, kind, prj, "project_id").await?.iter().filter_map(integer));
    }
    for id in ids {
        let shown = api.get(&format!("/projects/{id}")).await?.unwrap_or_default();
        let slug = shown.get("slug").and_then(Value::as_str);
        let hooks =
            match api.ask(reqwest::Method::GET, &format!("/webhooks?project={id}")).await?.items(TAIGA, "/webhooks") {
                Ok(Some(hooks)) => hooks,
                _ => Vec::new(),
            };
        let url = |hook: &Value| hook.get("url").and_then(Value::as_str).map(str::to_owned);
        let hooked = hooks.iter().filter_map(url).any(|url| is_for(public_url, Source::Taiga, &url, prj));
        match slug.filter(|_| hooked) {
            Some(slug) => found.places.push(slug.to_owned()),
            None => found.findings.push(format!(
                "Taiga's project {id} has documents of {prj} and the account sees none of our webhooks for it, so it is not read: name it under \"taiga\" in the credentials file"
            )),
        }
    }
    Ok(found)
}

async fn distinct(parts: &Parts, kind: Kind, prj: &Project, field: &str) -> Result<Vec<bson::Bson>, Halt> {
    let collection = parts.store.database().collection::<Document>(&kind.collection(prj.as_str()));
    collection.distinct(field, doc! {}).await.map_err(|error| Halt::mongo(error.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_its_repositories_in_any_case() {
        assert!(GithubPlace::of("UPC-pes").holds("upc-pes/marmota") && GithubPlace::of("a/b").holds("a/B"));
        assert!(!GithubPlace::of("upc").holds("upc-pes/marmota") && !GithubPlace::of("a/b").holds("a/c"));
    }
}
