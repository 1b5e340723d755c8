//! The real servers that we build on: found or installed ([`install`]), started ([`nats`], [`mongo`]),
//! and one of each shared by the tests of a process that leave them alone.

pub mod install;
pub mod mongo;
pub mod nats;
pub mod ports;
mod shared;

pub use mongo::{MongoServer, ReplicaSet};
pub use nats::NatsServer;
pub use shared::{Servers, shared};
