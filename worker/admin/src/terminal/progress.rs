//! Progress: a bar on a terminal, elsewhere a plain line every two seconds.
//!
//! One bar is shown at a time; it stays the last line ([`print`](mod@super::print)).

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::escape;
use super::print::{hide, notice, show};

/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

const WITH_END: &str = "{prefix} {wide_bar} {human_pos} of {human_len} {msg}, {rate} a second, {eta} left";
const WITHOUT_END: &str = "{prefix} {human_pos} {msg}, {rate} a second";

/// Count, rate and, once it is known how many there are, time left of one piece of work, on standard error.
#[derive(Debug)]
pub struct Progress {
    verb: Cow<'static, str>,
    things: &'static str,
    total: Option<u64>,
    done: u64,
    began: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For work that reads "`replayed` 3 of 10 `events`".
    #[must_use]
    pub fn new(verb: impl Into<Cow<'static, str>>, things: &'static str, total: impl Into<Option<u64>>) -> Self {
        let target = std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        // It may contain a repository's name.
        let verb = escape::line(&verb.into()).into_owned().into();
        let progress = Self::on(target, verb, things, total.into());
        if let Some(bar) = &progress.bar {
            show(bar.clone());
        }
        progress
    }

    fn on(
        target: Option<ProgressDrawTarget>,
        verb: Cow<'static, str>,
        things: &'static str,
        total: Option<u64>,
    ) -> Self {
        let bar = target.map(|target| {
            ProgressBar::with_draw_target(total, target)
                .with_style(style(total))
                .with_prefix(verb.clone())
                .with_message(things)
        });
        let now = Instant::now();
        Self { verb, things, total, done: 0, began: now, last_line: now, bar }
    }

    /// Sets the expected number; `None` changes nothing.
    pub fn expect(&mut self, total: impl Into<Option<u64>>) {
        let Some(total) = total.into() else { return };
        let ended = self.total.is_some();
        self.total = Some(total.max(self.done));
        if let Some(bar) = &self.bar {
            bar.set_length(self.total.unwrap_or_default());
            if !ended {
                bar.set_style(style(self.total));
            }
        }
    }

    /// Counts this many more.
    pub fn add(&mut self, more: u64) {
        self.done += more;
        // Objects that were added meanwhile, or came twice, increase the total.
        if self.total.is_some_and(|total| total < self.done) {
            self.expect(self.done);
        }
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                notice(self.line());
            }
            None => {}
        }
    }

    /// How many are done.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// How many there are; while that is not known, how many are done.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.unwrap_or(self.done)
    }

    /// Takes the bar away and writes a last line, in either case.
    pub fn end(&mut self) {
        self.clear();
        notice(self.line());
    }

    /// Takes the bar away and writes nothing.
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            hide();
        }
    }

    fn line(&self) -> String {
        let Self { verb, things, total, done, .. } = self;
        let elapsed = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = *done as f64 / elapsed;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let mut line = format!("{verb} {done}{of} {things}, {rate:.0} a second");
        let left = total.map_or(0, |total| total.saturating_sub(*done));
        if left > 0 && *done > 0 {
            let left = Duration::from_secs((left as f64 / rate).ceil() as u64);
            line += &format!(", {} left", humantime::format_duration(left));
        }
        line
    }
}

/// However the work ends, the terminal is left clean.
impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = if total.is_some() { WITH_END } else { WITHOUT_END };
    // The templates are constants, and valid.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A number that cannot be drawn is left out.
        let _ = write!(out, "{:.0}", state.per_sec());
    })
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn on_terminal(total: Option<u64>) -> (InMemoryTerm, Progress) {
        let terminal = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        (terminal, Progress::on(Some(target), "replayed".into(), "events", total))
    }

    fn shown(terminal: &InMemoryTerm, progress: &Progress) -> String {
        progress.bar.as_ref().unwrap().force_draw();
        terminal.contents()
    }

    #[test]
    fn a_terminal_shows_a_bar_with_count_rate_and_time_left_and_is_left_clean() {
        let (terminal, mut progress) = on_terminal(Some(4_000));
        progress.add(1_000);
        let text = shown(&terminal, &progress);
        for part in ["replayed", "1,000 of 4,000 events", " a second, ", " left"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        drop(progress);
        assert_eq!(terminal.contents(), "", "also when the work fails");
    }

    #[test]
    fn a_total_that_is_learned_later_is_shown_from_then_on() {
        let (terminal, mut progress) = on_terminal(None);
        progress.add(1_000);
        let text = shown(&terminal, &progress);
        assert!(text.contains("replayed 1,000 events, ") && !text.contains("left"), "{text}");
        progress.expect(4_000);
        let text = shown(&terminal, &progress);
        assert!(text.contains("1,000 of 4,000 events, ") && text.contains("left"), "{text}");
    }

    #[test]
    fn a_plain_line_shows_count_rate_and_time_left() {
        let mut progress = Progress::on(None, "replayed".into(), "events", None);
        progress.began = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        progress.add(5);
        assert_eq!(progress.line(), "replayed 5 events, 1 a second");
        progress.expect(10);
        assert_eq!(progress.line(), "replayed 5 of 10 events, 1 a second, 6s left");
        progress.add(5);
        assert_eq!(progress.line(), "replayed 10 of 10 events, 2 a second");
        progress.add(1);
        assert_eq!((progress.done(), progress.total()), (11, 11), "what came in meanwhile counts");
    }
}
