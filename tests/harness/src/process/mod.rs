//! Child processes that cannot outlive us: started, killed, stopped, frozen and restarted. The end of the log is shown
//! when one dies.

mod held;
pub mod log;
mod spawner;
mod sys;
pub mod usage;

pub use held::{Process, Recipe};
pub use spawner::spawn;
pub use sys::Signal;
