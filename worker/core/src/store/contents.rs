//! One statement for many documents that are probably there: MongoDB parses and plans it once, which takes half the time.
//!
//! It holds the new contents in a list, and each document that it finds takes from its own what is newer. That is what a
//! statement for each document does, but nothing is inserted, and the reply only says how many documents were found. If
//! that is not all of them, separate statements follow.

use bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::Database;

use super::command;
use super::encode::raw;
use super::error::StoreError;

/// Documents of one statement. MongoDB searches the list from its beginning.
const DOCUMENTS: usize = 32;

/// A statement with so many bytes of contents takes no more.
const BYTES: usize = 512 * 1024;

/// Sends statements, and says whether they found so many documents. If so, none has failed.
pub(super) async fn update(
    db: &Database,
    collection: &str,
    statements: &[RawDocumentBuf],
    documents: usize,
) -> Result<bool, StoreError> {
    let (_, found) = command::update_counting(db, collection, statements).await?;
    Ok(usize::try_from(found).is_ok_and(|found| found >= documents))
}

/// New contents of some documents, by the value that each has in one field.
#[derive(Debug)]
pub(super) struct Contents {
    keys: Vec<Bson>,
    contents: RawArrayBuf,
}

impl Contents {
    /// Divides contents among statements.
    pub(super) fn divide(
        contents: impl Iterator<Item = Result<(Bson, RawDocumentBuf), StoreError>>,
    ) -> Result<Vec<Self>, StoreError> {
        let mut all: Vec<Self> = Vec::new();
        for content in contents {
            let (key, content) = content?;
            let is_open = |one: &&mut Self| one.keys.len() < DOCUMENTS && one.contents.as_bytes().len() < BYTES;
            match all.last_mut().filter(is_open) {
                Some(open) => {
                    open.keys.push(key);
                    open.contents.push(content);
                }
                None => all.push(Self { keys: vec![key], contents: RawArrayBuf::from_iter([content]) }),
            }
        }
        Ok(all)
    }

    /// Replaces each document by an expression, in which `$$new` is its content. Only documents that also match a filter.
    pub(super) fn statement(
        self,
        field: &str,
        mut filter: Document,
        expression: &Document,
    ) -> Result<RawDocumentBuf, StoreError> {
        let place = doc! { "$indexOfArray": [{ "$literal": self.keys.clone() }, format!("${field}")] };
        // Elements of an array would match, too, and are not in the list.
        filter.insert(field, doc! { "$in": self.keys, "$not": { "$type": "array" } });
        let new = rawdoc! { "$arrayElemAt": [{ "$literal": self.contents }, raw(&place)?] };
        let stage = rawdoc! { "$replaceWith": { "$let": { "vars": { "new": new }, "in": raw(expression)? } } };
        Ok(rawdoc! { "q": raw(&filter)?, "u": [stage], "multi": true })
    }
}
