//! The streams, for commands: a connection that fails fast ([`connection`]), reading many messages ([`scan`]),
//! removing some of them ([`remove`]), and a time in which no worker has an event in flight ([`quiet`]).

pub mod connection;
pub mod quiet;
pub mod remove;
pub mod scan;

pub use self::connection::{ConnectArgs, Connection, count, delete};
pub use self::scan::Scan;
