//! A delivery becomes its document and its notification, once each, and what cannot be processed is kept.

pub(crate) mod dead_letters;
pub(crate) mod documents;
pub(crate) mod enrich;
pub(crate) mod enrich_taiga;
pub(crate) mod in_the_stream;
pub(crate) mod new_projects;
pub(crate) mod notifications;
pub(crate) mod payloads;
pub(crate) mod sheets_add_on;
