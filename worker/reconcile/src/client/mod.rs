//! The providers' APIs, each asked until there is an answer.

mod asking;
mod github;
mod taiga;

pub use self::asking::{Answer, Asking, Halt, Share};
pub use self::github::{GithubApi, Pages};
pub use self::taiga::{Listed, TaigaApi};
