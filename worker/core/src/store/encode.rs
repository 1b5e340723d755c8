//! Documents and orders as MongoDB takes them.

use bson::{Document, RawDocumentBuf, doc};
use worker_event::effect::Order;

use super::error::StoreError;

/// A document as bytes, in as much room as they take.
pub(super) fn packed(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut bytes = raw(document)?.into_bytes();
    bytes.shrink_to_fit();
    RawDocumentBuf::from_bytes(bytes).map_err(unencodable)
}

/// A document as bytes.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(unencodable)
}

pub(super) fn unencodable(error: impl ToString) -> StoreError {
    StoreError::Unstorable { code: 0, error: error.to_string() }
}

/// An order as MongoDB compares it: field by field.
pub(super) fn order(order: Order) -> Document {
    doc! { "t": order.t, "s": order.s }
}
