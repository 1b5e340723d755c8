//! People who are to be forgotten: `worker forget --prj P --login L`.
//!
//! What a provider sends of such a person is still sent, and still in the stream. So that neither a live
//! event nor a replay brings the name back, it is remembered *that* it is to be forgotten, as a hash in
//! `ld_forgotten`, and whatever is normalised passes here before it is stored:
//!
//! ```text
//! {_id: "3f5c…", prj: "TeamA", at: 1795455723511}     _id is the hash of "TeamA/<name in lower case>"
//! ```
//!
//! Reading order: which fields hold people ([`people`]), and whether a name is one of those (here).

pub mod people;

pub use self::people::ANONYMOUS;

use std::collections::{HashMap, HashSet};
use vocabulary::hash::short_sha256;

use crate::effect::{Effect, Normalised};

/// Whom to forget, in all projects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(HashMap<String, HashSet<String>>);

impl Rules {
    /// Of `(prj, hash)`.
    pub fn new(rules: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all: HashMap<String, HashSet<String>> = HashMap::new();
        for (prj, hash) in rules {
            all.entry(prj).or_default().insert(hash);
        }
        Self(all)
    }

    /// These names of one project.
    #[must_use]
    pub fn of(prj: &str, names: &[String]) -> Self {
        Self::new(names.iter().map(|name| (prj.to_owned(), hash(prj, name))))
    }

    /// Whether a name is one of them; none when the project has none to forget.
    #[must_use]
    pub fn in_project<'a>(&'a self, prj: &'a str) -> Option<impl Fn(&str) -> bool + 'a> {
        let hashes = self.0.get(prj)?;
        Some(move |name: &str| hashes.contains(&hash(prj, name)))
    }

    /// Takes forgotten people out of what an event means, before anything of it is stored or told.
    pub fn apply(&self, prj: &str, normalised: &mut Normalised) {
        let Some(forgotten) = self.in_project(prj) else { return };
        for effect in &mut normalised.effects {
            if let Effect::State(state) = effect {
                for document in [Some(&mut state.fields), state.action.as_mut()].into_iter().flatten() {
                    people::anonymise(state.kind, document, &forgotten);
                }
            }
        }
        for notification in &mut normalised.notifications {
            if forgotten(&notification.author_login) {
                ANONYMOUS.clone_into(&mut notification.author_login);
            }
        }
    }
}

/// The hash under which a name is remembered: enough to recognise it, not to read it.
#[must_use]
pub fn hash(prj: &str, name: &str) -> String {
    let text = format!("{prj}/{}", name.trim().to_lowercase());
    short_sha256(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_forgotten_in_its_project_only_and_whatever_its_case() {
        let rules = Rules::of("TeamA", &["MDuran".to_owned(), " Mireia Duran".to_owned()]);
        let forgotten = rules.in_project("TeamA").unwrap();
        assert!(forgotten("mduran") && forgotten("MIREIA DURAN"));
        assert!(!forgotten("roger") && !forgotten(""));
        assert!(rules.in_project("TeamB").is_none());
        assert_ne!(hash("TeamA", "mduran"), hash("TeamB", "mduran"));
        assert!(!format!("{rules:?}").to_lowercase().contains("duran"));
    }
}
