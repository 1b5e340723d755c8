//! What we ship for running it: images, certificates, users and their rights, secrets.

pub(crate) mod certificates;
pub(crate) mod creds;
pub(crate) mod learning_dashboard;
pub(crate) mod packaging;
pub(crate) mod privileges;
pub(crate) mod secrets;
pub(crate) mod tls;
