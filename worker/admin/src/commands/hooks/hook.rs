//! One of our hooks, and the provider that has it.

use reqwest::Method;
use serde_json::Value;
use worker_providers::client::ProviderReply;

use crate::terminal::{CommandError, Tally};

/// One of our hooks.
#[derive(Debug)]
pub(super) struct Hook {
    /// Whose it is, such as `repos/upc-pes/marmota`.
    pub(super) owner: String,
    /// Its number; 0 before it is created.
    pub(super) id: i64,
    /// Where it leads.
    pub(super) url: String,
    /// What is wrong with it; empty when nothing is.
    pub(super) wrong: Vec<&'static str>,
}

/// A provider, asked with one token or account.
pub(super) trait HookProvider {
    /// Its name in messages.
    const NAME: &'static str;

    /// Where the owner's hooks are.
    fn collection(owner: &str) -> String;

    /// Where one hook is.
    fn path(hook: &Hook) -> String;

    /// Sends a request; of a POST no repetition, which would create a second hook.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ProviderReply, CommandError>;

    /// Asks, changing nothing, whether it may change the owner's hooks; `method` is what would be sent.
    ///
    /// An error is the refusal, as far as the provider says it beforehand.
    async fn ask_permission(&self, owner: &str, method: &Method) -> Result<(), CommandError>;
}

/// Our hooks, each with the client that shows it, and what could not be read.
pub(super) struct Found<P> {
    pub(super) hooks: Vec<(P, Hook)>,
    pub(super) tally: Tally,
}
