//! What ingress answers to requests, also to odd, broken and forged ones.

pub(crate) mod answers;
pub(crate) mod clients;
pub(crate) mod memory;
pub(crate) mod openapi;
pub(crate) mod raw_socket;
