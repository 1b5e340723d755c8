//! What a source's file says about it.

/// What is particular to one source.
#[derive(Debug)]
pub struct Description {
    /// The word used in paths, subjects, collections, headers and metrics.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Where its signing secrets are set.
    pub secret: SecretNames,
    /// Whether webhooks may come unsigned where no secret is set.
    pub may_be_unsigned: bool,
    /// The kinds of event that are stored; each is a token of the subject `ld.events.<source>.<prj>.<event>`.
    pub events: &'static [&'static str],
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Whether the credentials file may say, in a field of the source's name, where a team lives there.
    pub has_places: bool,
}

/// The names of a source's signing secret, and of the one that it replaced.
#[derive(Debug)]
pub struct SecretNames {
    /// Flag, without its dashes.
    pub flag: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Older names of the variable, still read.
    pub older_variables: &'static [&'static str],
    /// Field of a course in the credentials file.
    pub field: &'static str,
    /// What `--help` says about the flag.
    pub help: &'static str,
    /// Flag of the predecessor.
    pub previous_flag: &'static str,
    /// Environment variable of the predecessor.
    pub previous_variable: &'static str,
    /// Field of the predecessor in the credentials file.
    pub previous_field: &'static str,
    /// What `--help` says about the flag of the predecessor.
    pub previous_help: &'static str,
}
