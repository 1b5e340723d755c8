//! What the providers' APIs say of a team, and as of when.

pub mod as_of;
pub mod github;
pub mod taiga;
