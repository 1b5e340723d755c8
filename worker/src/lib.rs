//! From a message of the stream to a document and a notification.
//!
//! Reading order: what an event means ([`effect`], [`normalise`]), how it is made true ([`store`]), who
//! drives it ([`consumer`]), what becomes of what cannot be processed ([`dead_letter`]), how LD Eval is
//! told ([`notify`]), what is asked at the providers ([`enrich`]), who is to be forgotten ([`forgotten`]), how the
//! process watches itself ([`watch`], [`meters`]) and tells people ([`status`]), and the commands ([`commands`]).

pub mod commands;
pub mod config;
pub mod consumer;
pub mod dead_letter;
pub mod effect;
pub mod enrich;
pub mod forgotten;
pub mod meters;
pub mod normalise;
pub mod notify;
pub mod status;
pub mod store;
pub mod watch;
