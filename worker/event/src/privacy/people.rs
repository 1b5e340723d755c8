//! Which fields of a document hold people, and how a person is removed from them.
//!
//! Free text (commit messages, descriptions, comments, custom attributes) is not searched: names in it have no shape.
//! Natural keys stay, so a repository under a person's own account keeps its name.

use bson::{Bson, Document};

use crate::effect::Kind;

/// What replaces a forgotten name: the login of commits without one.
pub const ANONYMOUS: &str = "anonymous";

/// Removes people from a document, stored or not yet; returns whether there were any.
pub fn anonymise(kind: Kind, document: &mut Document, forgotten: &dyn Fn(&str) -> bool) -> bool {
    let mut changed = false;
    match kind {
        Kind::Commit | Kind::GithubIssue | Kind::PullRequest => {
            changed |= login(document, "team_name", forgotten);
            changed |= person(document.get_mut("sender_info"), &["login"], &["id", "url"], forgotten);
            match kind {
                Kind::Commit => {
                    let whose = ["login", "name", "email"];
                    changed |= person(document.get_mut("user"), &whose, &["name", "email"], forgotten);
                }
                Kind::GithubIssue => {
                    let issue = document.get_mut("issue").and_then(Bson::as_document_mut);
                    changed |= person(issue.and_then(|issue| issue.get_mut("user")), &["login"], &["id"], forgotten);
                }
                _ => {
                    changed |= login(document, "merged_by", forgotten);
                    changed |= login(document, "assignee", forgotten);
                    changed |= list(document, "reviewers", forgotten).is_some();
                }
            }
        }
        Kind::UserStory | Kind::Task | Kind::TaigaIssue | Kind::Epic => {
            changed |= login(document, "assigned_by", forgotten);
            changed |= login(document, "assigned_to", forgotten);
        }
        Kind::Row => changed |= row(document, forgotten),
    }
    changed
}

fn is(value: Option<&Bson>, forgotten: &dyn Fn(&str) -> bool) -> bool {
    value.and_then(Bson::as_str).is_some_and(|name| name != ANONYMOUS && forgotten(name))
}

/// A field that is a name.
fn login(document: &mut Document, field: &str, forgotten: &dyn Fn(&str) -> bool) -> bool {
    let found = is(document.get(field), forgotten);
    if found {
        document.insert(field, ANONYMOUS);
    }
    found
}

/// An object that is a person: recognised by any of some fields, of which the login is replaced and the others are
/// nulled.
fn person(value: Option<&mut Bson>, whose: &[&str], others: &[&str], forgotten: &dyn Fn(&str) -> bool) -> bool {
    let Some(document) = value.and_then(Bson::as_document_mut) else { return false };
    if !whose.iter().any(|field| is(document.get(field), forgotten)) {
        return false;
    }
    document.insert("login", ANONYMOUS);
    for field in others {
        document.insert(*field, Bson::Null);
    }
    true
}

/// A list of names; returns those that were removed.
fn list(document: &mut Document, field: &str, forgotten: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let names = document.get_mut(field).and_then(Bson::as_array_mut)?;
    let mut gone = Vec::new();
    for name in names.iter_mut().filter(|name| is(Some(name), forgotten)) {
        let known = std::mem::replace(name, ANONYMOUS.into());
        gone.extend(known.as_str().map(str::to_owned));
    }
    Some(gone).filter(|gone| !gone.is_empty())
}

/// A row of hours: the members, and the fields that are named after them.
fn row(document: &mut Document, forgotten: &dyn Fn(&str) -> bool) -> bool {
    let Some(mut gone) = list(document, "members", forgotten) else { return false };
    gone.sort();
    gone.dedup();
    let all: Vec<String> = gone.iter().map(|name| format!("hours_{name}")).collect();
    let renamed = format!("hours_{ANONYMOUS}");
    let hours: Vec<Bson> = document
        .iter()
        .filter(|(name, _)| **name == renamed || all.contains(name))
        .map(|(_, hours)| hours.clone())
        .collect();
    // At the same place: the order of the fields stays.
    let mut sum = Some(crate::normalise::number::sum(&hours));
    *document = std::mem::take(document)
        .into_iter()
        .filter_map(|(name, value)| {
            if name == renamed || all.contains(&name) {
                return sum.take().map(|sum| (renamed.clone(), sum));
            }
            Some((name, value))
        })
        .collect();
    true
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn without(kind: Kind, mut document: Document, names: &[&str]) -> Document {
        let changed = anonymise(kind, &mut document, &|name| names.contains(&name));
        let again = anonymise(kind, &mut document, &|name| names.contains(&name));
        assert!(changed && !again, "{document}");
        document
    }

    #[test]
    fn every_field_that_holds_a_person_is_known() {
        let sender = |login: &str| doc! { "id": 1, "login": login, "url": "u", "type": "User", "site_admin": false };
        let nobody = doc! { "id": null, "login": "anonymous", "url": null, "type": "User", "site_admin": false };
        assert_eq!(
            without(
                Kind::Commit,
                doc! { "sha": "1", "user": { "login": "anonymous", "name": "A B", "email": "e" }, "sender_info": sender("a"), "team_name": "a" },
                &["a", "A B"]
            ),
            doc! { "sha": "1", "user": { "login": "anonymous", "name": null, "email": null }, "sender_info": nobody.clone(), "team_name": "anonymous" },
        );
        assert_eq!(
            without(
                Kind::GithubIssue,
                doc! { "issue": { "number": 1, "user": { "login": "a", "id": 1 } }, "sender_info": sender("b") },
                &["a"]
            ),
            doc! { "issue": { "number": 1, "user": { "login": "anonymous", "id": null } }, "sender_info": sender("b") },
        );
        assert_eq!(
            without(
                Kind::PullRequest,
                doc! { "merged_by": "a", "assignee": null, "reviewers": ["b", "a"], "sender_info": sender("a") },
                &["a"]
            ),
            doc! { "merged_by": "anonymous", "assignee": null, "reviewers": ["b", "anonymous"], "sender_info": nobody },
        );
        for kind in [Kind::UserStory, Kind::Task, Kind::TaigaIssue, Kind::Epic] {
            assert_eq!(
                without(kind, doc! { "assigned_by": "a", "assigned_to": "b", "subject": "a" }, &["a"]),
                doc! { "assigned_by": "anonymous", "assigned_to": "b", "subject": "a" },
            );
        }
    }

    #[test]
    fn a_members_hours_lose_their_name_and_stay_in_the_sum() {
        let row =
            doc! { "members": ["A. $b", "C", "D"], "hours_A. $b": 1, "hours_C": 2, "hours_D": 0.5, "total_hours": 3.5 };
        assert_eq!(
            without(Kind::Row, row, &["A. $b", "D"]),
            doc! { "members": ["anonymous", "C", "anonymous"], "hours_anonymous": 1.5, "hours_C": 2, "total_hours": 3.5 },
        );
    }

    #[test]
    fn what_names_no_person_stays_as_it_is() {
        for kind in Kind::ALL {
            let mut document = doc! { "assigned_to": null, "members": "x", "user": 1, "hours_x": 1 };
            let before = document.clone();
            assert!(!anonymise(kind, &mut document, &|_| true) && document == before, "{kind:?}");
        }
    }
}
