//! The page's texts: a file a language in `locales/`, which a translator edits without Rust.

pub mod language;
mod texts;
pub(crate) mod words;

pub use language::Language;
pub use texts::Texts;
