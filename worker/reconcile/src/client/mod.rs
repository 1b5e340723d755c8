//! The providers' APIs. Each request is repeated until it is answered.

mod asking;
mod github;
mod taiga;

pub use self::asking::{Answer, Asking, Halt, Share};
pub use self::github::{GithubApi, Pages};
pub use self::taiga::{Listed, TaigaApi};
