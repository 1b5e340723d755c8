//! How far a command is: a bar on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::tell;

/// How often a plain line is written.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Count, rate and time left of one piece of work, on standard error.
#[derive(Debug)]
pub struct Progress {
    verb: &'static str,
    things: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For work that reads "`replayed` 3 of 10 `events`".
    #[must_use]
    pub fn new(verb: &'static str, things: &'static str, total: u64) -> Self {
        let target = std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        Self::on(target, verb, things, total)
    }

    fn on(target: Option<ProgressDrawTarget>, verb: &'static str, things: &'static str, total: u64) -> Self {
        let bar = target.map(|target| {
            let template = "{prefix} {wide_bar} {human_pos} of {human_len} {msg}, {rate} a second, {eta} left";
            // The template is ours: it reads.
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // What cannot be drawn is not drawn.
                let _ = write!(out, "{:.0}", state.per_sec());
            };
            ProgressBar::with_draw_target(Some(total), target)
                .with_style(style.with_key("rate", rate))
                .with_prefix(verb)
                .with_message(things)
        });
        let now = Instant::now();
        Self { verb, things, total, done: 0, began: now, told: now, bar }
    }

    /// So many more are done.
    pub fn add(&mut self, more: u64) {
        self.done += more;
        // What came in meanwhile, or came twice, makes the whole larger and not the share above one.
        self.total = self.total.max(self.done);
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.total);
                bar.set_position(self.done);
            }
            None if self.told.elapsed() >= TELL_EVERY => {
                self.told = Instant::now();
                tell(self.line());
            }
            None => {}
        }
    }

    /// How many are done.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// How many there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Takes the bar away and writes a last line, in either case.
    pub fn end(&self) {
        self.clear();
        tell(self.line());
    }

    /// Takes the bar away and says nothing: something else does.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self) -> String {
        let Self { verb, things, total, done, .. } = self;
        let elapsed = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = *done as f64 / elapsed;
        let mut line = format!("{verb} {done} of {total} {things}, {rate:.0} a second");
        if done < total && *done > 0 {
            let left = Duration::from_secs((total.saturating_sub(*done) as f64 / rate).ceil() as u64);
            line += &format!(", {} left", humantime::format_duration(left));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    #[test]
    fn a_terminal_shows_a_bar_with_count_rate_and_time_left_and_is_left_clean() {
        let terminal = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        let mut progress = Progress::on(Some(target), "replayed", "events", 4_000);
        progress.add(1_000);
        if let Some(bar) = &progress.bar {
            bar.force_draw();
        }
        let shown = terminal.contents();
        for part in ["replayed", "1,000 of 4,000 events", " a second, ", " left"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        progress.end();
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn a_plain_line_tells_count_rate_and_time_left() {
        let mut progress = Progress::on(None, "replayed", "events", 10);
        progress.began = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        progress.add(5);
        assert_eq!(progress.line(), "replayed 5 of 10 events, 1 a second, 6s left");
        progress.add(5);
        assert_eq!(progress.line(), "replayed 10 of 10 events, 2 a second");
        progress.add(1);
        assert_eq!((progress.done(), progress.total()), (11, 11), "what came in meanwhile counts");
    }
}
