//! How every listener of ours serves HTTP: what a client may cost ([`limits`]), who counts as one (`client`), how many
//! connections it may hold (`fair`), and how long each step of a connection may take (`timer`, `connection`).
//! `small` is a whole server for pages and probes; ingress has an accept loop of its own.

pub mod limits;
mod client;
mod fair;
mod timer;
mod connection;
mod listen;
mod small;

pub use client::{Client, Peer};
pub use connection::{Answer, serve};
pub use fair::{Fair, Taken};
pub use listen::{accept, listen};
pub use small::SmallServer;
