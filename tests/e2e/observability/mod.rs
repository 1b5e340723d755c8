//! What people and monitoring see: metrics, traces, the status page.

pub(crate) mod collector;
pub(crate) mod metrics;
pub(crate) mod status;
pub(crate) mod stories;
pub(crate) mod systemd;
pub(crate) mod traces;
