//! The credentials file: which teams a course has, and the course's own secrets and settings.
//!
//! ```json
//! { "amep": { "teams": ["AMEP11Beats"], "github_token": "ghp_…", "taiga_user": "…", "taiga_password": "…",
//!             "github_secret": "…", "github_secret_previous": "…", "taiga_secret": "…", "excel_secret": "…",
//!             "team_secrets": true, "github": { "AMEP11Beats": "upc-amep-11-beats" },
//!             "taiga": { "AMEP11Beats": ["amep11-beats"] }, "quality_model": "AMEP",
//!             "from": "2026-09-14", "to": "2027-01-22" } }
//! ```
//!
//! Only `teams` is required. [`open`] reads the file once, strictly; the [`Watcher`] that it returns takes over
//! later edits as a whole or not at all, and the [`Handle`] gives the settings in force and what is wrong with the
//! file now.

mod keys;
mod course;
mod defaults;
mod weak;
mod pages;
mod problem;
mod file;
mod watch;

pub use course::{Course, Courses};
pub use defaults::{DefaultKeys, MissingSecret};
pub use file::parse;
pub use keys::{Key, KeyKind, SigningKeys, team_key};
pub use pages::{Opened, PageKeys, Viewer};
pub use problem::CredentialsError;
pub use watch::{Handle, Watcher, open};
pub use weak::weak_team_secrets;
