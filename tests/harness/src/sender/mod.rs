//! GitHub, Taiga and the Google Sheet, played from outside: what they would send ([`github`], [`taiga`],
//! [`sheets`]), signed as they sign it ([`Delivery`]), and sent ([`Sender`]).

pub mod client;
pub mod delivery;
pub mod github;
pub mod sheets;
pub mod sign;
pub mod source;
pub mod taiga;

pub use client::{Answer, Sender};
pub use delivery::{Delivery, Request};
pub use sign::Secrets;
pub use source::Source;
