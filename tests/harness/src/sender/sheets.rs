//! What the Google Sheets add-on sends.

use serde_json::{Value, json};

/// A row of the hours sheet. Rows with different numbers are different activities.
#[must_use]
pub fn row(n: u64) -> Value {
    json!({
        "timestamp": format!("2026-11-23T17:42:{:02}.{:03}Z", n / 1000 % 60, n % 1000),
        "iteration": "Sprint 2", "date": "2026-11-22T23:00:00.000Z", "duration": "1,5", "activity": "Desenvolupament",
        "comment": format!("Fila {n}"), "epic": "Autenticació", "members": ["Joan M. Puig", "Núria $olé"],
        "memberHours": [1, 0.5], "configRange": [[0.5], [0], [1], [2], [3], [0], [0.25], [""]]
    })
}
