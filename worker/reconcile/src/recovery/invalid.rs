//! Why a request is refused, as its answer says it. No text repeats a value: one may be a token in the wrong place.

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The body is not the JSON of this request.
    #[error("the body is no JSON object with the fields of this request: look at line {line}, column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A field is absent or empty.
    #[error("{0} is required")]
    Missing(&'static str),
    /// A field has a value that cannot work. The second text says what would be right.
    #[error("{0}: {1}")]
    Field(&'static str, &'static str),
    /// An address leads to a host that must not get a token.
    #[error("{field}: its host must be one of {hosts}, because tokens go there; {setting} says which")]
    Host {
        field: &'static str,
        /// The hosts that it may have.
        hosts: String,
        /// The setting that adds one.
        setting: &'static str,
    },
}
