//! What to test.

use std::time::Duration;

use clap::Args;
use reqwest::Url;
use shared::config::{CredentialsArgs, SignatureArgs};
use shared::ids::Project;
use shared::source::Source;
use worker_core::config::MongoArgs;
use worker_reconcile::config::public_url;

use crate::args::hook_url::PublicUrlArgs;
use crate::streams::ConnectArgs;
use crate::terminal::Output;

/// As whom, and which way.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  worker send-test --prj PES11A --source github")]
pub struct Options {
    /// The team as whose sender it signs.
    #[arg(long)]
    pub(super) prj: Project,
    /// github, taiga or excel.
    #[arg(long)]
    pub(super) source: Source,
    /// Where ingress is asked, where that is not PUBLIC_URL: such as http://127.0.0.1:5000, past proxy and firewall.
    #[arg(long, value_parser = public_url)]
    pub(super) url: Option<Url>,
    /// How long it may take until LD Eval was notified.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table")]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) public_url: PublicUrlArgs,
    #[command(flatten)]
    pub(super) signatures: SignatureArgs,
    #[command(flatten)]
    pub(super) credentials: CredentialsArgs,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) mongo: MongoArgs,
}
