//! Nothing acknowledged is lost: outages, kills, full disks, moved addresses, rolling restarts.

pub(crate) mod backlog;
pub(crate) mod blocked;
pub(crate) mod found;
pub(crate) mod healing;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod mongodb;
pub(crate) mod moving;
pub(crate) mod outages;
pub(crate) mod readiness;
pub(crate) mod residue;
pub(crate) mod rolling;
pub(crate) mod survival;
pub(crate) mod suspects;
pub(crate) mod worker_memory;
