//! The real servers that we build on: found or installed ([`launch::install`]), started ([`nats`], [`mongo`]),
//! and one of each shared by the tests of a process that leave them alone.

pub mod mongo;
pub mod nats;

mod mongo8;
mod shared;

pub use eval_stand_in::ports;
pub use launch::install;
pub use mongo::{MongoServer, ReplicaSet};
pub use mongo8::Mongo8;
pub use nats::{NatsCluster, NatsServer};
pub use shared::{Servers, shared};
