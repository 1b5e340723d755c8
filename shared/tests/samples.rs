//! In a process of its own, whose memory no other test changes.

use std::error::Error;
use std::time::Duration;

use shared::telemetry::init_metrics;

/// The resident memory of this process, in MiB.
fn memory_mib() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident: usize = pages.split(' ').nth(1).ok_or("no second number")?.parse()?;
    Ok(resident * 4 / 1024)
}

#[tokio::test(start_paused = true)]
async fn samples_that_nobody_scrapes_do_not_stay_in_memory() -> Result<(), Box<dyn Error>> {
    let counting = tokio::spawn(init_metrics()?.count_samples());
    let histogram = metrics::histogram!("ldconnect_x_seconds");
    let before = memory_mib()?;
    // 16 bytes each: 80 MB.
    for _ in 0..50 {
        (0..100_000).for_each(|_| histogram.record(0.1));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    counting.abort();
    assert!(memory_mib()? < before + 40);
    Ok(())
}
