//! What the providers' APIs return for a team, and the time at which it is true.

pub mod as_of;
pub mod github;
pub mod taiga;
