//! Times in which webhooks may have been lost: no ingress published a beat, or ingress answered 503.

use async_nats::jetstream::stream::DirectGetErrorKind;
use serde::{Deserialize, Serialize};
use shared::beat::{GAP, Missed};
use shared::topology::StreamName;

use crate::client::Halt;
use crate::parts::Parts;

/// The key of its state.
const KEY: &str = "gaps";

/// How many beats are read at a time.
const AT_A_TIME: usize = 1_000;

/// A time in which webhooks may have been lost, in milliseconds since 1970, and the state of its recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gap {
    /// The last beat before.
    pub from: i64,
    /// The first beat after.
    pub to: i64,
    /// What is done, as `<step>.<source>.<prj>`.
    #[serde(default)]
    pub done: Vec<String>,
}

/// Up to where beats were read, and the gap that is not recovered from yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gaps {
    sequence: u64,
    last_beat: i64,
    pub open: Option<Gap>,
}

impl Gaps {
    /// Reads the beats since the last read, and stores the state.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn look(parts: &Parts) -> Result<Self, Halt> {
        let mut gaps: Self = parts.remembered(KEY).await?.unwrap_or_default();
        let before = gaps.clone();
        let stream = parts.jetstream.get_stream_no_info(parts.topology.stream(StreamName::Beats)).await;
        let stream = stream.map_err(Halt::nats)?;
        for _ in 0..AT_A_TIME {
            let all = parts.topology.all_of(StreamName::Beats);
            match stream.direct_get_next_for_subject(all, Some(gaps.sequence + 1)).await {
                Ok(message) => {
                    let at = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
                    let missed = (message.subject.as_str() == parts.topology.missed_subject())
                        .then(|| serde_json::from_slice(&message.payload).ok())
                        .flatten();
                    gaps.see(message.sequence, at, missed);
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(Halt::nats(error)),
            }
        }
        // Without a gap nothing must be read again, so the state is stored now and then.
        if gaps.open != before.open || gaps.sequence >= before.sequence + 30 {
            gaps.remember(parts).await?;
        }
        Ok(gaps)
    }

    /// Stores the state.
    ///
    /// # Errors
    /// When NATS does not take it.
    pub async fn remember(&self, parts: &Parts) -> Result<(), Halt> {
        parts.remember(KEY, self).await
    }

    /// Adds a beat (or a lost webhook) of this time.
    fn see(&mut self, sequence: u64, at: i64, missed: Option<Missed>) {
        self.sequence = sequence;
        if let Some(Missed { from, to, .. }) = missed {
            self.add(from, to);
            return;
        }
        let longest = i64::try_from(GAP.as_millis()).unwrap_or(i64::MAX);
        if self.last_beat > 0 && at - self.last_beat > longest {
            self.add(self.last_beat, at);
        }
        self.last_beat = self.last_beat.max(at);
    }

    /// Another gap: what was done for an earlier one may be wrong again.
    fn add(&mut self, from: i64, to: i64) {
        let open = self.open.take().unwrap_or(Gap { from, to, done: Vec::new() });
        self.open = Some(Gap { from: open.from.min(from), to: open.to.max(to), done: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(beats: &[i64]) -> Gaps {
        let mut gaps = Gaps::default();
        for (sequence, at) in (1..).zip(beats) {
            gaps.see(sequence, at * 1_000, None);
        }
        gaps
    }

    #[test]
    fn a_stretch_without_a_beat_is_a_gap_and_a_late_beat_is_none() {
        assert_eq!(gaps(&[100, 110, 128, 138]).open, None);
        assert_eq!(gaps(&[100, 110]).open, None, "nothing is known of before the first");
        let gap = gaps(&[100, 110, 4_000, 4_010]).open.unwrap();
        assert_eq!((gap.from, gap.to), (110_000, 4_000_000));
    }

    #[test]
    fn webhooks_answered_503_are_a_gap_and_gaps_become_one() {
        let mut gaps = gaps(&[100, 110, 200]);
        gaps.open.as_mut().unwrap().done.push("lists.taiga.TeamA".to_owned());
        gaps.see(9, 300_000, Some(Missed { from: 250_000, to: 260_000, count: 3 }));
        assert_eq!(gaps.open, Some(Gap { from: 110_000, to: 260_000, done: Vec::new() }));
    }
}
