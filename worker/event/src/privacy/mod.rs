//! Forgotten people: `worker forget --prj P --login L`.
//!
//! Providers still send such a person's name, and it is still in the stream. So that neither a live event nor a replay
//! brings the name back, `ld_forgotten` stores a hash of it, and every normalised event is checked here before it is
//! stored:
//!
//! ```text
//! {_id: "3f5c…", prj: "TeamA", at: 1795455723511}     _id is the hash of "TeamA/<name in lower case>"
//! ```
//!
//! Reading order: which fields hold people ([`people`]), and whether a name is forgotten (here).

pub mod people;

pub use self::people::ANONYMOUS;

use std::collections::{HashMap, HashSet};
use vocabulary::hash::short_sha256;

use crate::effect::{Effect, Normalised};

/// The forgotten people of all projects.
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

    /// Whether a name is forgotten; none when the project has no forgotten people.
    #[must_use]
    pub fn in_project<'a>(&'a self, prj: &'a str) -> Option<impl Fn(&str) -> bool + 'a> {
        let hashes = self.0.get(prj)?;
        Some(move |name: &str| hashes.contains(&hash(prj, name)))
    }

    /// Removes forgotten people from an event's effects and notifications, before anything is stored or sent.
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

/// The hash under which a name is stored: enough to recognise it, not to read it.
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
