//! Lists and shows dead letters.

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use serde_json::{Map, Value, json};
use shared::envelope::header;
use worker_core::pipeline::dead_letter;

use crate::streams::Scan;
use crate::streams::scan::Stored;
use crate::terminal::{Column, CommandError, Output, Table, print, print_block, print_json};

pub(super) async fn list(stream: &Stream, subject: &str, output: Output) -> Result<(), CommandError> {
    let mut table = Table::new(&[
        Column::Right("id"),
        Column::Left("given up at"),
        Column::Left("reason"),
        Column::Left("source"),
        Column::Left("event"),
        Column::Left("project"),
        Column::Left("delivery"),
        Column::Right("attempts"),
        Column::Left("error"),
    ]);
    let mut scan = Scan::open(stream, subject, DeliverPolicy::All, true).await?;
    loop {
        let batch = scan.next().await?;
        if batch.is_empty() {
            break;
        }
        for letter in &batch {
            match output {
                Output::Json => print_json(&Value::from(json_of(letter))),
                Output::Table => table.row(&[
                    &id_of(letter),
                    &letter.header(dead_letter::AT),
                    &letter.header(dead_letter::REASON),
                    &letter.header(header::SOURCE),
                    &letter.header(header::EVENT),
                    &letter.header(header::PROJECT),
                    &letter.header(header::DELIVERY),
                    &letter.header(dead_letter::ATTEMPTS),
                    &letter.header(dead_letter::ERROR),
                ]),
            }
        }
    }
    if output == Output::Table {
        table.print();
    }
    Ok(())
}

/// The dead letter with this id: the message of that sequence, or a later one that was redriven from it.
async fn find(stream: &Stream, subject: &str, id: u64) -> Result<Stored, CommandError> {
    let read = async |sequence: u64| match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(Stored::from(message)).filter(|letter| id_of(letter) == id)),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(CommandError::nats(format_args!("Dead letter {id} cannot be read"), error)),
    };
    if let Some(letter) = read(id).await? {
        return Ok(letter);
    }
    let from = DeliverPolicy::ByStartSequence { start_sequence: id.max(1) };
    let mut scan = Scan::open(stream, subject, from, true).await?;
    loop {
        let batch = scan.next().await?;
        if batch.is_empty() {
            return Err(absent(&id.to_string()));
        }
        if let Some(found) = batch.iter().find(|letter| id_of(letter) == id) {
            return read(found.sequence).await?.ok_or_else(|| absent(&id.to_string()));
        }
    }
}

pub(super) async fn show(stream: &Stream, subject: &str, id: u64, output: Output) -> Result<(), CommandError> {
    let letter = find(stream, subject, id).await?;
    let payload = shared::envelope::payload(&letter.headers, &letter.payload).map_err(|error| {
        let advice = "`--output json` of `list` shows its headers; a redrive publishes its bytes as they are";
        CommandError::failed(format_args!("the payload of dead letter {id} cannot be shown: {error}"), advice)
    })?;
    let payload = String::from_utf8_lossy(&payload);
    let mut headers: Vec<_> = letter
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())))
        .collect();
    headers.sort();
    match output {
        Output::Table => {
            headers.iter().for_each(|(name, value)| print(format_args!("{name}: {value}")));
            print("");
            print_block(&payload);
        }
        Output::Json => {
            let mut shown = json_of(&letter);
            let headers: Map<_, _> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
            shown.insert("headers".to_owned(), headers.into());
            // As text: it may not be JSON.
            shown.insert("payload".to_owned(), payload.into());
            print_json(&Value::from(shown));
        }
    }
    Ok(())
}

/// An id of `--id` (or several) that names no dead letter.
pub(super) fn absent(ids: &str) -> CommandError {
    let advice = "`worker dead-letters list` shows those there are";
    CommandError::not_found(format_args!("there is no dead letter {ids}"), advice)
}

/// Its id, which it keeps when it fails again after a redrive.
pub(super) fn id_of(letter: &Stored) -> u64 {
    dead_letter::id(letter.sequence, &letter.headers)
}

/// A dead letter as JSON, without its payload.
pub(super) fn json_of(letter: &Stored) -> Map<String, Value> {
    let number = |name| letter.header(name).parse::<u64>().ok();
    let fields = json!({
        "id": id_of(letter), "at": letter.header(dead_letter::AT), "reason": letter.header(dead_letter::REASON),
        "prj": letter.header(header::PROJECT), "attempts": number(dead_letter::ATTEMPTS),
        "source": letter.header(header::SOURCE), "event": letter.header(header::EVENT),
        "delivery": letter.header(header::DELIVERY), "sequence": number(dead_letter::SEQUENCE),
        "error": letter.header(dead_letter::ERROR),
    });
    fields.as_object().cloned().unwrap_or_default()
}
