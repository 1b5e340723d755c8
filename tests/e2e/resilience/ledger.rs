//! A short run of the ledger. The long ones are `cargo ledger`; see docs/durability.md.

use std::time::Duration;

use harness::paths::scratch;
use ledger::{Settings, run};

/// Enough for every kind of history, few enough for a minute.
const EVENTS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_stored_once_whichever_process_was_killed() {
    let second = Duration::from_secs(1);
    let settings = Settings {
        events: EVENTS,
        seed: 3,
        sending: second * 25,
        limit: second * 180,
        senders: 4,
        workers: 2,
        ingresses: 2,
        cluster: false,
        pauses: (second, second * 3),
    };
    let report = run(&settings, &scratch("ledger").unwrap(), &|_| ()).await.unwrap();
    assert!(report.broken().is_empty(), "{report}");
    assert_eq!((report.missing, report.duplicates), (0, 0));
    assert_eq!(report.acknowledged + report.refused, report.sent);
    assert!(report.refused > 0 && report.retried > 0, "{report}");
    for (victim, [kills, ..]) in &report.disturbances {
        assert!(*kills > 0, "{victim} was never killed:\n{report}");
    }
}
