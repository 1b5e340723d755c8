//! States of a large batch, for documents that are probably there: many share a statement ([`contents`](super::contents)).

use bson::{Bson, Document, RawDocumentBuf, doc};
use worker_event::effect::Kind;

use super::contents::Contents;
use super::encode::{ACTION, STATE};
use super::error::StoreError;
use super::fold::State;
use super::statement::{FIGURES, Shown, content};
use super::write::Write;

/// A larger state has a statement of its own, which is encoded when it is sent.
const LARGE_STATE: usize = 16 * 1024;

/// A state, and what its document shows of others.
type Shows<'a> = (&'a State, &'a Shown);

/// A state that can share a statement. Not those of commits and rows, which are hardly ever updated: of a commit the
/// oldest state wins, and people name a row's fields.
pub(super) fn sharing<'a>(write: &Write<'a>) -> Option<Shows<'a>> {
    match write {
        Write::State(state, shown) => {
            let is_other = matches!(state.kind, Kind::Commit | Kind::Row);
            (!is_other && state.fields.as_bytes().len() <= LARGE_STATE).then_some((*state, *shown))
        }
        _ => None,
    }
}

/// The statements of states of one collection.
pub(super) fn statements(states: &[Shows<'_>]) -> Result<Vec<RawDocumentBuf>, StoreError> {
    let mut repositories: Vec<(&[Bson], Vec<Shows<'_>>)> = Vec::new();
    for (state, shown) in states {
        let Some((_, repository)) = state.key.split_last() else { continue };
        match repositories.iter_mut().find(|(one, _)| *one == repository) {
            Some((_, states)) => states.push((state, shown)),
            None => repositories.push((repository, vec![(state, shown)])),
        }
    }
    let statements = repositories.iter().map(|(_, states)| of_repository(states));
    Ok(statements.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The statements of states whose keys differ only in the last field.
fn of_repository(states: &[Shows<'_>]) -> Result<Vec<RawDocumentBuf>, StoreError> {
    let Some((first, _)) = states.first() else { return Ok(Vec::new()) };
    let Some((last, others)) = first.kind.key_fields().split_last() else { return Ok(Vec::new()) };
    let mut filter = doc! { STATE: { "$exists": true } };
    filter.extend(others.iter().map(|name| (*name).to_owned()).zip(first.key.iter().cloned()));
    let newest = newest(states.iter().any(|(_, shown)| shown.milestone == Some(Bson::Null)));
    let contents = states.iter().filter_map(|(state, shown)| {
        let key = state.key.last()?.clone();
        Some(content(state, shown).map(|content| (key, content)))
    });
    let divided = Contents::divide(contents)?;
    divided.into_iter().map(|contents| contents.statement(last, filter.clone(), &newest)).collect()
}

/// A document with its newer state or action, or both. `leaves`: some of the new states are in no milestone, and show
/// no figures.
fn newest(leaves: bool) -> Document {
    let mut kept = doc! { "action": format!("${ACTION}"), "links": "$_ld.links", "named": "$_ld.named" };
    let mut document = Bson::from("$$ROOT");
    let mut figures = Bson::from("$_ld.figures");
    if leaves {
        let leaves = doc! { "$eq": ["$$new.state.milestone_id", null] };
        figures = doc! { "$cond": [&leaves, "$$REMOVE", figures] }.into();
        let without = FIGURES
            .iter()
            .fold(document.clone(), |input, field| doc! { "$unsetField": { "field": *field, "input": input } }.into());
        document = doc! { "$cond": [{ "$and": ["$$is_newer", leaves] }, without, document] }.into();
    }
    kept.insert("figures", figures);
    let ours = doc! { "$mergeObjects": [
        { "$cond": ["$$is_newer", { "$mergeObjects": [kept, "$$new.ours"] }, "$_ld"] },
        { "$cond": ["$$has_acted", { "action": "$$new.at" }, {}] },
    ] };
    doc! { "$let": {
        "vars": {
            "is_newer": { "$lt": [format!("${STATE}"), "$$new.ours.order"] },
            "has_acted": { "$lt": [format!("${ACTION}"), "$$new.at"] },
        },
        "in": { "$mergeObjects": [
            document,
            { "$cond": ["$$is_newer", "$$new.state", {}] },
            { "$cond": ["$$has_acted", "$$new.action", {}] },
            { "_ld": ours },
        ] },
    } }
}
