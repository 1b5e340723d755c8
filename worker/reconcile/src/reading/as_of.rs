//! The time at which a reading is true.

/// How much earlier a reading counts: `Date` has whole seconds, and a provider's servers do not share one clock.
const MARGIN_MS: i64 = 10_000;

/// How much earlier if the provider does not send its time: our clocks may differ.
const UNKNOWN_CLOCK_MS: i64 = 300_000;

/// When a request was made, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// `Date` of the answer: the provider's clock when it answered.
    pub date: Option<i64>,
    /// Our clock when it was sent.
    pub sent: i64,
    /// Our clock when it was answered.
    pub received: i64,
}

impl Clock {
    /// The provider's time at which the answer is surely complete; never later than our clock.
    #[must_use]
    pub const fn as_of(self) -> i64 {
        let Self { date, sent, received } = self;
        let took = received.saturating_sub(sent);
        let took = if took < 0 { 0 } else { took };
        let at = match date {
            Some(date) => date.saturating_sub(took).saturating_sub(MARGIN_MS),
            None => sent.saturating_sub(UNKNOWN_CLOCK_MS),
        };
        if at < received { at } else { received }
    }

    /// The provider's time of the answer, or ours.
    #[must_use]
    pub fn now(self) -> i64 {
        self.date.unwrap_or(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_455_723_000;

    #[test]
    fn a_reading_is_as_of_the_providers_clock_before_the_request_was_sent() {
        let clock = Clock { date: Some(NOW), sent: NOW, received: NOW + 2_500 };
        assert_eq!(clock.as_of(), NOW - 2_500 - 10_000);
        let behind = Clock { date: Some(NOW - 3_600_000), ..clock };
        assert_eq!(behind.as_of(), NOW - 3_600_000 - 12_500, "webhooks of that provider have its clock too");
    }

    #[test]
    fn without_a_date_it_is_five_minutes_before_ours() {
        assert_eq!(Clock { date: None, sent: NOW, received: NOW + 900 }.as_of(), NOW - 300_000);
    }

    #[test]
    fn it_is_never_later_than_our_clock() {
        assert_eq!(Clock { date: Some(NOW + 86_400_000), sent: NOW, received: NOW + 100 }.as_of(), NOW + 100);
    }
}
