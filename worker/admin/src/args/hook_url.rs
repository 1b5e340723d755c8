//! `--public-url`, by which our hooks are recognised.

use clap::Args;
use reqwest::Url;

use crate::terminal::CommandError;
use worker_reconcile::config::public_url;

/// Where the internet finds ingress.
#[derive(Debug, Clone, Args)]
pub struct PublicUrlArgs {
    /// Where GitHub and Taiga find ingress; a hook that leads to its `/webhook` is ours.
    #[arg(
        long,
        env = "PUBLIC_URL",
        value_parser = public_url,
        help = "Where GitHub and Taiga find ingress, such as https://ld.example.edu; a hook that leads there is ours"
    )]
    pub public_url: Option<Url>,
}

impl PublicUrlArgs {
    /// The address, which is needed.
    ///
    /// # Errors
    /// When it is not set; the text names the variable.
    pub fn required(&self) -> Result<Url, CommandError> {
        self.public_url.clone().ok_or_else(|| {
            CommandError::usage("--public-url is missing: say where the providers find ingress, such as --public-url https://ld.example.edu (or set PUBLIC_URL)")
        })
    }
}
