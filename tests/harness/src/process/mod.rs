//! Children that cannot outlive us: started, killed, stopped, frozen, started again, and quoted when
//! they die unasked.

mod held;
pub mod log;
mod spawner;
mod sys;
pub mod usage;

pub use held::{Process, Recipe};
pub use spawner::spawn;
pub use sys::Signal;
