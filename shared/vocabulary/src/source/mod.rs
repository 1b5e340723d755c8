//! Who sends webhooks, and what differs by source: one file a source, read through [`Source::description`].
//!
//! To add a source, add a variant. The compiler then names every place that needs a case for it.

mod description;
mod github;
mod taiga;
mod excel;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use description::{Description, SecretNames};

use crate::ids::{InvalidName, Project, QualityModel};

/// Who sent a webhook. Closed: a new source is a new endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A GitHub repository or organisation hook.
    Github,
    /// A Taiga project's webhook.
    Taiga,
    /// The Google Sheets add-on; `excel` is its historical name in every path and collection.
    Excel,
}

impl Source {
    /// All of them, in the order in which documents and tables list them.
    pub const ALL: [Self; 3] = [Self::Github, Self::Taiga, Self::Excel];

    /// What is particular to this source.
    #[must_use]
    pub const fn description(self) -> &'static Description {
        match self {
            Self::Github => &github::DESCRIPTION,
            Self::Taiga => &taiga::DESCRIPTION,
            Self::Excel => &excel::DESCRIPTION,
        }
    }

    /// The word used in paths, subjects, collections, headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.description().name
    }

    /// The address that a project's sender is given; `base` is where senders find ingress.
    #[must_use]
    pub fn payload_url(self, base: &str, project: &Project, model: Option<&QualityModel>) -> String {
        let model = model.map(|model| format!("&quality_model={model}")).unwrap_or_default();
        format!("{}/webhook/{self}?prj={project}{model}", base.trim_end_matches('/'))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Source {
    type Err = InvalidName;

    fn from_str(s: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .into_iter()
            .find(|source| source.as_str() == s)
            .ok_or(InvalidName::new("source", "github, taiga or excel"))
    }
}

/// One value for each source, so that a new source cannot be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerSource<T>([T; Source::ALL.len()]);

impl<T> PerSource<T> {
    /// Makes each source's value.
    #[must_use]
    pub fn new(make: impl FnMut(Source) -> T) -> Self {
        Self(Source::ALL.map(make))
    }

    /// One source's value.
    #[must_use]
    pub const fn of(&self, source: Source) -> &T {
        &self.0[source as usize]
    }

    /// One source's value, to be changed.
    pub const fn of_mut(&mut self, source: Source) -> &mut T {
        &mut self.0[source as usize]
    }

    /// Every source with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Source, &T)> {
        Source::ALL.into_iter().zip(&self.0)
    }
}

impl<T: Default> Default for PerSource<T> {
    fn default() -> Self {
        Self::new(|_| T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_listed_once_and_found_by_its_name() {
        for (position, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, position);
            assert_eq!(source.as_str().parse(), Ok(source));
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
        let error = "gitlab".parse::<Source>().unwrap_err().to_string();
        assert!(Source::ALL.iter().all(|source| error.contains(source.as_str())), "{error}");
    }
}
