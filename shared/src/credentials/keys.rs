//! The keys that sign for one project. Where each team has its own, they are derived, so that they need not be stored.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::TeamSecrets;
use crate::hash::hex;
use crate::ids::Project;
use crate::secret::Secret;
use crate::source::Source;

/// A signing secret and, while senders are being changed over, the one it replaces.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    /// The secret senders should use.
    pub current: Secret,
    /// The secret it replaced, still accepted.
    pub previous: Option<Secret>,
}

/// The kind of a key: it says what a sender that signs with it still has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The team's own key.
    Team,
    /// The secret itself, of a course or the default one.
    Course,
    /// The secret's predecessor, or a team's key that was derived from it.
    Previous,
}

impl KeyKind {
    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Course => "course",
            Self::Previous => "previous",
        }
    }
}

/// A key that signs for a project.
#[derive(Debug, Clone)]
pub struct Key {
    /// What it is.
    pub kind: KeyKind,
    /// The key itself.
    pub secret: Secret,
}

impl SigningKeys {
    /// The keys that sign for a project at a source. The first is the one that senders should use.
    #[must_use]
    pub fn of_project(&self, mode: TeamSecrets, source: Source, project: &Project) -> Vec<Key> {
        let mut keys = Vec::with_capacity(3);
        if mode != TeamSecrets::Off {
            keys.push(Key { kind: KeyKind::Team, secret: team_key(&self.current, source, project) });
        }
        match mode {
            TeamSecrets::Off | TeamSecrets::Both => keys.extend(self.as_themselves()),
            TeamSecrets::On => keys.extend(
                self.previous
                    .iter()
                    .map(|previous| Key { kind: KeyKind::Previous, secret: team_key(previous, source, project) }),
            ),
        }
        keys
    }

    /// The secret and its predecessor, not derived.
    pub fn as_themselves(&self) -> impl Iterator<Item = Key> {
        let current = Key { kind: KeyKind::Course, secret: self.current.clone() };
        let previous = self.previous.clone().map(|secret| Key { kind: KeyKind::Previous, secret });
        std::iter::once(current).chain(previous)
    }
}

/// A team's own key: lower-case hex of HMAC-SHA256(`secret`, `ld-connect/1/<source>/<prj>`).
#[must_use]
pub fn team_key(secret: &Secret, source: Source, project: &Project) -> Secret {
    let mac = <Hmac<Sha256>>::new_from_slice(secret.expose().as_bytes());
    let mac = mac.expect("HMAC takes keys of every length");
    let mac = mac.chain_update(format!("ld-connect/1/{source}/{project}"));
    hex(mac.finalize().into_bytes()).parse().expect("a hash is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teams_key_is_the_hmac_of_source_and_project() {
        // printf %s ld-connect/1/github/AMEP11Beats | openssl dgst -sha256 -hmac "a course's secret"
        let key =
            team_key(&"a course's secret".parse().unwrap(), Source::Github, &Project::new("AMEP11Beats").unwrap());
        assert_eq!(key.expose(), "c217912ce009da2c3fc6a6be5c727a1f5d6a12943458434ec47de15034f0ac2e");
    }
}
