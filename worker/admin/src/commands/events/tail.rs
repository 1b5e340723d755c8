//! `worker events tail`.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use clap::Args;
use shared::time::now_ms;
use worker_core::deliveries::refused::Refusal;
use worker_core::deliveries::{Delivery, Reader, Wanted};

use super::chosen::{From, Of, unreadable};
use super::line::Line;
use crate::terminal::{Colour, CommandError, Interrupt, Output, is_terminal, print_coloured, print_json};
use worker_core::deliveries::story::State;

pub(super) const EXAMPLES: &str = "Examples:
  worker events tail --prj PES11A
  worker events tail --source taiga --output json";

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(500);

/// When a line is printed although more may become of the delivery.
const UNDECIDED: Duration = Duration::from_secs(10);

/// How many deliveries wait for their line at most: beyond it they are printed as they are.
const WAITING_MAX: usize = 500;

/// How many new deliveries are read at once.
const PORTION: u64 = 1_000;

/// Refusals that were printed, to print each once.
const REMEMBERED: usize = 5_000;

/// Whose deliveries.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    of: Of,
    /// table for people, json for scripts (one object a line); by default what standard output is for.
    #[arg(long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    from: From,
}

/// Prints what comes, until a signal.
pub(super) async fn run(options: Options) -> Result<(), CommandError> {
    let Options { of, output, from } = options;
    let output = output.unwrap_or_else(|| if is_terminal() { Output::Table } else { Output::Json });
    let (reader, _connection) = from.open().await?;
    let interrupt = Interrupt::listen();
    let wanted =
        Wanted { prj: of.prj, source: of.source, event: of.event, since: Some(now_ms()), until: None, count: 0 };
    let mut tail = Tail {
        next: reader.next_sequence().await.map_err(unreadable)?,
        reader,
        wanted,
        output,
        waiting: VecDeque::new(),
        refusals: BTreeSet::new(),
    };
    while !interrupt.is_stopping() {
        let look = tail.look();
        tokio::select! {
            looked = look => looked?,
            () = interrupt.soft.cancelled() => break,
        }
        interrupt.pause(INTERVAL).await;
    }
    Ok(())
}

struct Tail {
    reader: Reader,
    wanted: Wanted,
    output: Output,
    next: u64,
    waiting: VecDeque<(Delivery, Instant)>,
    refusals: BTreeSet<Refusal>,
}

impl Tail {
    async fn look(&mut self) -> Result<(), CommandError> {
        let (new, next) = self.reader.from(&self.wanted, self.next, PORTION).await.map_err(unreadable)?;
        self.next = next;
        self.waiting.extend(new.into_iter().map(|delivery| (delivery, Instant::now())));
        for refusal in self.reader.refusals(&self.wanted).await.map_err(unreadable)? {
            if self.refusals.insert(refusal.clone()) {
                self.print(&Line::of_refusal(&refusal));
            }
        }
        while self.refusals.len() > REMEMBERED {
            self.wanted.since = self.refusals.pop_first().map(|oldest| oldest.at + 1);
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let outcomes = self.reader.outcomes(self.wanted.prj.as_ref()).await.map_err(unreadable)?;
        let mut surplus = self.waiting.len().saturating_sub(WAITING_MAX);
        for (delivery, since) in std::mem::take(&mut self.waiting) {
            let story = self.reader.story(&outcomes, delivery.clone(), 1).await.map_err(unreadable)?;
            if story.complete || surplus > 0 || since.elapsed() > UNDECIDED {
                surplus = surplus.saturating_sub(1);
                self.print(&Line::of(&story));
            } else {
                self.waiting.push_back((delivery, since));
            }
        }
        Ok(())
    }

    fn print(&self, line: &Line) {
        if self.output == Output::Json {
            print_json(&line.json());
            return;
        }
        let colour = match line.state {
            State::Refused | State::Dead => Colour::Red,
            State::Received | State::Stored => Colour::Yellow,
            State::Notified | State::Enriched => Colour::Green,
        };
        let at = shared::time::rfc3339(line.at);
        let before = format!("{at}  {:<6}  {:<20}  {:<16}  ", line.source.as_str(), line.prj(), line.event());
        let after = format!("  {}  {}", line.delivery(), line.detail());
        print_coloured(&before, colour, &format!("{:<8}", line.state.as_str()), after.trim_end());
    }
}
