//! What a team's last reconciliation found. The task that reconciles writes it into NATS, the page reads it there.

use serde::{Deserialize, Serialize};

/// At one provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reconciled {
    /// When it ended, in milliseconds since 1970.
    pub at: i64,
    /// How many documents were compared.
    pub checked: usize,
    /// How many did not show what the provider shows.
    pub repaired: usize,
    /// How many are gone at the provider.
    pub removed: usize,
    /// How many are gone and wait for a person.
    pub unconfirmed: usize,
    /// What a person should know.
    pub findings: Vec<String>,
    /// How many requests it took.
    pub calls: u64,
}
