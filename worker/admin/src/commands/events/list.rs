//! `worker events list`.

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use worker_core::deliveries::Wanted;
use worker_core::deliveries::story::State;

use super::chosen::{From, Of, StateArg, unreadable};
use super::line::Line;
use crate::args::time_args::TimeArg;
use crate::terminal::{Column, CommandError, Output, Table, notice, print_json};

pub(super) const EXAMPLES: &str = "Examples:
  worker events list --prj PES11A
  worker events list --state dead --since 2d
  worker events list --prj PES11A --source github --limit 200 --output json";

/// With `--state`, this many times as many deliveries are looked at as are listed.
const LOOKED_AT: usize = 20;

/// How many are looked at, at the most.
const LOOKED_AT_MAX: usize = 5_000;

/// How many stories are read at the same time.
const AT_ONCE: usize = 8;

/// Which deliveries.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    of: Of,
    /// Only what became this.
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Received from then on: RFC 3339, a date (Madrid), or how long ago, such as 2h or 3d.
    #[arg(long)]
    since: Option<TimeArg>,
    /// Received before then, written like --since.
    #[arg(long)]
    until: Option<TimeArg>,
    /// How many, the newest of them.
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u16).range(1..=2000))]
    limit: u16,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    from: From,
}

pub(super) async fn run(options: Options) -> Result<(), CommandError> {
    let Options { of, state, since, until, limit, output, from } = options;
    let (reader, _connection) = from.open().await?;
    let limit = usize::from(limit);
    let looked_at = if state.is_some() { (limit * LOOKED_AT).min(LOOKED_AT_MAX) } else { limit };
    let wanted = Wanted {
        prj: of.prj,
        source: of.source,
        event: of.event,
        since: since.map(TimeArg::ms),
        until: until.map(|until| until.ms() - 1),
        count: looked_at,
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut is_more = false;
    if state != Some(StateArg::Is(State::Refused)) {
        let deliveries = reader.list(&wanted).await.map_err(unreadable)?;
        is_more = deliveries.len() == looked_at;
        let outcomes = reader.outcomes(wanted.prj.as_ref()).await.map_err(unreadable)?;
        let stories = futures::stream::iter(deliveries)
            .map(|delivery| reader.story(&outcomes, delivery, 1))
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await
            .map_err(unreadable)?;
        lines.extend(stories.iter().map(Line::of));
    }
    if state.is_none_or(|state| state == StateArg::Is(State::Refused)) {
        lines.extend(reader.refusals(&wanted).await.map_err(unreadable)?.iter().map(Line::of_refusal));
    }
    lines.retain(|line| state.is_none_or(|state| state.is(line.state, line.again_of.is_some())));
    lines.sort_by_key(|line| (line.at, line.sequence));
    is_more |= lines.len() > limit;
    let newest = &lines[lines.len().saturating_sub(limit)..];
    print(newest, output);
    if output == Output::Table {
        match (newest.is_empty(), is_more) {
            (true, false) => notice("no delivery matches"),
            (true, true) => {
                notice(format_args!("none of the {looked_at} newest deliveries matches; --until goes back further"))
            }
            (false, true) => notice("there are older ones: --limit, --until"),
            (false, false) => {}
        }
    }
    Ok(())
}

fn print(lines: &[Line], output: Output) {
    if output == Output::Json {
        lines.iter().for_each(|line| print_json(&line.json()));
        return;
    }
    if lines.is_empty() {
        return;
    }
    let columns = ["received at", "source", "project", "event", "state", "delivery", ""].map(Column::Left);
    let columns: Vec<_> = std::iter::once(Column::Right("sequence")).chain(columns).collect();
    let mut table = Table::new(&columns);
    for line in lines {
        let sequence = line.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        table.row(&[
            &sequence,
            &shared::time::rfc3339(line.at),
            &line.source,
            &line.prj(),
            &line.event(),
            &line.state.as_str(),
            &line.delivery(),
            &line.detail(),
        ]);
    }
    table.print();
}
