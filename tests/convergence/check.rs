//! Compares MongoDB with the reference.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;

use crate::model::World;

/// The natural keys, by the end of the collection's name. The longer one first: both
/// sources have issues.
const KEYS: [(&str, &[&str]); 8] = [
    ("commits", &["sha"]),
    ("pull_requests", &["repo_name", "pr_number"]),
    ("userstories", &["userstory_id"]),
    ("tasks", &["task_id"]),
    ("epics", &["epic_id"]),
    ("sheets", &["activity_id"]),
    ("taiga.issues", &["issue_id"]),
    ("github.issues", &["repo_name", "issue_id"]),
];

/// The differences, one line each.
pub(crate) async fn differences(db: &Database, prj: &str, expected: &World) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut names: BTreeSet<String> = expected.keys().cloned().collect();
    // Also unexpected collections: they are errors.
    names.extend(db.list_collection_names().await?.into_iter().filter(|name| name.contains(&format!("_{prj}."))));
    for name in names {
        let mut found: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        let documents: Vec<Document> = db.collection(&name).find(doc! {}).await?.try_collect().await?;
        for document in documents {
            let document = visible(document);
            found.entry(key(&name, &document)?).or_default().push(document);
        }
        let expected = expected.get(&name);
        let keys: BTreeSet<&String> = expected.iter().flat_map(|all| all.keys()).chain(found.keys()).collect();
        for key in keys {
            let wanted = expected.and_then(|all| all.get(key));
            let got = found.get(key).map_or(&[][..], Vec::as_slice);
            lines.extend(difference(wanted, got).map(|what| format!("{name} {key}: {what}")));
        }
    }
    Ok(lines)
}

fn difference(wanted: Option<&Document>, got: &[Document]) -> Option<String> {
    match (wanted, got) {
        (None, []) => None,
        (None, [there]) => Some(format!("should not be there, is {there}")),
        (Some(wanted), []) => Some(format!("is not there, should be {wanted}")),
        (Some(wanted), [there]) => {
            let names: BTreeSet<&String> = wanted.keys().chain(there.keys()).collect();
            let show = |value: Option<&Bson>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
            let differs = |name: &&&String| wanted.get(**name) != there.get(**name);
            let one = |name: &String| format!("{name} is {}, not {}", show(there.get(name)), show(wanted.get(name)));
            let all: Vec<String> = names.iter().filter(differs).map(|name| one(name)).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        (_, several) => Some(format!("is there {} times", several.len())),
    }
}

/// A document without `_id` and `_ld`, and with integers of one width: the width is normalisation's matter.
fn visible(mut document: Document) -> Document {
    document.remove("_id");
    document.remove("_ld");
    document.into_iter().map(|(name, value)| (name, widen(value))).collect()
}

fn widen(value: Bson) -> Bson {
    match value {
        Bson::Int32(number) => Bson::Int64(number.into()),
        Bson::Document(inner) => {
            inner.into_iter().map(|(name, value)| (name, widen(value))).collect::<Document>().into()
        }
        Bson::Array(inner) => inner.into_iter().map(widen).collect::<Vec<_>>().into(),
        other => other,
    }
}

fn key(collection: &str, document: &Document) -> anyhow::Result<String> {
    let (prefix, suffix) = collection.split_once('.').context("every collection's name has a dot")?;
    let source = prefix.split('_').next().unwrap_or_default();
    let full = format!("{source}.{suffix}");
    let (_, fields) = KEYS
        .iter()
        .find(|(name, _)| *name == suffix || *name == full)
        .with_context(|| format!("{collection} is not a collection of ours"))?;
    let part = |field: &&str| match document.get(*field) {
        Some(Bson::Int64(number)) => number.to_string(),
        Some(Bson::String(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    Ok(fields.iter().map(part).collect::<Vec<_>>().join(" "))
}
